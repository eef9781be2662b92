//! Random histories against the model: invariants L1 to L8 and L13.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::{BoxFuture, join_all};
use proptest::prelude::*;
use trialog_eventlog::{Committed, Context, EventLog, ExecuteError, RecordError, Recorded, Transaction, sql};
use uuid::Uuid;
use vocabulary::{Decider, ManualClock};

use crate::account::*;
use crate::model::{Expected, Model, Wish, assert_well_formed, seen};
use crate::on_every_store;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Asked all at once, so that they share batches; decided in this order.
    Together(Vec<Wish>),
    Reopen {
        cleanly: bool,
    },
    /// Of this stream, if it is in memory.
    Snapshot(u8),
    MoveClock(i64),
    MoveCursor(i64),
    Tail(u32),
}

fn ask() -> impl Strategy<Value = Ask> {
    let amount = prop_oneof![20 => 1..50_i64, 1 => Just(REFUSED_BY_THE_TABLE), 1 => Just(PANICS_IN_THE_VIEW)];
    prop_oneof![
        6 => prop::collection::vec(amount, 0..4).prop_map(Ask::Deposit),
        3 => (1..80_i64).prop_map(Ask::Withdraw),
        1 => Just(Ask::Panic),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    let reply = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 1..4)];
    let expected = prop::option::weighted(0.3, 0..6_i64);
    let hash = prop::option::of(0..2_u8);
    (0..4_u8, 0..60_u8, hash, expected, ask(), reply, prop::bool::weighted(0.2)).prop_map(
        |(stream, id, hash, expected, ask, reply, noted)| Wish { stream, id, hash, expected, ask, reply, noted },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(wish(), 1..50).prop_map(Step::Together),
        2 => any::<bool>().prop_map(|cleanly| Step::Reopen { cleanly }),
        1 => (-1_000_000..1_000_000_i64).prop_map(Step::MoveClock),
        2 => (0..20_i64).prop_map(Step::MoveCursor),
        2 => (1..9_u32).prop_map(Step::Tail),
        3 => (0..4_u8).prop_map(Step::Snapshot),
    ]
}

fn submit(log: &EventLog, wish: &Wish) -> BoxFuture<'static, Result<Committed, ExecuteError<TooLittle>>> {
    let (log, wish) = (log.clone(), wish.clone());
    let context = Context {
        request_hash: wish.hash.map(|byte| [byte; 32]),
        expected_version: wish.expected,
        reply: wish.reply.clone(),
        ..Context::new(Uuid::from_u128(u128::from(wish.id) + 1), "tester", "request")
    };
    let stream = wish.stream_name();
    if !wish.noted {
        return Box::pin(async move { log.execute::<Account>(&stream, wish.ask, context).await });
    }
    let ask = wish.ask;
    Box::pin(async move {
        log.record::<Account, _>(&stream, None, context, move |state, tx| record(state.clone(), ask.clone(), tx)).await
    })
}

/// Leaves a note first, so that a refusal has something to undo.
fn record(
    state: Account,
    ask: Ask,
    tx: &mut Transaction,
) -> BoxFuture<'_, Result<Recorded<AccountEvent>, RecordError<TooLittle>>> {
    Box::pin(async move {
        sql("INSERT INTO notes(text) VALUES ('note')").execute(tx).await?;
        let events = state.decide(&ask).map_err(RecordError::Rejected)?;
        Ok(Recorded { events, reply: Vec::new() })
    })
}

struct Tail {
    after: i64,
    seen: Vec<(i64, String)>,
}

impl Tail {
    async fn read(&mut self, log: &EventLog, limit: u32) {
        let page = log.read(self.after, limit).await.unwrap();
        assert!(page.len() <= limit as usize);
        self.after = page.last().map_or(self.after, |event| event.position);
        self.seen.extend(page.into_iter().map(|event| (event.position, event.data)));
    }
}

async fn open(home: &Home, clock: &Arc<ManualClock>, with_view: bool) -> EventLog {
    if !home.has_tables() {
        return EventLog::open(home.options(clock.clone(), Vec::new())).await.unwrap();
    }
    // Some batches are wanted by one view, some by none: those go another way.
    let mut views: Vec<Arc<dyn trialog_eventlog::View>> = vec![Arc::new(Withdrawals)];
    if with_view {
        views.push(Arc::new(Balances));
    }
    EventLog::open(home.options(clock.clone(), views)).await.unwrap()
}

async fn live(home: Home, mut steps: Vec<Step>, with_view: bool) {
    if !home.has_tables() {
        for step in &mut steps {
            if let Step::Together(wishes) = step {
                wishes.iter_mut().for_each(|wish| wish.noted = false);
            }
        }
    }
    let clock = clock();
    let mut log = open(&home, &clock, with_view).await;
    let (mut model, mut tail) = (Model::default(), Tail { after: 0, seen: Vec::new() });
    let mut results: HashMap<u8, Committed> = HashMap::new();
    for step in steps {
        match step {
            Step::Together(wishes) => {
                let answers = join_all(wishes.iter().map(|wish| submit(&log, wish))).await;
                for (wish, answer) in wishes.iter().zip(answers) {
                    let (expected, answer) = (model.take(wish, with_view), seen(answer));
                    assert_eq!(answer, expected, "the answer to {wish:?}");
                    if let Expected::Committed(committed) = answer {
                        one_result(&mut results, wish, committed);
                    }
                }
            }
            Step::Reopen { cleanly: true } => {
                log.close().await;
                log = open(&home, &clock, with_view).await;
            }
            Step::Reopen { cleanly: false } => {
                // The old writer may still be there when the new one begins.
                drop(log);
                log = open(&home, &clock, with_view).await;
            }
            Step::Snapshot(stream) => drop(log.snapshot(&format!("account-{stream}")).await.unwrap()),
            Step::MoveClock(by_us) => clock.advance_us(by_us),
            Step::MoveCursor(position) => {
                log.move_cursor("p", "s@1", position).await.unwrap();
                model.cursor = model.cursor.max(position);
            }
            Step::Tail(limit) => tail.read(&log, limit).await,
        }
        assert_eq!(log.cursor("p", "s@1").await.unwrap(), model.cursor, "L9: the cursor");
    }
    assert_same(&log, &home, &model, &mut tail, with_view).await;
    let remembered = everything(&log).await;
    log.close().await;
    let log = open(&home, &clock, with_view).await;
    assert_eq!(everything(&log).await, remembered, "what was read from memory is what is stored");
    // Nothing is in memory now: these are snapshots, where there are some, with the events after them.
    assert_folds(&log, &model, "snapshot and tail are the fold").await;
    if home.has_tables() {
        let taken = remembered.iter().filter(|event| event.kind == "Withdrawn").map(|event| event.position);
        assert_eq!(withdrawals(&log).await, taken.collect::<Vec<_>>(), "L8: a view has all that it wants");
        without_snapshots(&log).await;
        log.close().await;
        let log = open(&home, &clock, with_view).await;
        assert_folds(&log, &model, "without snapshots it is the same").await;
    }
}

async fn assert_folds(log: &EventLog, model: &Model, why: &str) {
    for (stream, (account, version)) in &model.accounts {
        let found = log.inspect::<Account, _>(stream, |state, version| (state.clone(), version)).await.unwrap();
        assert_eq!(found, (account.clone(), *version), "{why}");
    }
}

async fn without_snapshots(log: &EventLog) {
    let done = log.record::<Account, _>("none", None, Context::new(Uuid::from_u128(u128::MAX), "", ""), |_, tx| {
        Box::pin(async move {
            sql("DELETE FROM snapshots").execute(tx).await?;
            Ok(Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    done.await.unwrap();
}

/// L6.
fn one_result(results: &mut HashMap<u8, Committed>, wish: &Wish, committed: Committed) {
    let first = Committed { repeated: false, ..committed.clone() };
    match results.get(&wish.id) {
        Some(known) if committed.repeated => assert_eq!(known, &first, "L6: one result per command id"),
        Some(_) | None => drop(results.insert(wish.id, first)),
    }
}

async fn assert_same(log: &EventLog, home: &Home, model: &Model, tail: &mut Tail, with_view: bool) {
    let events = everything(log).await;
    assert_well_formed(&events);
    let stored: Vec<_> = events
        .iter()
        .map(|event| {
            let id = u8::try_from(event.command_id.as_u128() - 1).unwrap();
            (event.stream.clone(), event.version, event.decode::<AccountEvent>().unwrap(), id)
        })
        .collect();
    assert_eq!(stored, model.events, "L1: stored is what was acknowledged");
    while tail.after < events.len() as i64 {
        tail.read(log, 5).await;
    }
    let table: Vec<_> = events.iter().map(|event| (event.position, event.data.clone())).collect();
    assert_eq!(tail.seen, table, "L7: the feed is the table, in order");
    assert_eq!(*log.head().borrow(), events.len() as i64, "L2: the head is the last position");
    assert_folds(log, model, "L3: the state is the fold of the stream").await;
    for (stream, (_, version)) in &model.accounts {
        assert_eq!(log.read_stream(stream, 0, 10_000).await.unwrap().len() as i64, *version);
    }
    if !home.has_tables() {
        return;
    }
    if with_view {
        let expected: Vec<_> =
            model.accounts.iter().map(|(stream, (account, _))| (stream.clone(), account.balance)).collect();
        assert_eq!(balances(log).await, expected, "L8: the view is the model's fold");
    }
    let notes: i64 = sql("SELECT count(*) FROM notes").fetch_one(log.reader()).await.unwrap();
    assert_eq!(notes, model.notes, "rows and events are one");
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 300, ..testkit::properties(48) })]

    #[test]
    fn l1_to_l8_and_l13_hold_after_every_random_history(
        steps in prop::collection::vec(step(), 1..14),
        with_view in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(Home::sqlite().unwrap(), steps.clone(), with_view));
        runtime.block_on(live(Home::memory().unwrap(), steps, false));
    }
}

// Fewer, since tables are made anew for each history, which takes longer than the history.
#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 30, ..testkit::properties(12) })]

    #[test]
    fn l1_to_l8_and_l13_hold_on_a_server_too(
        steps in prop::collection::vec(step(), 1..14),
        with_view in any::<bool>(),
    ) {
        let Some(home) = Home::postgres() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(live(home, steps, with_view));
    }
}

/// What one of many concurrent clients was told.
type Told = (String, i64, Committed);

on_every_store! {
        ;
    l1_l2_l3_l5_hold_for_concurrent_clients,
}

async fn l1_l2_l3_l5_hold_for_concurrent_clients(home: Home) {
    let log = home.viewed().await;
    let clients: Vec<_> = (0..16_u128).map(|client| tokio::spawn(race(log.clone(), client))).collect();
    let mut told: Vec<Told> = Vec::new();
    for client in clients {
        told.extend(client.await.unwrap());
    }
    let events = everything(&log).await;
    assert_well_formed(&events);
    let winners: HashSet<_> = told.iter().map(|(stream, expected, _)| (stream, expected)).collect();
    assert_eq!(winners.len(), told.len(), "L5: one winner per stream and expected version");
    for (stream, expected, committed) in &told {
        let stored = &events[committed.position as usize - 1];
        assert_eq!((&stored.stream, stored.version), (stream, expected + 1), "L1: acknowledged is stored");
    }
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    events.iter().for_each(|event| *sums.entry(event.stream.clone()).or_default() += 1);
    assert_eq!(balances(&log).await, sums.into_iter().collect::<Vec<_>>(), "L8: the view is the fold");
}

/// Appends with the version that it has seen last, as a client with an ETag does.
async fn race(log: EventLog, client: u128) -> Vec<Told> {
    let mut won = Vec::new();
    for round in 0..60_u128 {
        let stream = format!("shared-{}", round % 3);
        let seen = log.inspect::<Account, _>(&stream, |_, version| version).await.unwrap();
        let wanted = Context { expected_version: Some(seen), ..context(client << 64 | (round + 1)) };
        match log.execute::<Account>(&stream, Ask::Deposit(vec![1]), wanted).await {
            Ok(committed) => won.push((stream, seen, committed)),
            Err(ExecuteError::WrongVersion { actual, .. }) => assert!(actual > seen),
            Err(other) => panic!("{other}"),
        }
    }
    won
}
