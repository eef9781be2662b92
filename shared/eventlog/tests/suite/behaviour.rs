//! What each call promises, one by one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use trialog_eventlog::{
    CursorMove, Error, EventLog, ExecuteError, Migrated, Options, RecordError, Recorded, migrate, sql,
};
use uuid::Uuid;
use vocabulary::{Decider, ManualClock};

use crate::account::*;
use crate::on_every_store;

on_every_store! {
    a_command_is_stored_and_a_repeat_gets_the_first_result,
    a_command_that_comes_again_after_a_restart_is_not_decided_anew,
    a_rejected_command_is_not_stored_and_may_succeed_later,
    a_success_without_events_is_remembered_when_something_was_promised,
    the_expected_version_decides_between_racers,
    a_cursor_never_moves_back,
    the_head_moves_and_can_be_waited_for,
    recorded_at_does_not_follow_a_clock_that_goes_back,
    ;
    the_source_outlives_a_restart_and_another_service_is_refused,
    rows_and_events_of_a_record_are_stored_together_or_not_at_all,
    a_record_sees_what_views_wrote_for_commands_before_it_in_the_batch,
    a_new_view_is_fed_with_the_history_and_one_that_was_away_catches_up,
    a_log_of_a_newer_build_is_refused_and_left_as_it_is,
}

async fn a_command_is_stored_and_a_repeat_gets_the_first_result(home: Home) {
    let log = home.plain().await;
    let mut wanted = context(1);
    wanted.request_hash = Some([1; 32]);
    wanted.reply = b"first".to_vec();
    wanted.causation = Some("runs@1:5".to_owned());
    let first = log.execute::<Account>("a", Ask::Deposit(vec![5, 6]), wanted.clone()).await.unwrap();
    assert_eq!((first.position, first.version, first.events, first.repeated), (2, 2, 2, false));
    wanted.reply = b"second".to_vec();
    let again = log.execute::<Account>("a", Ask::Deposit(vec![5, 6]), wanted.clone()).await.unwrap();
    assert_eq!((again.position, again.version, again.events, again.repeated), (2, 2, 2, true));
    assert_eq!(again.reply, b"first");
    log.close().await;
    let log = home.plain().await;
    let again = log.execute::<Account>("a", Ask::Withdraw(1), wanted.clone()).await.unwrap();
    assert_eq!((again.position, again.reply.as_slice(), again.repeated), (2, &b"first"[..], true));
    wanted.request_hash = Some([2; 32]);
    let reuse = log.execute::<Account>("a", Ask::Deposit(vec![1]), wanted).await;
    assert!(matches!(reuse, Err(ExecuteError::KeyReuse)));
    let events = log.read_stream("a", 0, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].decode::<AccountEvent>().unwrap(), AccountEvent::from(Deposited { amount: 6 }));
    assert_eq!(events[0].meta, r#"{"actor":"tester","request_id":"request","causation":"runs@1:5"}"#);
    assert_ne!(events[0].event_id, events[1].event_id);
    assert_eq!(log.inspect::<Account, _>("a", |state, version| (state.balance, version)).await.unwrap(), (11, 2));
    assert_eq!(log.inspect::<Account, _>("absent", |_, version| version).await.unwrap(), 0);
}

/// Counts how often it decides.
#[derive(Clone, Debug, Default)]
struct Counting;

impl Decider for Counting {
    type Command = Arc<AtomicUsize>;
    type Event = AccountEvent;
    type Rejection = Infallible;

    fn decide(&self, decisions: &Arc<AtomicUsize>) -> Result<Vec<AccountEvent>, Infallible> {
        decisions.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Deposited { amount: 1 }.into()])
    }

    fn evolve(&mut self, _: &AccountEvent) {}
}

async fn a_command_that_comes_again_after_a_restart_is_not_decided_anew(home: Home) {
    // Deciding it would use up its aggregate, and all those of its batch, before the store says that it is known.
    let log = home.plain().await;
    let decisions = Arc::new(AtomicUsize::new(0));
    for id in 1..=3 {
        log.execute::<Counting>("a", Arc::clone(&decisions), context(id)).await.unwrap();
    }
    log.close().await;
    let log = home.plain().await;
    for id in 1..=3 {
        let again = log.execute::<Counting>("a", Arc::clone(&decisions), context(id)).await.unwrap();
        assert_eq!((again.version, again.repeated), (id as i64, true));
    }
    assert_eq!(decisions.load(Ordering::SeqCst), 3, "each was decided once");
}

async fn a_rejected_command_is_not_stored_and_may_succeed_later(home: Home) {
    let log = home.plain().await;
    let refused = log.execute::<Account>("a", Ask::Withdraw(5), context(1)).await;
    assert!(matches!(refused, Err(ExecuteError::Rejected(TooLittle { balance: 0 }))));
    log.execute::<Account>("a", Ask::Deposit(vec![5]), context(2)).await.unwrap();
    let accepted = log.execute::<Account>("a", Ask::Withdraw(5), context(1)).await.unwrap();
    assert!(!accepted.repeated);
    let problem = log
        .execute::<Account>("a", Ask::Withdraw(5), context(3))
        .await
        .unwrap_err()
        .into_problem(|TooLittle { balance }| vocabulary::Problem::conflict("TooLittle", format!("{balance}")));
    assert_eq!((problem.status, problem.code.as_str()), (409, "TooLittle"));
}

async fn a_success_without_events_is_remembered_when_something_was_promised(home: Home) {
    let log = home.plain().await;
    log.execute::<Account>("b", Ask::Deposit(vec![1]), context(9)).await.unwrap();
    let silent = log.execute::<Account>("a", Ask::Deposit(vec![]), context(1)).await.unwrap();
    assert_eq!((silent.position, silent.version, silent.events), (1, 0, 0));
    let mut promised = context(2);
    promised.reply = b"nothing to do".to_vec();
    log.execute::<Account>("a", Ask::Deposit(vec![]), promised.clone()).await.unwrap();
    let again = log.execute::<Account>("a", Ask::Deposit(vec![5]), promised).await.unwrap();
    assert_eq!((again.repeated, again.events, again.reply.as_slice()), (true, 0, &b"nothing to do"[..]));
    assert!(!log.execute::<Account>("a", Ask::Deposit(vec![]), context(1)).await.unwrap().repeated);
}

async fn the_expected_version_decides_between_racers(home: Home) {
    // P3: of n racers with one expected version one wins; the others learn the actual version.
    let log = home.plain().await;
    let racers = (0..20).map(|racer| {
        let mut wanted = context(racer + 1);
        wanted.expected_version = Some(0);
        log.execute::<Account>("a", Ask::Deposit(vec![1]), wanted)
    });
    let outcomes = join_all(racers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let lost = outcomes.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(lost, ExecuteError::WrongVersion { expected: 0, actual: 1 }));
    assert_eq!(lost.into_problem(|_| unreachable!()).status, 412);
}

async fn rows_and_events_of_a_record_are_stored_together_or_not_at_all(home: Home) {
    let log = home.viewed().await;
    let note = |text: &'static str, amount: i64, fails: bool| {
        let log = log.clone();
        async move {
            log.record::<Account, _>("a", None, context(amount as u128), move |state, tx| {
                Box::pin(async move {
                    sql("INSERT INTO notes(text) VALUES ($1)").bind(text).execute(&mut *tx).await?;
                    let notes: i64 = sql("SELECT count(*) FROM notes").fetch_one(&mut *tx).await?;
                    if fails {
                        return Err(RecordError::Rejected(TooLittle { balance: state.balance }));
                    }
                    Ok(Recorded { events: vec![Deposited { amount }.into()], reply: vec![notes as u8] })
                })
            })
            .await
        }
    };
    let outcomes = join_all([note("one", 10, false), note("two", 20, true), note("three", 30, false)]).await;
    assert_eq!(outcomes[0].as_ref().unwrap().reply, [1]);
    assert!(matches!(outcomes[1], Err(ExecuteError::Rejected(TooLittle { balance: 10 }))));
    assert_eq!(outcomes[2].as_ref().unwrap().reply, [2]);
    let notes: Vec<String> = sql("SELECT text FROM notes ORDER BY id").fetch_all(log.reader()).await.unwrap();
    assert_eq!(notes, ["one", "three"]);
    assert_eq!(balances(&log).await, [("a".to_owned(), 40)]);
    let again = note("one", 10, false).await.unwrap();
    assert_eq!((again.repeated, again.reply.as_slice()), (true, &[1][..]));
}

async fn a_record_sees_what_views_wrote_for_commands_before_it_in_the_batch(home: Home) {
    let log = home.viewed().await;
    let deposit = log.execute::<Account>("a", Ask::Deposit(vec![5]), context(1));
    let look = log.record::<Account, _>("b", None, context(2), |_, tx| {
        Box::pin(async move {
            let seen: i64 = sql("SELECT balance FROM balances WHERE stream = 'a'").fetch_one(tx).await?;
            Ok(Recorded { events: vec![Deposited { amount: seen }.into()], reply: Vec::new() })
        })
    });
    let (first, second) = futures_util::future::join(deposit, look).await;
    assert_eq!((first.unwrap().position, second.unwrap().position), (1, 2));
    assert_eq!(balances(&log).await, [("a".to_owned(), 5), ("b".to_owned(), 5)]);
}

async fn a_cursor_never_moves_back(home: Home) {
    let log = home.plain().await;
    assert_eq!(log.cursor("p", "runs@1").await.unwrap(), 0);
    log.move_cursor("p", "runs@1", 9).await.unwrap();
    log.move_cursor("p", "runs@1", 7).await.unwrap();
    assert_eq!(log.cursor("p", "runs@1").await.unwrap(), 9);
    assert_eq!(log.cursor("p", "runs@2").await.unwrap(), 0);
    assert_eq!(log.cursor("q", "runs@1").await.unwrap(), 0);
    // With it go the event that stands there and where what carries the facts goes on, in each partition.
    let at = |partition, position, resume| CursorMove {
        projection: "carried".to_owned(),
        source: "runs@1".to_owned(),
        partition,
        position,
        event_id: Some(Uuid::from_u128(u128::try_from(position).unwrap())),
        resume,
    };
    for cursor in [at(1, 5, 50), at(2, 3, 30), at(1, 7, 70), at(1, 6, 60)] {
        log.move_to(cursor).await.unwrap();
    }
    let mut cursors = log.cursors("carried").await.unwrap();
    cursors.sort_by_key(|cursor| cursor.partition);
    assert_eq!(cursors, [at(1, 7, 70), at(2, 3, 30)]);
}

async fn the_head_moves_and_can_be_waited_for(home: Home) {
    let log = home.plain().await;
    let waiting = log.wait_for(2, Duration::from_secs(5));
    let writing = log.execute::<Account>("a", Ask::Deposit(vec![1, 2]), context(1));
    let (waited, written) = futures_util::future::join(waiting, writing).await;
    waited.unwrap();
    assert_eq!(*log.head().borrow(), written.unwrap().position);
    let behind = log.wait_for(3, Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(behind, Error::Behind { wanted: 3, head: 2 }));
    assert_eq!(behind.problem().status, 503);
}

async fn a_new_view_is_fed_with_the_history_and_one_that_was_away_catches_up(home: Home) {
    for (life, views) in [false, true, false, true].into_iter().enumerate() {
        let log = if views { home.viewed().await } else { home.plain().await };
        if views {
            assert_eq!(balances(&log).await, [("a".to_owned(), life as i64)]);
        }
        log.execute::<Account>("a", Ask::Deposit(vec![1]), context(life as u128)).await.unwrap();
        log.close().await;
    }
}

async fn the_source_outlives_a_restart_and_another_service_is_refused(home: Home) {
    let log = home.plain().await;
    let source = log.source().to_owned();
    assert!(source.starts_with("accounts@"));
    log.close().await;
    let mut other = home.options(clock(), Vec::new());
    other.service = "runs";
    assert!(matches!(EventLog::open(other).await, Err(Error::OtherService { .. })));
    let mut edited = home.options(clock(), Vec::new());
    edited.migrations = &[("notes", "CREATE TABLE notes(id INTEGER PRIMARY KEY)")];
    assert!(matches!(EventLog::open(edited).await, Err(Error::MigrationEdited { .. })));
    assert_eq!(home.plain().await.source(), source);
}

async fn a_log_of_a_newer_build_is_refused_and_left_as_it_is(home: Home) {
    // Its tables are not what this build believes: whatever it wrote would be wrong.
    const NEWER: &[(&str, &str)] =
        &[MIGRATIONS[0], MIGRATIONS[1], MIGRATIONS[2], ("zz_newer", "CREATE TABLE newer(id INTEGER PRIMARY KEY)")];
    let newer = || Options { migrations: NEWER, ..home.options(clock(), vec![Arc::new(Balances)]) };
    assert_eq!(home.viewed().await.close().await, ());
    assert_eq!(home.store().lacking(NEWER).await.unwrap(), ["zz_newer"]);
    let migrated = migrate(newer()).await.unwrap();
    assert_eq!((migrated.migrations, migrated.views), (vec!["zz_newer"], Vec::new()));
    assert_eq!(migrate(newer()).await.unwrap(), Migrated::default());
    // It would apply one of its own, too.
    const OTHER: &[(&str, &str)] = &[MIGRATIONS[0], MIGRATIONS[1], MIGRATIONS[2], ("own", "CREATE TABLE own(a TEXT)")];
    let is_newer = |error: &Error| matches!(error, Error::Newer { name } if name == "zz_newer");
    for older in [MIGRATIONS, OTHER] {
        let older = Options { migrations: older, ..home.options(clock(), vec![Arc::new(Balances)]) };
        let refused = EventLog::open(older).await.map(drop).unwrap_err();
        assert!(is_newer(&refused), "{refused}");
        assert!(!refused.problem().passes_by_itself(), "{refused}");
    }
    let refused = home.store().lacking(MIGRATIONS).await.unwrap_err();
    assert!(is_newer(&refused), "{refused}");
    assert_eq!(home.store().lacking(NEWER).await.unwrap(), [""; 0]);
    let reader = home.store().reader().await.unwrap();
    assert!(!reader.has_table("own").await.unwrap());
    reader.close().await;
    assert_eq!(EventLog::open(newer()).await.unwrap().close().await, ());
}

async fn recorded_at_does_not_follow_a_clock_that_goes_back(home: Home) {
    // L13.
    let clock: Arc<ManualClock> = clock();
    let mut times = Vec::new();
    for (life, step) in [10_i64, -3_600_000_000, 5].into_iter().enumerate() {
        let log = EventLog::open(home.options(clock.clone(), Vec::new())).await.unwrap();
        clock.advance_us(step);
        log.execute::<Account>("a", Ask::Deposit(vec![1]), context(life as u128)).await.unwrap();
        times = everything(&log).await.iter().map(|event| event.recorded_at_us).collect();
        log.close().await;
    }
    assert_eq!(times, [START + 10, START + 10, START + 10]);
}

#[tokio::test]
async fn a_closed_log_refuses_and_what_was_queued_before_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let log = plain(folder.path()).await;
    let queued = join_all((0..50).map(|id| log.execute::<Account>("a", Ask::Deposit(vec![1]), context(id + 1))));
    let (queued, ()) = futures_util::future::join(queued, log.clone().close()).await;
    assert!(queued.iter().all(Result::is_ok));
    let late = log.execute::<Account>("a", Ask::Deposit(vec![1]), context(100)).await.unwrap_err();
    assert!(matches!(late, ExecuteError::Storage(Error::Closed)));
    assert_eq!(late.into_problem(|_| unreachable!()).code, "LogUnavailable");
    assert!(!folder.path().join("accounts.db-wal").exists(), "the WAL is written back");
}
