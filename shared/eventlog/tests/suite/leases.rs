//! A log that several processes reach has one writer at a time, and the next one soon after it is gone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use testkit::await_that_async;
use tokio::time::Instant;
use trialog_eventlog::{Error, EventLog, ExecuteError, Holder, Options, Recorded, sql};
use vocabulary::Clock;

use crate::account::*;
use crate::frozen::Frozen;

/// Much longer than a lease lasts, and than the server waits for one that stands still inside of a transaction.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(30);

fn holder(name: &str) -> Holder {
    Holder { name: name.to_owned(), address: format!("http://{name}:7000"), keeps_files_of: &[] }
}

/// The machine's own time, as a server has it.
struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        clock().now() + self.0.elapsed()
    }
}

pub fn options_of(home: &Home, name: &str) -> Options {
    let options = home.options(Arc::new(Passing(Instant::now())), vec![Arc::new(Balances)]);
    Options { store: options.store.clone().held_by(holder(name)), ..options }
}

/// The leases of a log as the database has them, by its own clock.
struct Leases {
    connection: PgConnection,
    /// Microseconds.
    expires_at: String,
}

impl Leases {
    async fn of(home: &Home) -> Self {
        let Home::Postgres(url, schema) = home else { unreachable!("there are no leases in a file") };
        let connection = PgConnection::connect(url).await.unwrap();
        Self { connection, expires_at: format!("SELECT expires_at FROM {schema}.leases WHERE name = 'writer'") }
    }

    async fn run(&mut self, statement: String) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut self.connection).await.unwrap();
    }

    async fn is_true(&mut self, condition: String) -> bool {
        sqlx::query_scalar(AssertSqlSafe(format!("SELECT {condition}"))).fetch_one(&mut self.connection).await.unwrap()
    }

    /// Waits until the lease that is in force now would be over, had nobody renewed it.
    async fn await_renewal(&mut self) {
        let get = format!("SELECT (({})::text)", self.expires_at);
        let first: String = sqlx::query_scalar(AssertSqlSafe(get)).fetch_one(&mut self.connection).await.unwrap();
        await_that_async(TAKEN_OVER_MAX, async || {
            let is_past = self.is_true(format!("clock_timestamp() > '{first}'::timestamptz")).await;
            is_past.then_some(()).ok_or("the first lease is not past")
        })
        .await;
    }

    /// Waits until nobody holds it any more.
    async fn await_end(&mut self) {
        await_that_async(TAKEN_OVER_MAX, async || {
            let is_over = self.is_true(format!("({}) <= clock_timestamp()", self.expires_at)).await;
            is_over.then_some(()).ok_or("somebody holds it")
        })
        .await;
    }
}

/// Opens a log that somebody holds who is gone: it is refused while the lease lasts, and opened as soon as it is over.
async fn take_over(home: &Home, name: &str) -> EventLog {
    let refused = EventLog::open(options_of(home, name)).await.map(drop).unwrap_err();
    assert!(matches!(refused, Error::Held(_)), "{refused}");
    Leases::of(home).await.await_end().await;
    let opened = tokio::time::timeout(TAKEN_OVER_MAX, EventLog::open(options_of(home, name))).await;
    opened.expect("it takes over").unwrap()
}

#[tokio::test]
async fn a_log_that_is_held_is_opened_by_nobody_else_until_it_is_given_back() {
    let Some(home) = Home::postgres() else { return };
    let first = EventLog::open(options_of(&home, "a")).await.unwrap();
    first.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    Leases::of(&home).await.await_renewal().await;
    let refused = EventLog::open(options_of(&home, "b")).await.map(drop).unwrap_err();
    assert!(matches!(&refused, Error::Held(by) if *by == holder("a")), "{refused}");
    let nameless = EventLog::open(home.options(clock(), Vec::new())).await.map(drop).unwrap_err();
    assert!(matches!(&nameless, Error::Held(by) if *by == holder("a")), "{nameless}");
    assert_eq!(home.store().held_by(holder("b")).claim().await.unwrap(), Some(holder("a")));
    let processes = first.reader().processes().await.unwrap();
    assert_eq!(processes, [(true, holder("a")), (false, holder("b"))], "for whoever wants to know");
    first.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await.unwrap();
    first.assert_current().unwrap();
    first.close().await;
    let second = EventLog::open(options_of(&home, "b")).await.expect("it was given back");
    second.execute::<Account>("a", Ask::Deposit(vec![1]), context(3)).await.unwrap();
    // The same name again is the same process, started anew: it waits for nobody, and the one before writes no more.
    let again = EventLog::open(options_of(&home, "b")).await.unwrap();
    assert_eq!(again.execute::<Account>("a", Ask::Deposit(vec![1]), context(4)).await.unwrap().position, 4);
    let deposed = second.execute::<Account>("a", Ask::Deposit(vec![1]), context(5)).await.unwrap_err();
    assert!(matches!(deposed, ExecuteError::Storage(Error::Deposed | Error::Closed)), "{deposed}");
}

#[tokio::test]
async fn nobody_goes_on_with_a_log_whose_files_are_elsewhere() {
    // Three seconds after its process was gone another one wrote the log, and had none of its objects.
    let Some(home) = Home::postgres() else { return };
    let keeping = |name: &str| {
        let options = options_of(&home, name);
        let holder = Holder { keeps_files_of: &["accounts"], ..holder(name) };
        Options { store: home.store().held_by(holder), ..options }
    };
    EventLog::open(keeping("a")).await.unwrap().close().await;
    let refused = EventLog::open(keeping("b")).await.map(drop).unwrap_err();
    assert!(matches!(&refused, Error::FilesElsewhere { at, .. } if at == "a"), "{refused}");
    let refused = refused.to_string();
    assert!(refused.contains("accounts") && refused.contains("db/holder"), "{refused}");
    EventLog::open(keeping("a")).await.unwrap().close().await;
    EventLog::open(options_of(&home, "b")).await.unwrap().close().await;
}

#[tokio::test]
async fn who_wakes_up_while_another_one_takes_over_renews_nothing_and_gives_nothing_back() {
    // The other one had the lease, and had not begun its epoch: the sleeper renewed the other one's, and answered.
    let Some(home) = Home::postgres() else { return };
    let first = EventLog::open(options_of(&home, "a")).await.unwrap();
    let Home::Postgres(url, schema) = &home else { unreachable!() };
    let other = EventLog::open(Options {
        store: trialog_eventlog::Store::postgres(url, &format!("{schema}_other")).unwrap(),
        ..home.options(clock(), Vec::new())
    });
    let other = other.await.unwrap();
    // It may renew its lease just between the two.
    for number in 1.. {
        let lapse = format!("UPDATE {schema}.leases SET expires_at = clock_timestamp()");
        let work = other.record::<Account, _>("a", None, context(number), move |_, tx| {
            let lapse = lapse.clone();
            Box::pin(async move {
                sql(lapse).execute(tx).await?;
                Ok(Recorded { events: Vec::new(), reply: Vec::new() })
            })
        });
        work.await.unwrap();
        if home.store().held_by(holder("b")).claim().await.unwrap().is_none() {
            break;
        }
    }
    assert!(matches!(first.ended().await, Err(Error::Deposed)));
    assert_eq!(home.store().held_by(holder("c")).claim().await.unwrap(), Some(holder("b")), "it has it still");
}

#[tokio::test]
async fn a_holder_keeps_the_log_while_a_batch_takes_longer_than_its_lease() {
    // With a slow disk, or after a large batch, another one took over from a holder that was alive and well.
    let Some(home) = Home::postgres() else { return };
    let (first, mut leases) = (EventLog::open(options_of(&home, "a")).await.unwrap(), Leases::of(&home).await);
    let lock: i64 = i64::from(std::process::id()) << 32;
    leases.run(format!("SELECT pg_advisory_lock({lock})")).await;
    let log = first.clone();
    let slow = tokio::spawn(async move {
        let work = log.record::<Account, _>("a", None, context(1), move |_, tx| {
            Box::pin(async move {
                sql("INSERT INTO notes(text) VALUES ('slow')").execute(&mut *tx).await?;
                sql(format!("SELECT pg_advisory_xact_lock({lock})")).execute(tx).await?;
                Ok(Recorded { events: vec![Deposited { amount: 1 }.into()], reply: Vec::new() })
            })
        });
        work.await
    });
    for _ in 0..2 {
        leases.await_renewal().await;
    }
    assert_eq!(home.store().held_by(holder("b")).claim().await.unwrap(), Some(holder("a")), "it lives");
    first.assert_current().unwrap();
    leases.run("SELECT pg_advisory_unlock_all()".to_owned()).await;
    assert_eq!(slow.await.unwrap().unwrap().position, 1);
    assert_eq!(first.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await.unwrap().position, 2);
    first.close().await;
    EventLog::open(options_of(&home, "b")).await.expect("it was given back, and is not renewed any more");
}

#[tokio::test]
async fn a_holder_that_is_gone_is_replaced_when_its_lease_is_over() {
    let Some(home) = Home::postgres() else { return };
    EventLog::open(options_of(&home, "a")).await.unwrap().close().await;
    // What a process that is killed leaves: a lease that nobody renews.
    assert_eq!(home.store().held_by(holder("a")).claim().await.unwrap(), None);
    take_over(&home, "b").await;
}

#[tokio::test]
async fn a_holder_that_stands_still_inside_a_transaction_is_replaced_and_answers_and_writes_nothing() {
    let Some(home) = Home::postgres() else { return };
    let frozen = Frozen::inside_a_transaction(&home, "a");
    let second = take_over(&home, "b").await;
    second.execute::<Account>("a", Ask::Deposit(vec![7]), context(2)).await.unwrap();
    let [current, late, _, ended] = frozen.go_on().await;
    let knows = ["current: Err(Lapsed(", "current: Err(Deposed)"].iter().any(|known| current.starts_with(known));
    assert!(knows, "what it has in memory is not the log any more: {current}");
    assert!(late.contains("Err(Storage("), "{late}");
    assert_eq!(ended, "ended: Err(Deposed)", "it ends by itself");
    assert_eq!(balances(&second).await, [("a".to_owned(), 7)]);
}
