//! A log that several processes reach has one writer at a time, and the next one soon after it is gone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use trialog_eventlog::{Error, EventLog, ExecuteError, Holder, Options, Recorded, sql};
use vocabulary::Clock;

use crate::account::*;

/// Longer than a lease lasts, and than the server waits for one that stands still inside of a transaction.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(5);

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

fn options_of(home: &Home, name: &str) -> Options {
    let options = home.options(Arc::new(Passing(Instant::now())), vec![Arc::new(Balances)]);
    Options { store: options.store.clone().held_by(holder(name)), ..options }
}

/// Opens the log as soon as nobody else holds it; how long that took.
async fn take_over(home: &Home, name: &str) -> (EventLog, Duration) {
    let begin = Instant::now();
    loop {
        match EventLog::open(options_of(home, name)).await {
            Ok(log) => return (log, begin.elapsed()),
            Err(Error::Held(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < 2 * TAKEN_OVER_MAX, "nobody can take it over");
    }
}

#[tokio::test]
async fn a_log_that_is_held_is_opened_by_nobody_else_until_it_is_given_back() {
    let Some(home) = Home::postgres() else { return };
    let first = EventLog::open(options_of(&home, "a")).await.unwrap();
    first.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    // Longer than a lease lasts: it is renewed.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
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
    let (second, waited) = take_over(&home, "b").await;
    assert!(waited < Duration::from_secs(2), "it was given back, and waiting took {waited:?}");
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
async fn a_holder_that_is_gone_is_replaced_when_its_lease_is_over() {
    let Some(home) = Home::postgres() else { return };
    EventLog::open(options_of(&home, "a")).await.unwrap().close().await;
    // What a process that is killed leaves: a lease that nobody renews.
    assert_eq!(home.store().held_by(holder("a")).claim().await.unwrap(), None);
    let (_second, waited) = take_over(&home, "b").await;
    assert!(waited > Duration::from_secs(2) && waited < TAKEN_OVER_MAX, "{waited:?}");
}

#[tokio::test]
async fn a_holder_that_stands_still_inside_a_transaction_is_replaced_and_answers_and_writes_nothing() {
    let Some(home) = Home::postgres() else { return };
    let first = EventLog::open(options_of(&home, "a")).await.unwrap();
    let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (log, signals) = (first.clone(), (Arc::clone(&begun), Arc::clone(&go)));
    let frozen = tokio::spawn(async move {
        let work = log.record::<Account, _>("a", None, context(1), move |_, tx| {
            let (begun, go) = signals.clone();
            Box::pin(async move {
                // It holds the head when it stops, as one does that is stopped before its COMMIT.
                sql("UPDATE log_head SET commits = commits WHERE id = 1").execute(tx).await?;
                begun.add_permits(1);
                go.acquire().await.unwrap().forget();
                Ok(Recorded { events: vec![Deposited { amount: 1 }.into()], reply: Vec::new() })
            })
        });
        work.await.map(drop)
    });
    begun.acquire().await.unwrap().forget();
    let (second, waited) = take_over(&home, "b").await;
    assert!(waited < TAKEN_OVER_MAX, "{waited:?}");
    second.execute::<Account>("a", Ask::Deposit(vec![7]), context(2)).await.unwrap();
    let stale = first.assert_current().unwrap_err();
    assert!(matches!(stale, Error::Lapsed(_)), "what it has in memory is not the log any more: {stale}");
    go.add_permits(1);
    assert!(matches!(frozen.await.unwrap(), Err(ExecuteError::Storage(_))));
    assert!(matches!(first.ended().await, Err(Error::Deposed)), "it ends by itself");
    assert_eq!(balances(&second).await, [("a".to_owned(), 7)]);
}
