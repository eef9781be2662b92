//! Follows another service's facts: at least once, in order per stream, with a cursor in the follower's own log.
//!
//! The effect of a fact is a command whose id is made of (source, position, reaction), so that a second delivery
//! changes nothing: the
//! cursor may lag behind the effects, never run ahead of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::Peer;
use contracts::feed::feed_service_client::FeedServiceClient;
use contracts::feed::{Fact, ReadRequest};
use eventlog::EventLog;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use runtime::{Backoff, Shutdown};
use tokio::time::Interval;
use tonic::Status;

/// Facts handled between two moves of the cursor.
const CHUNK_FACTS: usize = 256;
/// The cursor is moved so long after the first fact that it lags behind: at once would be one more commit for each
/// fact, and after a crash what is seen again changes nothing.
const CURSOR_EVERY: Duration = Duration::from_millis(200);
/// Facts after which the cursor is moved in any case, so that little is seen again.
const CURSOR_FACTS: usize = 1024;
/// So long facts that can wait are gathered: their effects share a commit, and stay out of the way of the calls that
/// made them.
const GATHER: Duration = Duration::from_millis(100);
/// Lanes handled at the same time: all of a chunk, so that it needs few of the writer's batches.
const LANES_AT_ONCE: usize = CHUNK_FACTS;
/// Waits between tries when the follower's own log is overloaded or unavailable.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Why a fact could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum ReactError {
    /// May go through later: tried again without end, with growing waits.
    #[error("for now: {0}")]
    Transient(String),
    /// Will never go through: the reaction halts there and says so; nothing is skipped.
    #[error("for good: {0}")]
    Poison(String),
}

impl From<vocabulary::Problem> for ReactError {
    fn from(problem: vocabulary::Problem) -> Self {
        if problem.status == 429 || problem.status >= 500 {
            Self::Transient(problem.to_string())
        } else {
            Self::Poison(problem.to_string())
        }
    }
}

/// One story: a fact comes in, commands go out. Idempotent by construction.
pub trait Reaction: Send + Sync + 'static {
    /// The name of its cursor, e.g. `create_runs`.
    fn name(&self) -> &'static str;
    /// The service whose facts it follows.
    fn service(&self) -> &'static str;
    /// What the fact belongs to: facts of one lane come one after another, in order, and lanes beside each other.
    fn lane(&self, fact: &Fact) -> String {
        fact.stream.clone()
    }
    /// Whether nobody waits for the fact's effect: it is then handled up to [`GATHER`] later, together with others.
    fn can_wait(&self, _: &Fact) -> bool {
        false
    }
    /// Does what the fact calls for.
    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>>;
}

/// Follows until shutdown.
///
/// # Errors
/// When the feed breaks off or a fact is poison; the caller begins again (from the cursor).
pub async fn follow(peer: Peer, log: EventLog, reaction: Arc<dyn Reaction>, shutdown: Shutdown) -> anyhow::Result<()> {
    let service = reaction.service();
    let from = log.cursor(reaction.name(), service).await?;
    let mut client = FeedServiceClient::new(peer).max_decoding_message_size(contracts::peer::MESSAGE_BYTES_MAX);
    let request = ReadRequest { service: service.to_owned(), from, ..ReadRequest::default() };
    let opened = tokio::select! { opened = client.read(request) => opened, () = shutdown.requested() => return Ok(()) };
    let mut chunks = opened
        .map_err(|status| anyhow::anyhow!("feed of {service}: {}", status.message()))?
        .into_inner()
        .ready_chunks(CHUNK_FACTS);
    let mut cursor = Cursor::at(from);
    loop {
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = cursor.is_due() => {
                cursor.save(&log, reaction.as_ref()).await?;
                continue;
            }
            () = shutdown.requested() => return cursor.save(&log, reaction.as_ref()).await,
        };
        let Some(chunk) = chunk else { anyhow::bail!("the feed of {service} ended") };
        let chunk = gather(reaction.as_ref(), chunk, &mut chunks, &shutdown).await;
        let facts = chunk.len();
        let mut lanes: BTreeMap<String, Vec<Fact>> = BTreeMap::new();
        let mut last = cursor.seen;
        let mut broken = None;
        for item in chunk {
            match item {
                // A position that was seen before is a re-send.
                Ok(fact) if fact.position <= cursor.seen => {}
                Ok(fact) => {
                    last = last.max(fact.position);
                    if !fact.watermark {
                        lanes.entry(reaction.lane(&fact)).or_default().push(fact);
                    }
                }
                Err(status) => {
                    broken = Some(status);
                    break;
                }
            }
        }
        stream::iter(lanes.into_values().map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(LANES_AT_ONCE, |facts| handle_all(Arc::clone(&reaction), facts, shutdown.clone()))
            .await?;
        if shutdown.is_requested() {
            return cursor.save(&log, reaction.as_ref()).await;
        }
        cursor.reach(last, facts);
        if cursor.facts >= CURSOR_FACTS || broken.is_some() {
            cursor.save(&log, reaction.as_ref()).await?;
        }
        if let Some(status) = broken {
            anyhow::bail!("feed of {service}: {}", status.message());
        }
    }
}

/// Adds what comes within [`GATHER`], as long as nothing of it is urgent.
async fn gather(
    reaction: &dyn Reaction,
    mut chunk: Vec<Result<Fact, Status>>,
    more: &mut (impl Stream<Item = Vec<Result<Fact, Status>>> + Unpin),
    shutdown: &Shutdown,
) -> Vec<Result<Fact, Status>> {
    let patient =
        |item: &Result<Fact, Status>| item.as_ref().is_ok_and(|fact| fact.watermark || reaction.can_wait(fact));
    let mut looked = 0;
    let over = tokio::time::sleep(GATHER);
    tokio::pin!(over);
    while chunk.len() < CHUNK_FACTS && chunk[looked..].iter().all(patient) {
        looked = chunk.len();
        tokio::select! {
            next = more.next() => match next {
                Some(next) => chunk.extend(next),
                // The caller sees the end when it asks for more.
                None => break,
            },
            () = &mut over => break,
            () = shutdown.requested() => break,
        }
    }
    chunk
}

/// How far the facts were handled, and how much of that is stored.
struct Cursor {
    seen: i64,
    saved: i64,
    /// Facts since the last move.
    facts: usize,
    timer: Interval,
}

impl Cursor {
    fn at(position: i64) -> Self {
        Self { seen: position, saved: position, facts: 0, timer: tokio::time::interval(CURSOR_EVERY) }
    }

    fn reach(&mut self, position: i64, facts: usize) {
        if position <= self.seen {
            return;
        }
        if self.seen == self.saved {
            self.timer.reset();
        }
        self.seen = position;
        self.facts += facts;
    }

    /// Ends when the cursor has lagged long enough; never while it does not.
    async fn is_due(&mut self) {
        if self.seen == self.saved {
            return std::future::pending().await;
        }
        self.timer.tick().await;
    }

    async fn save(&mut self, log: &EventLog, reaction: &dyn Reaction) -> anyhow::Result<()> {
        if self.seen > self.saved {
            log.move_cursor(reaction.name(), reaction.service(), self.seen).await?;
            (self.saved, self.facts) = (self.seen, 0);
        }
        Ok(())
    }
}

async fn handle_all(reaction: Arc<dyn Reaction>, facts: Vec<Fact>, shutdown: Shutdown) -> anyhow::Result<()> {
    for fact in facts {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            match reaction.handle(&fact).await {
                Ok(()) => break,
                Err(error @ ReactError::Poison(_)) => {
                    let (name, position, kind) = (reaction.name(), fact.position, &fact.r#type);
                    anyhow::bail!("{name} halts at {kind} {position} of {}: {error}", fact.source)
                }
                Err(error) => tracing::warn!(reaction = reaction.name(), position = fact.position, "{error}"),
            }
            if !backoff.wait_unless(&shutdown).await {
                return Ok(());
            }
        }
    }
    Ok(())
}
