//! Handles facts: each lane in order, all beside each other. A lane that has to wait holds up nobody else.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contracts::feed::Fact;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use runtime::{Backoff, Shutdown, Stopwatch};

use super::reaction::{ReactError, Reaction};

/// Facts under way, handled or queued behind their lane: beyond it nothing more is taken in.
const FACTS_MAX: usize = 512;
/// Waits between tries.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Tries of a fact that does not go through, before its lane is parked.
const POISON_TRIES: u32 = 3;
/// Facts of one lane that are kept in memory while its first does not go through for now: with more of them its lane
/// is parked, as one that waits, so that the others have room.
const BEHIND_MAX: usize = 32;
/// Tries of a fact that does not go through for now, before its lane is parked for the room that it takes.
const TRANSIENT_TRIES: u32 = 6;
/// How long a fact may wait in memory for what it refers to, before its lane is parked.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a lane is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its first fact does not go through: somebody has to settle it.
    Poison,
    /// What its first fact refers to is not there: tried again by itself.
    Waiting,
}

impl Cause {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poison => "poison",
            Self::Waiting => "waiting",
        }
    }

    /// Reads a name. Nothing is said of a fact that only waited behind its lane's first: when it has become the first,
    /// since the handling of its lane broke off, it is tried by itself. What an unknown build wrote is for a person to
    /// settle.
    pub fn read(name: &str) -> Self {
        if name.is_empty() || name == Self::Waiting.name() { Self::Waiting } else { Self::Poison }
    }
}

/// What became of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is handled, or passed over.
    Done,
    /// Its lane has to be parked, and why.
    Park(Cause, String),
    /// The process ends; nothing is known.
    Stopped,
}

/// The lanes that have something to do.
pub(super) struct Lanes {
    reaction: Arc<dyn Reaction>,
    shutdown: Shutdown,
    /// A lane is here while one of its facts is being handled, with those that come after it.
    queues: HashMap<String, Queue>,
    running: FuturesUnordered<BoxFuture<'static, Handled>>,
    facts: usize,
}

/// What comes after the fact of a lane that is being handled.
#[derive(Default)]
struct Queue {
    facts: VecDeque<Arc<Fact>>,
    /// How many they are, for who handles.
    behind: Behind,
}

/// How many facts wait behind the one that is being handled.
#[derive(Clone, Default)]
pub(super) struct Behind(Arc<AtomicUsize>);

impl Behind {
    fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    fn are_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= BEHIND_MAX
    }
}

/// A fact that was handled, one way or the other.
pub(super) struct Handled {
    pub lane: String,
    pub fact: Arc<Fact>,
    pub outcome: Outcome,
}

impl Lanes {
    pub fn new(reaction: Arc<dyn Reaction>, shutdown: Shutdown) -> Self {
        Self { reaction, shutdown, queues: HashMap::new(), running: FuturesUnordered::new(), facts: 0 }
    }

    /// Whether a chunk more can be taken in.
    pub fn has_room(&self) -> bool {
        self.facts + super::pace::CHUNK_FACTS <= FACTS_MAX
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Takes a fact in: handled at once when nothing of its lane is under way, else behind it.
    pub fn push(&mut self, lane: String, fact: Arc<Fact>) {
        self.facts += 1;
        if let Some(queue) = self.queues.get_mut(&lane) {
            queue.facts.push_back(fact);
            queue.behind.set(queue.facts.len());
            return;
        }
        let queue = Queue::default();
        let behind = queue.behind.clone();
        self.queues.insert(lane.clone(), queue);
        self.start(lane, fact, behind);
    }

    fn start(&self, lane: String, fact: Arc<Fact>, behind: Behind) {
        let (reaction, shutdown) = (Arc::clone(&self.reaction), self.shutdown.clone());
        self.running.push(Box::pin(async move {
            let outcome = handle(reaction.as_ref(), &fact, &behind, &shutdown).await;
            Handled { lane, fact, outcome }
        }));
    }

    /// The next fact that was handled; never while nothing is under way. A lane whose fact is done goes on by itself;
    /// one that is to be parked stays still until it is taken.
    pub async fn next(&mut self) -> Handled {
        let Some(handled) = self.running.next().await else { return std::future::pending().await };
        self.facts -= 1;
        if handled.outcome == Outcome::Done {
            let next = self.queues.get_mut(&handled.lane).and_then(|queue| {
                let fact = queue.facts.pop_front()?;
                queue.behind.set(queue.facts.len());
                Some((fact, queue.behind.clone()))
            });
            match next {
                Some((fact, behind)) => self.start(handled.lane.clone(), fact, behind),
                None => drop(self.queues.remove(&handled.lane)),
            }
        }
        handled
    }

    /// What queues in a lane that is parked.
    pub fn take(&mut self, lane: &str) -> Vec<Arc<Fact>> {
        let queue = self.queues.remove(lane).unwrap_or_default().facts;
        self.facts -= queue.len();
        queue.into()
    }
}

/// Handles a fact until it is clear what becomes of it.
pub(super) async fn handle(reaction: &dyn Reaction, fact: &Fact, behind: &Behind, shutdown: &Shutdown) -> Outcome {
    if !fact.unreadable.is_empty() {
        return Outcome::Park(Cause::Poison, fact.unreadable.clone());
    }
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut poisoned = 0;
    let watch = Stopwatch::start();
    loop {
        let error = match AssertUnwindSafe(reaction.handle(fact)).catch_unwind().await {
            Ok(Ok(())) => return Outcome::Done,
            Ok(Err(error)) => error,
            Err(panic) => ReactError::Poison(format!("it panicked: {}", panic_text(panic.as_ref()))),
        };
        match &error {
            ReactError::Unknown(what) => {
                tracing::warn!(
                    reaction = reaction.name(),
                    position = fact.position,
                    kind = fact.r#type,
                    "skipped: {what}"
                );
                metrics::counter!("trialog_feed_skipped_total", "consumer" => reaction.name()).increment(1);
                return Outcome::Done;
            }
            ReactError::Poison(reason) => {
                poisoned += 1;
                if poisoned >= POISON_TRIES {
                    return Outcome::Park(Cause::Poison, reason.clone());
                }
            }
            ReactError::Waits(reason) if watch.elapsed() >= PATIENCE => {
                return Outcome::Park(Cause::Waiting, reason.clone());
            }
            ReactError::Waits(_) => {}
            ReactError::Transient(reason) => {
                tracing::warn!(reaction = reaction.name(), position = fact.position, "{error}");
                if behind.are_many() && backoff.failures() >= TRANSIENT_TRIES {
                    return Outcome::Park(Cause::Waiting, reason.clone());
                }
            }
        }
        if !backoff.wait_unless(shutdown).await {
            return Outcome::Stopped;
        }
    }
}

/// The message of a panic, when it has one.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
