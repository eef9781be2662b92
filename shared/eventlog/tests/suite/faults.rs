//! What happens when something fails: only the culprit is told so, and nothing is half done.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use trialog_eventlog::{Error, EventLog, ExecuteError, Recorded, Store, sql};
use vocabulary::{Decider, stored_events};

use crate::account::*;
use crate::on_every_store;

on_every_store! {
    a_full_queue_refuses_instead_of_growing,
    a_second_opener_deposes_the_first,
    ;
    one_bad_row_fails_alone,
    a_panicking_decider_or_record_does_not_stop_the_writer,
    the_rows_of_a_record_whose_event_cannot_be_encoded_are_undone,
    a_log_whose_tail_is_gone_is_not_opened,
}

async fn one_bad_row_fails_alone(home: Home) {
    let log = home.viewed().await;
    let amounts = (1..=40).map(|n| match n {
        13 => REFUSED_BY_THE_TABLE,
        30 => PANICS_IN_THE_VIEW,
        _ => 1,
    });
    let asks: Vec<_> = amounts.enumerate().map(|(n, amount)| (n, Ask::Deposit(vec![amount]))).collect();
    let outcomes =
        join_all(asks.into_iter().map(|(n, ask)| log.execute::<Account>("a", ask, context(n as u128 + 1)))).await;
    for (n, outcome) in outcomes.iter().enumerate() {
        let culprit = n == 12 || n == 29;
        assert_eq!(matches!(outcome, Err(ExecuteError::Storage(Error::View { .. }))), culprit, "{n}: {outcome:?}");
    }
    assert_eq!(balances(&log).await, [("a".to_owned(), 38)]);
    assert_eq!(log.inspect::<Account, _>("a", |state, version| (state.balance, version)).await.unwrap(), (38, 38));
}

async fn a_panicking_decider_or_record_does_not_stop_the_writer(home: Home) {
    let log = home.plain().await;
    let panicked = log.execute::<Account>("a", Ask::Panic, context(1)).await;
    assert!(matches!(panicked, Err(ExecuteError::Storage(Error::Panicked(_)))));
    let panicked = log
        .record::<Account, _>("a", None, context(2), |_, tx| {
            Box::pin(async move {
                sql("INSERT INTO notes(text) VALUES ('gone')").execute(tx).await?;
                panic!("a record that panics")
            })
        })
        .await;
    assert!(matches!(panicked, Err(ExecuteError::Storage(Error::Panicked(_)))));
    let failed = log
        .record::<Account, _>("a", None, context(3), |_, tx| {
            Box::pin(async move {
                sql("INSERT INTO nowhere VALUES (1)").execute(tx).await?;
                Ok(Recorded { events: Vec::new(), reply: Vec::new() })
            })
        })
        .await;
    assert!(matches!(failed, Err(ExecuteError::Storage(Error::Sql(_)))));
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(4)).await.unwrap();
    let notes: i64 = sql("SELECT count(*) FROM notes").fetch_one(log.reader()).await.unwrap();
    assert_eq!(notes, 0);
}

/// JSON has no form for it: the keys of its objects are texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Paired {
    pairs: BTreeMap<(i64, i64), i64>,
}

stored_events! {
    /// An event that refuses to be encoded when it holds a pair.
    enum PairEvent { Paired: 1 }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Pairs(usize);

impl Decider for Pairs {
    type Command = ();
    type Event = PairEvent;
    type Rejection = Infallible;

    fn decide(&self, (): &()) -> Result<Vec<PairEvent>, Infallible> {
        Ok(Vec::new())
    }

    fn evolve(&mut self, PairEvent::Paired(event): &PairEvent) {
        self.0 += event.pairs.len();
    }
}

async fn the_rows_of_a_record_whose_event_cannot_be_encoded_are_undone(home: Home) {
    let log = home.plain().await;
    // In one batch with records that succeed before and after it.
    let records = (1..=3).map(|id| {
        log.record::<Pairs, _>("pairs", None, context(id), move |_, tx| {
            Box::pin(async move {
                sql("INSERT INTO notes(id, text) VALUES ($1, 'of a record')").bind(id as i64).execute(tx).await?;
                let pairs = if id == 2 { BTreeMap::from([((1, 2), 3)]) } else { BTreeMap::new() };
                Ok(Recorded { events: vec![Paired { pairs }.into()], reply: Vec::new() })
            })
        })
    });
    let outcomes = join_all(records).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(ExecuteError::Storage(Error::Encode(_)))), "{:?}", outcomes[1]);
    let notes: Vec<i64> = sql("SELECT id FROM notes ORDER BY id").fetch_all(log.reader()).await.unwrap();
    assert_eq!(notes, [1, 3], "the caller was told that nothing of the second is stored");
    assert_eq!(everything(&log).await.len(), 2);
}

/// Bounds the database's pages, as a full disk does.
async fn limit(log: &EventLog, pages: u32) {
    let done = log.record::<Account, _>("limit", None, context(1_000_000 + u128::from(pages)), move |_, tx| {
        Box::pin(async move {
            let limit = format!("PRAGMA max_page_count = {pages}");
            sql(limit).execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    done.await.unwrap();
}

async fn fill_and_go_on(log: EventLog) {
    log.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    limit(&log, 1).await;
    let (mut refused, mut stored) = (None, 1);
    for id in 2..2_000 {
        match log.execute::<Account>("a", Ask::Deposit(vec![1; 50]), context(id)).await {
            Ok(_) => stored += 50,
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let problem = refused.expect("the limit is reached").into_problem(|_| unreachable!());
    assert_eq!((problem.status, problem.code.as_str()), (503, "LogUnavailable"));
    let several = (0..100).map(|n| log.execute::<Account>("a", Ask::Deposit(vec![1; 50]), context(5_000 + n)));
    // A connection that had to be made anew does not know the limit any more; what it acknowledges must be there.
    stored += 50 * join_all(several).await.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(everything(&log).await.len(), stored);
    limit(&log, 1_000_000).await;
    let after = log.execute::<Account>("a", Ask::Deposit(vec![1]), context(9_999)).await.unwrap();
    assert_eq!(after.position as usize, stored + 1);
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_ends_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    fill_and_go_on(plain(folder.path()).await).await;
    let folder = tempfile::tempdir().unwrap();
    fill_and_go_on(viewed(folder.path()).await).await;
}

async fn a_full_queue_refuses_instead_of_growing(home: Home) {
    // P12: the writer has no chance to run before all are asked, as this runtime has one thread.
    let log = home.plain().await;
    let asked = 6_000;
    let outcomes =
        join_all((0..asked).map(|id| log.execute::<Account>("a", Ask::Deposit(vec![1]), context(id + 1)))).await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(ExecuteError::Overloaded))).count();
    let stored = everything(&log).await.len();
    assert!(refused > 0, "the queue is bounded");
    assert_eq!(stored + refused, asked as usize);
}

async fn a_second_opener_deposes_the_first(home: Home) {
    let (first, second) = (home.plain().await, home.plain().await);
    second.execute::<Account>("a", Ask::Deposit(vec![1]), context(1)).await.unwrap();
    let late = first.execute::<Account>("a", Ask::Deposit(vec![1]), context(2)).await;
    assert!(matches!(late, Err(ExecuteError::Storage(Error::Deposed))), "{late:?}");
    assert!(first.head().changed().await.is_err(), "the writer has stopped");
    assert!(matches!(first.ended().await, Err(Error::Deposed)), "and says why");
    assert!(matches!(first.health(), Err(Error::Deposed)));
    assert!(second.health().is_ok());
    assert_eq!(first.inspect::<Account, _>("a", |state, _| state.balance).await.unwrap(), 1, "it can still be read");
    let closed = second.clone();
    second.close().await;
    assert!(closed.ended().await.is_ok() && matches!(closed.health(), Err(Error::Closed)));
    let second = home.plain().await;
    assert_eq!(everything(&second).await.len(), 1);
}

async fn a_log_whose_tail_is_gone_is_not_opened(home: Home) {
    let log = home.plain().await;
    log.execute::<Account>("a", Ask::Deposit(vec![1, 2]), context(1)).await.unwrap();
    let cut = log.record::<Account, _>("b", None, context(2), |_, tx| {
        Box::pin(async move {
            sql("DELETE FROM events WHERE position = 2").execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    cut.await.unwrap();
    log.close().await;
    let opened = EventLog::open(home.options(clock(), Vec::new())).await;
    assert!(matches!(opened, Err(Error::Damaged { head: 2, last: 1 })));
}

/// Overwrites the events' pages of a database that is open, as a bad sector does. What is read later is damaged, the
/// end of the log is not.
fn damage(folder: &Path) {
    const PAGE: usize = 4096;
    let file = folder.join("accounts.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let pages = bytes.len() / PAGE;
    assert!(pages > 200, "{pages} pages");
    // Some pages of the tables of events and of their index; the first ones hold the schema and the head.
    for page in (60..pages / 2).step_by(2) {
        bytes[page * PAGE..(page + 1) * PAGE].fill(0xA5);
    }
    std::fs::write(&file, bytes).unwrap();
}

/// A log of many streams that was closed and opened again, so that nothing of it is in memory.
async fn full(folder: &Path) -> EventLog {
    let log = plain(folder).await;
    for id in 0..60 {
        log.execute::<Account>(&format!("s{id}"), Ask::Deposit(vec![1; 150]), context(id + 1)).await.unwrap();
    }
    log.close().await;
    plain(folder).await
}

/// Nothing is acknowledged after it.
async fn assert_ended(log: &EventLog) {
    let ended = tokio::time::timeout(Duration::from_secs(60), log.ended()).await;
    assert!(matches!(ended, Ok(Err(_))), "the writer goes on: {ended:?}");
    let late = log.execute::<Account>("new", Ask::Deposit(vec![1]), context(777_777)).await;
    assert!(matches!(late, Err(ExecuteError::Storage(Error::Closed | Error::Sql(_)))), "{late:?}");
    assert!(log.move_cursor("p", "elsewhere", 9).await.is_err());
}

#[tokio::test]
async fn after_a_damaged_page_nothing_is_acknowledged() {
    // Whoever finds it: the page that the next command needs may be the next one that is wrong.
    let folder = tempfile::tempdir().unwrap();
    let log = full(folder.path()).await;
    damage(folder.path());
    let mut found = None;
    for id in 0..60 {
        if let Err(error) = log.read_stream(&format!("s{id}"), 0, 1_000).await {
            found = Some(error);
            break;
        }
    }
    assert!(matches!(found, Some(Error::Sql(_))), "a reader meets a damaged page: {found:?}");
    assert_ended(&log).await;

    let folder = tempfile::tempdir().unwrap();
    let log = full(folder.path()).await;
    damage(folder.path());
    let mut found = None;
    for id in 0..60 {
        if let Err(error) = log.inspect::<Account, _>(&format!("s{id}"), |_, version| version).await {
            found = Some(error);
            break;
        }
    }
    assert!(matches!(found, Some(Error::Sql(_))), "a look meets a damaged page: {found:?}");
    assert_ended(&log).await;

    let folder = tempfile::tempdir().unwrap();
    let log = full(folder.path()).await;
    damage(folder.path());
    let list = sql("SELECT stream_id FROM events WHERE data LIKE '%nothing like it%'");
    let listed: Result<Vec<String>, Error> = list.fetch_all(log.reader()).await;
    assert!(matches!(listed, Err(Error::Sql(_))), "a list meets a damaged page: {listed:?}");
    assert_ended(&log).await;
}

#[tokio::test]
async fn what_is_damaged_is_found_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let log = full(folder.path()).await;
    let file = folder.path().join("accounts.db");
    let examined = Store::sqlite(&file).examine().await.unwrap().expect("a log");
    assert_eq!((examined.service.as_str(), examined.head), ("accounts", 60 * 150));
    assert_eq!(format!("accounts@{}", examined.incarnation), log.source());
    assert_eq!(Store::sqlite(&file).faults().await.unwrap(), Vec::<String>::new());
    let set_back = log.record::<Account, _>("b", None, context(1 << 90), |_, tx| {
        Box::pin(async move {
            sql("INSERT INTO snapshots(stream_id, schema, version, bytes) VALUES ('gone', 1, 5, x'00')")
                .execute(tx)
                .await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    set_back.await.unwrap();
    let found = Store::sqlite(&file).faults().await.unwrap();
    assert!(found.len() == 1 && found[0].contains("gone") && found[0].contains("version 5"), "{found:?}");
    log.close().await;
    damage(folder.path());
    assert!(!Store::sqlite(&file).faults().await.unwrap().is_empty());
    std::fs::write(&file, "no database at all").unwrap();
    assert!(Store::sqlite(&file).examine().await.is_err());
}
