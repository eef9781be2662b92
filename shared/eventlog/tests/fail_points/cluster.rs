//! Two replicas of a log, clients that ask whichever answers, and a link that is held until the lease is over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use testkit::history::{
    Batch, BatchCall, CONFIGURATIONS_MAX, Completion, Recorder, Register, RegisterAnswer, RegisterCall, check,
    check_batches,
};
use testkit::{Link, Proxy, Random, await_that_async, new_schema, postgres};
use tokio::sync::watch;
use tokio::time::Instant;
use trialog_eventlog::{Context, Error, EventLog, ExecuteError, Holder, Options, Store};
use uuid::Uuid;
use vocabulary::{Clock, Decider, SeededEntropy, stored_events};

use super::points;

const CLIENTS: usize = 6;
/// Streams, each with so many operations at most.
const STREAMS: usize = 12;
const OPERATIONS_MAX: usize = 150;
/// How long a link is held: longer than a lease.
const HELD: Duration = Duration::from_millis(4_500);
/// Writes that a history has: enough for each fault to strike several times.
const WRITES: u64 = 200;
const WRITES_PATIENCE: Duration = Duration::from_secs(120);
/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_millis(250);
/// Between two tries to open the log.
const OPEN_EVERY: Duration = Duration::from_millis(50);
/// How long a batch may take to be acknowledged: a link is held for less.
const BATCH_PATIENCE: Duration = Duration::from_secs(60);
/// Between two of the faults.
const CALM: Duration = Duration::from_millis(1_500);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Written {
    value: u64,
}

stored_events! {
    /// What happens to a register.
    pub enum CellEvent { Written: 1 }
}

#[derive(Clone, Debug, Default)]
pub struct Cell {
    value: u64,
}

impl Decider for Cell {
    type Command = u64;
    type Event = CellEvent;
    type Rejection = ();

    fn decide(&self, value: &u64) -> Result<Vec<CellEvent>, ()> {
        Ok(vec![Written { value: *value }.into()])
    }

    fn evolve(&mut self, CellEvent::Written(event): &CellEvent) {
        self.value = event.value;
    }
}

/// The machine's own time, as a server has it.
struct Passing(Instant);

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + self.0.elapsed()
    }
}

/// A process that would be: it opens the log whenever it may, again after its end.
struct Replica {
    name: &'static str,
    proxy: Proxy,
    log: watch::Sender<Option<EventLog>>,
}

impl Replica {
    fn log(&self) -> Option<EventLog> {
        self.log.borrow().clone()
    }

    async fn live(&self, schema: &str, clock: Arc<dyn Clock>) {
        let url = format!("postgres://trialog@127.0.0.1:{}/trialog?sslmode=disable", self.proxy.port());
        loop {
            let name = self.name.to_owned();
            let holder = Holder { address: format!("http://{name}:7000"), name, keeps_files_of: &[] };
            let options = Options {
                service: "cells",
                store: Store::postgres(&url, schema).unwrap().held_by(holder),
                migrations: points::MIGRATIONS,
                views: Vec::new(),
                clock: Arc::clone(&clock),
                entropy: Arc::new(SeededEntropy::new(7)),
            };
            if let Ok(log) = EventLog::open(options).await {
                self.log.send_replace(Some(log.clone()));
                // Why it ended is of no interest: a process that is started again does not know either.
                drop(log.ended().await);
                self.log.send_replace(None);
            }
            // Nobody tells when a lease is over, or a link carries again.
            tokio::time::sleep(OPEN_EVERY).await;
        }
    }
}

#[derive(Default)]
struct Books {
    cells: Recorder<RegisterCall, RegisterAnswer>,
    batches: Recorder<BatchCall, Vec<Batch>>,
    values: AtomicU64,
}

/// A client: it asks whichever replica has the log open, as a caller that names both does.
struct Client {
    who: usize,
    random: Random,
    replicas: Arc<[Replica]>,
    books: Arc<Books>,
    sequence: u64,
}

impl Client {
    /// The log of a replica that has it open, once one has.
    async fn log(&mut self) -> EventLog {
        let mut seen: Vec<_> = self.replicas.iter().map(|replica| replica.log.subscribe()).collect();
        loop {
            let logs: Vec<EventLog> = seen.iter_mut().filter_map(|log| log.borrow_and_update().clone()).collect();
            if let Some(log) = self.random.pick(&logs) {
                return log.clone();
            }
            let changes = seen.iter_mut().map(|log| Box::pin(log.changed()));
            drop(futures_util::future::select_all(changes).await);
        }
    }

    async fn work(mut self, done: Arc<AtomicBool>) {
        while !done.load(Ordering::SeqCst) {
            let stream = format!("cell-{}", self.random.below(STREAMS as u64));
            let log = self.log().await;
            match self.random.below(6) {
                0 | 1 => drop(self.read(&log, &stream).await),
                2 => self.write(&log, &stream, None).await,
                3 => self.put_batch(&log).await,
                4 => self.list_batches(&log).await,
                _ => {
                    if let Some(seen) = self.read(&log, &stream).await {
                        self.write(&log, &stream, Some(seen)).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(self.random.below(40))).await;
        }
    }

    /// What is read is sent only while the log is held, before and after, as a server does.
    async fn read(&self, log: &EventLog, stream: &str) -> Option<u64> {
        if self.books.cells.count(stream) >= OPERATIONS_MAX {
            return None;
        }
        let invocation = self.books.cells.invoke(self.who, stream, RegisterCall::Read);
        log.assert_current().ok()?;
        let looked = soon(log.inspect::<Cell, _>(stream, |cell, version| (cell.value, version))).await;
        let (value, version) = looked?.ok()?;
        log.assert_current().ok()?;
        let version = u64::try_from(version).unwrap();
        self.books.cells.complete(invocation, Completion::Answered(RegisterAnswer::Found { version, value }));
        Some(version)
    }

    async fn write(&self, log: &EventLog, stream: &str, expected: Option<u64>) {
        let books = &self.books;
        if books.cells.count(stream) >= OPERATIONS_MAX {
            return;
        }
        let value = books.values.fetch_add(1, Ordering::SeqCst) + 1;
        let invocation = books.cells.invoke(self.who, stream, RegisterCall::Write { value, expected });
        let expected_version = expected.map(|version| i64::try_from(version).unwrap());
        let id = Uuid::from_u64_pair(self.who as u64 + 1, value);
        let context = Context { expected_version, ..Context::new(id, "client", "request") };
        // Nobody knows what became of one that was not answered in time.
        let Some(executed) = soon(log.execute::<Cell>(stream, value, context)).await else { return };
        let completion = match executed {
            Ok(committed) => {
                let version = u64::try_from(committed.version).ok();
                Completion::Answered(RegisterAnswer::Written { version })
            }
            Err(ExecuteError::WrongVersion { .. }) => Completion::Answered(RegisterAnswer::Conflict),
            Err(ExecuteError::Overloaded) => Completion::Failed,
            Err(_) => return,
        };
        books.cells.complete(invocation, completion);
    }

    /// The sequence goes on with what was acknowledged only: one of unknown outcome is sent again.
    async fn put_batch(&mut self, log: &EventLog) {
        let batch = Batch { writer: self.who, sequence: self.sequence + 1 };
        let invocation = self.books.batches.invoke(self.who, points::KEY, BatchCall::Write(batch));
        let taken = async {
            let mut log = log.clone();
            while !matches!(soon(points::put(&log, batch)).await, Some(Ok(()))) {
                // One that refuses has ended, as a rule, or does so now; then there is another one.
                soon(log.ended()).await;
                log = self.log().await;
            }
        };
        tokio::time::timeout(BATCH_PATIENCE, taken).await.unwrap_or_else(|_| panic!("{batch:?} is not taken"));
        self.sequence += 1;
        self.books.batches.complete(invocation, Completion::Answered(Vec::new()));
    }

    async fn list_batches(&self, log: &EventLog) {
        let invocation = self.books.batches.invoke(self.who, points::KEY, BatchCall::Read);
        let found = async {
            log.assert_current()?;
            let found = points::list(log).await?;
            log.assert_current().map(|()| found)
        };
        let found: Option<Result<Vec<Batch>, Error>> = soon(found).await;
        if let Some(Ok(found)) = found {
            self.books.batches.complete(invocation, Completion::Answered(found));
        }
    }
}

/// What comes in time: who waits longer for one that is cut off does not see what it answers afterwards.
async fn soon<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(ANSWER_MAX, answer).await.ok()
}

/// Twice the one that writes cannot reach the database for longer than its lease, and the other one takes over.
async fn hold_links(replicas: &[Replica]) {
    for _ in 0..2 {
        tokio::time::sleep(CALM).await;
        if let Some(holder) = replicas.iter().find(|replica| replica.log().is_some()) {
            eprintln!("the link of {} is held", holder.name);
            holder.proxy.set(Link::Still);
            tokio::time::sleep(HELD).await;
            holder.proxy.set(Link::Through);
        }
    }
    tokio::time::sleep(CALM).await;
}

/// One history, and its check.
///
/// # Panics
/// When it is rejected.
pub async fn run() {
    let Some(url) = postgres() else { return };
    let (_, folder) = url.split_once("host=").expect("the server of tests has a socket");
    let socket = Path::new(folder).join(".s.PGSQL.5432");
    let replica = |name| Replica { name, proxy: Proxy::to_socket(&socket), log: watch::Sender::new(None) };
    let replicas: Arc<[Replica]> = ["a", "b"].map(replica).into();
    let (schema, clock): (_, Arc<dyn Clock>) = (new_schema(), Arc::new(Passing(Instant::now())));
    let mut lives = tokio::task::JoinSet::new();
    for place in 0..replicas.len() {
        let (replicas, schema, clock) = (Arc::clone(&replicas), schema.clone(), Arc::clone(&clock));
        lives.spawn(async move { replicas[place].live(&schema, clock).await });
    }
    let books = Arc::new(Books::default());
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for who in 0..CLIENTS {
        let (replicas, books) = (Arc::clone(&replicas), Arc::clone(&books));
        let random = Random::new(who as u64 + 1);
        clients.spawn(Client { who, random, replicas, books, sequence: 0 }.work(Arc::clone(&done)));
    }
    hold_links(&replicas).await;
    // A slow machine takes longer to see as much.
    await_that_async(WRITES_PATIENCE, async || match books.values.load(Ordering::SeqCst) {
        WRITES.. => Ok(()),
        few => Err(format!("only {few} writes")),
    })
    .await;
    done.store(true, Ordering::SeqCst);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    lives.shutdown().await;
    let books = Arc::into_inner(books).expect("the clients have ended");
    let cells = books.cells.operations();
    let checked = check(&Register::default(), &cells, CONFIGURATIONS_MAX);
    let batches = check_batches(&books.batches.operations());
    println!("registers: {checked:?}\nbatches: {batches:?}");
    checked.unwrap_or_else(|fault| panic!("registers: {fault}"));
    batches.unwrap_or_else(|fault| panic!("batches: {fault}"));
}
