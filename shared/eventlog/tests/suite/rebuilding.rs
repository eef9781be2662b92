//! Views that are made anew beside themselves, while the log is open and written.

use std::sync::Arc;
use std::time::Duration;

use trialog_eventlog::{
    BoxFuture, Context, Error, EventLog, Rebuilding, Rebuilt, Recorded, RecordedEvent, Transaction, View, ViewTable,
    rebuild, sql,
};
use uuid::Uuid;

use crate::account::*;

/// A note of each withdrawal, beside the notes that are no event's.
struct Notes;

/// Between two writes while views are rebuilt.
const PACE: Duration = Duration::from_millis(10);
/// Where the numbers of its notes begin.
const NOTES: i64 = 1_000_000;

impl View for Notes {
    fn name(&self) -> &'static str {
        "notes_of_withdrawals"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Shared("notes")]
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            for event in events.iter().filter(|event| event.kind == "Withdrawn") {
                let put = sql("INSERT INTO notes(id, text) VALUES ($1, 'withdrawn') ON CONFLICT DO NOTHING");
                put.bind(NOTES + event.position).execute(&mut *tx).await?;
            }
            Ok(())
        })
    }
}

const ALL: [&str; 3] = ["balances", "withdrawals", "notes_of_withdrawals"];

fn views() -> Vec<Arc<dyn View>> {
    vec![Arc::new(Balances), Arc::new(Withdrawals), Arc::new(Notes)]
}

async fn open(home: &Home) -> EventLog {
    EventLog::open(home.options(clock(), views())).await.unwrap()
}

async fn rebuilt(home: &Home, how: Rebuilding) -> Rebuilt {
    rebuild(home.options(clock(), views()), &ALL, how).await.unwrap()
}

/// Events over several pages of a rebuild, and rows that are no event's.
async fn fill(log: &EventLog) {
    for id in 1..=600_u128 {
        let deposits = Ask::Deposit(vec![2, 3]);
        log.execute::<Account>(&format!("a{}", id % 7), deposits, context(id)).await.unwrap();
    }
    for id in 1_001..=1_020_u128 {
        log.execute::<Account>(&format!("a{}", id % 7), Ask::Withdraw(4), context(id)).await.unwrap();
    }
    change(log, "INSERT INTO notes(id, text) VALUES (1, 'nobody says so')").await;
}

/// Changes rows behind the views' back.
async fn change(log: &EventLog, text: &'static str) {
    let id = Uuid::from_u128(text.bytes().fold(1 << 64, |sum, byte| sum * 31 % (1 << 100) + u128::from(byte)));
    let done = log.record::<Account, _>("changes", None, Context::new(id, "", ""), move |_, tx| {
        Box::pin(async move {
            sql(text).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    done.await.unwrap();
}

async fn notes(log: &EventLog) -> Vec<(i64, String)> {
    sql("SELECT id, text FROM notes ORDER BY id").fetch_all(log.reader()).await.unwrap()
}

/// Missing, of no event and other rows by table.
fn counts(rebuilt: &Rebuilt) -> Vec<(&str, [u64; 3])> {
    let tables = rebuilt.views.iter().flat_map(|view| &view.tables);
    let counts = tables.filter(|table| !table.is_equal()).map(|table| {
        let differences = &table.differences;
        (table.made.table.as_str(), [differences.missing, differences.unfounded, differences.other])
    });
    counts.collect()
}

/// Nothing is left of what was made beside the log.
async fn nothing_is_left(home: &Home, log: &EventLog) {
    match home {
        Home::Sqlite(folder) => {
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains("rebuild")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
        Home::Memory(_) => unreachable!("it has no views"),
        #[cfg(feature = "postgres")]
        Home::Postgres(_, schema) => {
            let count = sql("SELECT count(*) FROM pg_namespace WHERE nspname = $1").bind(format!("{schema}_rebuild"));
            assert_eq!(count.fetch_one::<i64>(log.reader()).await.unwrap(), 0);
        }
    }
    let _ = log;
}

async fn what_differs_is_told_row_by_row_and_mended(home: Home) {
    let log = open(&home).await;
    fill(&log).await;
    let sound = rebuilt(&home, Rebuilding::Swap).await;
    assert!(sound.is_equal() && !sound.is_swapped && sound.position == 1_220, "{sound:?}");
    let (balances_before, notes_before) = (balances(&log).await, notes(&log).await);
    for text in [
        "UPDATE balances SET balance = balance + 1 WHERE stream = 'a3'",
        "DELETE FROM balances WHERE stream = 'a5'",
        "INSERT INTO balances(stream, balance, last) VALUES ('nobody''s', 7, NULL)",
        "DELETE FROM withdrawals WHERE position > 1210",
        "DELETE FROM notes WHERE id = 1001205",
        "INSERT INTO notes(id, text) VALUES (2, 'nor this')",
    ] {
        change(&log, text).await;
    }
    let wanted = [("balances", [1, 1, 1]), ("withdrawals", [10, 0, 0]), ("notes", [1, 0, 0])];
    let checked = rebuilt(&home, Rebuilding::Check).await;
    assert_eq!(counts(&checked), wanted);
    let of = |view: usize| checked.views[view].tables[0].differences.shown.clone();
    let told = ["missing: stream=\"a5\"", "of no event: stream=\"nobody's\"", "other in balance: stream=\"a3\""];
    assert_eq!(of(0), told);
    assert_eq!((of(1).len(), of(2)), (10, vec!["missing: id=1001205".to_owned()]));
    assert_ne!(balances(&log).await, balances_before, "a check changes nothing");

    let swapped = rebuilt(&home, Rebuilding::Swap).await;
    assert!(swapped.is_swapped);
    assert_eq!(counts(&swapped), wanted);
    assert_eq!(balances(&log).await, balances_before);
    assert_eq!(withdrawals(&log).await.len(), 20);
    let notes = notes(&log).await;
    assert_eq!(notes.len(), notes_before.len() + 1, "what no event tells of is left alone: {notes:?}");
    assert!(rebuilt(&home, Rebuilding::Check).await.is_equal());
    // It goes on with what was mended.
    log.execute::<Account>("a5", Ask::Withdraw(1), context(2_000)).await.unwrap();
    assert!(rebuilt(&home, Rebuilding::Check).await.is_equal());
    nothing_is_left(&home, &log).await;
    log.close().await;
}

async fn a_log_is_written_while_its_views_are_swapped(home: Home) {
    // A batch whose rows were read before the swap and written behind it would undo it.
    let log = open(&home).await;
    fill(&log).await;
    let (end, mut ended) = tokio::sync::watch::channel(false);
    let writing = {
        let log = log.clone();
        tokio::spawn(async move {
            let mut id = 10_000_u128;
            // Slower than a debug build replays, so that it is caught up with.
            let mut pace = tokio::time::interval(PACE);
            while !*ended.borrow_and_update() {
                pace.tick().await;
                let stream = format!("a{}", id % 7);
                log.execute::<Account>(&stream, Ask::Deposit(vec![1]), context(id)).await.unwrap();
                log.execute::<Account>(&stream, Ask::Withdraw(1), context(id + (1 << 64))).await.unwrap();
                id += 1;
            }
            id
        })
    };
    for round in 0..3 {
        change(&log, ["UPDATE balances SET balance = 0", "DELETE FROM balances", "DELETE FROM withdrawals"][round])
            .await;
        let swapped = rebuilt(&home, Rebuilding::Swap).await;
        assert!(swapped.is_swapped, "{round}: {swapped:?}");
        assert!(rebuilt(&home, Rebuilding::Check).await.is_equal(), "{round}");
    }
    end.send_replace(true);
    let last = writing.await.unwrap();
    let all = rebuilt(&home, Rebuilding::Check).await;
    assert!(all.is_equal() && all.position >= 1_220 + 2 * i64::try_from(last - 10_000).unwrap(), "{all:?}");
    log.close().await;
}

/// What one leaves that is killed in the middle.
async fn leave_something(home: &Home) {
    match home {
        Home::Sqlite(folder) => std::fs::write(folder.path().join("accounts.rebuild"), "half of a page").unwrap(),
        Home::Memory(_) => unreachable!("it has no views"),
        #[cfg(feature = "postgres")]
        Home::Postgres(url, schema) => {
            let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
            let make = format!("CREATE SCHEMA {schema}_rebuild; CREATE TABLE {schema}_rebuild.balances(half TEXT)");
            sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut other).await.unwrap();
        }
    }
}

async fn what_cannot_be_rebuilt_is_refused_and_what_one_has_left_is_no_hindrance(home: Home) {
    let log = EventLog::open(home.options(clock(), vec![Arc::new(Balances)])).await.unwrap();
    log.execute::<Account>("a", Ask::Deposit(vec![2]), context(1)).await.unwrap();
    let refused = |views: &'static [&'static str]| {
        let options = home.options(clock(), self::views());
        async move { rebuild(options, views, Rebuilding::Swap).await.unwrap_err().to_string() }
    };
    assert!(refused(&["balance"]).await.contains("it has: balances, withdrawals"));
    assert!(refused(&["withdrawals"]).await.contains("trialog migrate"), "the log does not keep it yet");
    log.close().await;
    let log = open(&home).await;
    // Somebody does so already.
    match &home {
        Home::Sqlite(folder) => {
            let lock = std::fs::File::create(folder.path().join("accounts.rebuild-lock")).unwrap();
            lock.try_lock().unwrap();
            assert!(refused(&["balances"]).await.contains("rebuilt already"));
            drop(lock);
        }
        Home::Memory(_) => unreachable!("it has no views"),
        #[cfg(feature = "postgres")]
        Home::Postgres(url, schema) => {
            let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.unwrap();
            let lock = sqlx::query("SELECT pg_advisory_lock(hashtext($1), 1)").bind(format!("{schema}_rebuild"));
            lock.execute(&mut other).await.unwrap();
            assert!(refused(&["balances"]).await.contains("rebuilt already"));
        }
    }
    leave_something(&home).await;
    assert!(rebuilt(&home, Rebuilding::Check).await.is_equal());
    log.close().await;
    // Nobody keeps them any more: they would be behind at once.
    let log = EventLog::open(home.options(clock(), Vec::new())).await.unwrap();
    assert!(refused(&["balances"]).await.contains("trialog migrate"));
    nothing_is_left(&home, &log).await;
    log.close().await;
}

crate::on_store!(
    sqlite,
    what_differs_is_told_row_by_row_and_mended,
    a_log_is_written_while_its_views_are_swapped,
    what_cannot_be_rebuilt_is_refused_and_what_one_has_left_is_no_hindrance
);
#[cfg(feature = "postgres")]
crate::on_store!(
    postgres,
    what_differs_is_told_row_by_row_and_mended,
    a_log_is_written_while_its_views_are_swapped,
    what_cannot_be_rebuilt_is_refused_and_what_one_has_left_is_no_hindrance
);
