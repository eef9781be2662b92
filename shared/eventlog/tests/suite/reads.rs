//! Reads beside writes: who looks waits for no queue, sees nothing that is not committed, and holds nobody up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use trialog_eventlog::{Context, EventLog, ExecuteError, Recorded, sql};
use vocabulary::{Decider, stored_events};

use crate::account::*;
use crate::on_every_store;

on_every_store! {
    a_look_is_not_refused_when_the_queue_is_full,
    a_command_on_a_cold_stream_leaves_hot_ones_in_memory,
    reads_alone_do_not_fill_the_memory,
    ;
    a_look_sees_what_is_committed_while_the_writer_is_busy,
    a_look_never_sees_what_is_rolled_back,
    a_snapshot_is_what_a_cold_look_begins_with,
    rows_are_read_one_after_the_other_as_long_as_they_are_taken,
}

/// Longer than anything here takes, for what must not hang.
const PATIENCE: Duration = Duration::from_secs(20);

async fn balance(log: &EventLog, stream: &str) -> i64 {
    let looked = log.inspect::<Account, _>(stream, |account, _| account.balance);
    tokio::time::timeout(PATIENCE, looked).await.expect("a look does not queue behind the writer").unwrap()
}

/// A record that has begun and goes on when it is let go.
fn held(
    log: &EventLog,
    stream: &'static str,
    id: u128,
    fails: bool,
) -> (tokio::task::JoinHandle<bool>, [Arc<Semaphore>; 2]) {
    let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (log, signals) = (log.clone(), [Arc::clone(&begun), Arc::clone(&go)]);
    let task = tokio::spawn(async move {
        let work = log.record::<Account, _>(stream, None, context(id), move |_, _| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            Box::pin(async move {
                begun.add_permits(1);
                go.acquire().await.unwrap().forget();
                let amount = if fails { REFUSED_BY_THE_TABLE } else { 1 };
                Ok(Recorded { events: vec![Deposited { amount }.into()], reply: Vec::new() })
            })
        });
        work.await.is_ok()
    });
    (task, signals)
}

async fn a_look_sees_what_is_committed_while_the_writer_is_busy(home: Home) {
    let log = home.viewed().await;
    for (id, stream) in [(1, "a"), (2, "b")] {
        log.execute::<Account>(stream, Ask::Deposit(vec![5]), context(id)).await.unwrap();
    }
    let (task, [begun, go]) = held(&log, "a", 3, false);
    begun.acquire().await.unwrap().forget();
    // The batch is in its transaction, and so is what is asked for now, for as long as it is held.
    assert_eq!(balance(&log, "b").await, 5);
    assert_eq!(balance(&log, "absent").await, 0);
    let looking = balance(&log, "a");
    tokio::pin!(looking);
    assert!(futures_util::poll!(&mut looking).is_pending(), "this batch may change it");
    go.add_permits(1);
    assert!(task.await.unwrap());
    assert_eq!(looking.await, 6, "the outcome of the batch");
}

async fn a_look_never_sees_what_is_rolled_back(home: Home) {
    let log = home.viewed().await;
    log.execute::<Account>("a", Ask::Deposit(vec![5]), context(1)).await.unwrap();
    let (task, [begun, go]) = held(&log, "a", 2, true);
    begun.acquire().await.unwrap().forget();
    let looking = balance(&log, "a");
    tokio::pin!(looking);
    assert!(futures_util::poll!(&mut looking).is_pending());
    // The batch is decided anew, alone, and fails for good.
    go.add_permits(2);
    assert!(!task.await.unwrap(), "the view refuses it");
    assert_eq!(looking.await, 5);
}

async fn a_look_is_not_refused_when_the_queue_is_full(home: Home) {
    let log = home.plain().await;
    log.execute::<Account>("a", Ask::Deposit(vec![5]), context(1)).await.unwrap();
    // The writer has no chance to run before all are asked, as this runtime has one thread.
    let asked = join_all((0..5_000).map(|id| log.execute::<Account>("b", Ask::Deposit(vec![1]), context(id + 10))));
    let (outcomes, seen) = join(asked, balance(&log, "a")).await;
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(ExecuteError::Overloaded))), "the queue was full");
    assert_eq!(seen, 5);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stepped {}

stored_events! {
    /// What happens to a [`Watched`].
    pub enum WatchedEvent { Stepped: 1 }
}

/// Every evolve of a [`Watched`], by which it is seen what is read anew.
static EVOLVED: AtomicUsize = AtomicUsize::new(0);
/// How many evolves of a [`Watched`] there may be; it stops in the next one.
static ALLOWED: (Mutex<usize>, Condvar) = (Mutex::new(usize::MAX), Condvar::new());
/// One test at a time has the statics.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Stops after so many evolves more; never after `None`.
fn stop_after(more: Option<usize>) {
    *ALLOWED.0.lock().unwrap() = more.map_or(usize::MAX, |more| EVOLVED.load(Ordering::SeqCst) + more);
    ALLOWED.1.notify_all();
}

#[derive(Clone, Debug, Default)]
struct Watched;

impl Decider for Watched {
    type Command = usize;
    type Event = WatchedEvent;
    type Rejection = ();

    fn decide(&self, count: &usize) -> Result<Vec<WatchedEvent>, ()> {
        Ok(vec![Stepped {}.into(); *count])
    }

    fn evolve(&mut self, _: &WatchedEvent) {
        let number = EVOLVED.fetch_add(1, Ordering::SeqCst);
        let allowed = ALLOWED.0.lock().unwrap();
        drop(ALLOWED.1.wait_while(allowed, |allowed| number >= *allowed).unwrap());
    }
}

async fn a_command_on_a_cold_stream_leaves_hot_ones_in_memory(home: Home) {
    let _turn = TURN.lock().await;
    let log = home.plain().await;
    log.execute::<Watched>("cold", 3, context(1)).await.unwrap();
    log.close().await;
    let log = home.plain().await;
    log.execute::<Watched>("hot", 50, context(2)).await.unwrap();
    let before = EVOLVED.load(Ordering::SeqCst);
    let (hot, cold) =
        join(log.execute::<Watched>("hot", 1, context(3)), log.execute::<Watched>("cold", 1, context(4))).await;
    assert_eq!((hot.unwrap().version, cold.unwrap().version), (51, 4));
    let evolved = EVOLVED.load(Ordering::SeqCst) - before;
    assert_eq!(evolved, 1 + (3 + 1), "the hot one is not read anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_history_is_read_beside_the_writer_and_its_commands_keep_their_order() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let log = plain(folder.path()).await;
    log.execute::<Watched>("long", 500, context(1)).await.unwrap();
    log.close().await;
    let log = plain(folder.path()).await;
    let before = EVOLVED.load(Ordering::SeqCst);
    stop_after(Some(0));
    let ask = |count: usize, id: u128| {
        let log = log.clone();
        tokio::spawn(async move { log.execute::<Watched>("long", count, context(id)).await.unwrap().version })
    };
    let first = ask(1, 2);
    while EVOLVED.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    let done = AtomicBool::new(false);
    for id in 10..20 {
        let other = log.execute::<Account>("other", Ask::Deposit(vec![1]), context(id));
        tokio::time::timeout(PATIENCE, other).await.expect("the writer goes on meanwhile").unwrap();
        done.store(true, Ordering::SeqCst);
    }
    assert!(done.load(Ordering::SeqCst) && !first.is_finished());
    stop_after(None);
    assert_eq!(first.await.unwrap(), 501);
    assert_eq!(ask(2, 3).await.unwrap(), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_long_history_that_a_failed_batch_has_used_up_is_read_beside_the_writer() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let log = plain(folder.path()).await;
    log.execute::<Watched>("long", 500, context(1)).await.unwrap();
    // Remembered, and by nothing that the log looks at when it is opened.
    let promised = Context { request_hash: Some([7; 32]), ..context(2) };
    log.execute::<Watched>("long", 0, promised.clone()).await.unwrap();
    log.close().await;
    let log = plain(folder.path()).await;
    log.inspect::<Watched, _>("long", |_, _| ()).await.unwrap();
    // It is taken for new, and its one event for the state: then the batch fails, and the state is read anew.
    let before = EVOLVED.load(Ordering::SeqCst);
    stop_after(Some(1));
    let asked = log.clone();
    let again = tokio::spawn(async move { asked.execute::<Watched>("long", 1, promised).await.unwrap() });
    while EVOLVED.load(Ordering::SeqCst) < before + 2 {
        tokio::task::yield_now().await;
    }
    let other = log.execute::<Account>("other", Ask::Deposit(vec![1]), context(10));
    let other = tokio::time::timeout(PATIENCE, other).await;
    let is_waiting = !again.is_finished();
    stop_after(None);
    other.expect("the writer goes on meanwhile").unwrap();
    assert!(is_waiting);
    let again = again.await.unwrap();
    assert_eq!((again.repeated, again.version), (true, 500), "the first result");
}

async fn reads_alone_do_not_fill_the_memory(home: Home) {
    const STREAMS: u32 = 8_400;
    let _turn = TURN.lock().await;
    let log = home.plain().await;
    for from in (0..STREAMS).step_by(1_000) {
        let streams = (from..STREAMS.min(from + 1_000)).map(u128::from);
        let asks = streams.map(async |id| log.execute::<Watched>(&format!("s{id}"), 1, context(id + 1)).await.unwrap());
        join_all(asks).await;
    }
    log.close().await;
    let log = home.plain().await;
    let look = async |id: u32| log.inspect::<Watched, _>(&format!("s{id}"), |_, _| ()).await.unwrap();
    for id in 0..STREAMS {
        look(id).await;
    }
    let before = EVOLVED.load(Ordering::SeqCst);
    for id in 0..1_000 {
        tokio::task::yield_now().await;
        look(id).await;
    }
    assert!(EVOLVED.load(Ordering::SeqCst) > before, "those that were looked at first are still in memory");
}

async fn a_snapshot_is_what_a_cold_look_begins_with(home: Home) {
    let mut log = home.plain().await;
    log.execute::<Account>("a", Ask::Deposit(vec![1; 30]), context(1)).await.unwrap();
    assert!(log.snapshot("a").await.unwrap());
    assert!(!log.snapshot("absent").await.unwrap(), "it is not in memory");
    log.execute::<Account>("a", Ask::Deposit(vec![1; 5]), context(2)).await.unwrap();
    // Another balance in the snapshot shows whether it is what the look begins with.
    let thousand = [0xe8, 3, 0, 0, 0, 0, 0, 0].as_slice();
    for (id, bytes, change, wanted) in [
        (3, thousand, "UPDATE snapshots SET bytes = $1", 1_000 + 5),
        (4, &[0], "UPDATE snapshots SET bytes = $1", 35),
        (5, thousand, "UPDATE snapshots SET bytes = $1, schema = 2", 35),
        // Of a log that was set back since: what comes next would be taken for what it has seen.
        (6, thousand, "UPDATE snapshots SET bytes = $1, schema = 1, version = 36", 35),
        // The same, and it has gone on since: it has such an event, and it is another one.
        (7, thousand, "UPDATE snapshots SET bytes = $1, version = 33", 35),
        // Of a build that did not write down which event it was.
        (8, thousand, "UPDATE snapshots SET bytes = $1, version = 30, event_id = NULL", 35),
    ] {
        let changed = log.record::<Account, _>("b", None, context(id), move |_, tx| {
            Box::pin(async move {
                assert_eq!(sql(change).bind(bytes).execute(tx).await?, 1);
                Ok(Recorded { events: Vec::new(), reply: Vec::new() })
            })
        });
        changed.await.unwrap();
        log.close().await;
        log = home.plain().await;
        assert_eq!(balance(&log, "a").await, wanted, "{change}");
    }
}

async fn rows_are_read_one_after_the_other_as_long_as_they_are_taken(home: Home) {
    // A page of large rows would be in memory whole before its bound was looked at.
    let log = home.viewed().await;
    let rows = "SELECT n FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT NULL) AS listed
                ORDER BY n IS NULL, n";
    let mut seen = Vec::new();
    let taken = sql(rows).fetch_while(log.reader(), |value: i64| {
        seen.push(value);
        Ok(value < 2)
    });
    taken.await.unwrap();
    assert_eq!(seen, [1, 2], "what comes behind the one that was not taken is not read");
    let all = sql(rows).fetch_while(log.reader(), |_: i64| Ok(true)).await;
    assert!(all.is_err(), "the last one is no number");
}
