//! One reading of a source, from the cursor until it breaks off.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use contracts::feed::Fact;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use runtime::{Backoff, MachineClock, Part, Shutdown};
use tokio::sync::{mpsc, oneshot};
use vocabulary::Clock;

use super::drain::{self, Drained};
use super::entry::{Entry, Request, Settled, State, Verb};
use super::lanes::{Cause, Handled, Lanes, Outcome};
use super::pace::{Pace, Placed};
use super::parked::{Actor, Park, Parked};
use super::progress::{self, Progress, Taken};
use super::reaction::Reaction;
use crate::source::{Cursor, OpenError};

/// How often lanes that wait are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Waits between tries of a lane that waits, in its turns of [`LOOK_EVERY`].
const WAITING_MIN: Duration = Duration::from_secs(2);
const WAITING_MAX: Duration = Duration::from_secs(60);
/// How long what is under way may take when the source breaks off.
const FINISH: Duration = Duration::from_secs(1);

/// How a session ends well.
pub(super) enum End {
    Shutdown,
    /// It cannot go on before somebody settles what is said.
    Halted(String),
}

/// What a session needs.
pub(super) struct Session<'a> {
    pub entry: &'a Arc<Entry>,
    pub reaction: &'a Arc<dyn Reaction>,
    pub shutdown: &'a Shutdown,
    pub part: &'a Part,
    /// Parked facts beyond which nothing more is taken in.
    pub parked_max: i64,
}

/// A lane of which facts are parked.
struct ParkedLane {
    cause: Cause,
    /// Looks left until it is tried again by itself.
    looks: u64,
    backoff: Backoff,
    is_draining: bool,
}

impl ParkedLane {
    fn new(cause: Cause) -> Self {
        Self { cause, looks: 0, backoff: Backoff::new(WAITING_MIN, WAITING_MAX), is_draining: false }
    }

    fn wait(&mut self, cause: Cause) {
        (self.cause, self.is_draining) = (cause, false);
        self.looks = self.backoff.next_wait().as_secs().max(1);
    }
}

type Drain = BoxFuture<'static, anyhow::Result<Drained>>;

impl Session<'_> {
    /// Follows until the source breaks off.
    ///
    /// # Errors
    /// When it does, or the follower's own log fails.
    pub async fn run(self, requests: &mut mpsc::Receiver<Request>) -> anyhow::Result<End> {
        let (log, name) = (&self.entry.log, self.reaction.name());
        let cursor = match progress::load(log, name, self.reaction.service()).await? {
            Ok(cursor) => cursor,
            Err(several) => return Ok(End::Halted(several)),
        };
        self.entry.stand(|standing| (standing.source, standing.position) = (cursor.source.clone(), cursor.reached()));
        let opened = tokio::select! {
            opened = self.entry.source.open(&cursor) => opened,
            () = self.shutdown.requested() => return Ok(End::Shutdown),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error @ (OpenError::Away(_) | OpenError::Expired { .. })) => {
                anyhow::bail!("feed of {}: {error}", self.reaction.service())
            }
            Err(error) => return Ok(End::Halted(self.advice(&error))),
        };
        let park = self.entry.park();
        let cursor = begun(cursor, (&opened.source, &opened.from), &park).await?;
        let progress = Progress::begin(name, &cursor, opened.source.clone());
        let skipped = park.skipped(&opened.source, progress.reached()).await?;
        let parked = park.lanes().await?.into_iter().map(|(lane, cause)| (lane, ParkedLane::new(cause))).collect();
        let facts = park.count().await?;
        // Whatever it halted at is over; that it is well is seen once something has come through.
        self.part.goes_on();
        if opened.head.is_some_and(|head| head <= progress.reached()) {
            // There is nothing to come through: that it could be asked is all that can work.
            self.part.well();
        }
        self.entry.stand(|standing| {
            (standing.state, standing.source) = (State::Following, opened.source.clone());
            standing.position = progress.reached();
        });
        let mut work = Work {
            lanes: Lanes::new(Arc::clone(self.reaction), self.shutdown.clone()),
            drains: FuturesUnordered::new(),
            session: self,
            progress,
            park,
            parked,
            facts,
            is_full: false,
            is_proved: false,
            skipped,
        };
        let mut pace = Pace::new(opened.facts, Arc::clone(work.session.reaction));
        work.run(&mut pace, requests).await
    }

    /// What a person is told who has to settle why a source cannot be followed on.
    fn advice(&self, error: &OpenError) -> String {
        let consumer = self.entry.consumer();
        match error {
            OpenError::OtherIncarnation { known, met } => format!(
                "{consumer} has followed {known} and met {met}: the log was made anew or restored. If that is meant, \
                 `trialog feed adopt {met}` follows it from its beginning on (`--from POSITION` from later on)"
            ),
            OpenError::BeyondHead { source_name, from, head } => {
                format!(
                    "{consumer} has seen {source_name} up to {from}, and it ends at {head}: {}",
                    set_back(source_name)
                )
            }
            OpenError::OtherHistory { source_name, from } => format!(
                "{consumer} has seen {source_name} up to {from}, and another event stands there now: {}",
                set_back(source_name)
            ),
            OpenError::Away(_) | OpenError::Expired { .. } => error.to_string(),
        }
    }
}

/// The cursor in the partitions of what was opened. One that counted in nothing, or in other partitions since
/// something else carried the facts, is stored so before the first fact: never is a part of it of the one and a part
/// of the other.
async fn begun(
    cursor: Cursor,
    (source, from): (&str, &BTreeMap<i32, i64>),
    park: &Park,
) -> Result<Cursor, eventlog::Error> {
    if !cursor.source.is_empty() && cursor.positions.keys().eq(from.keys()) {
        return Ok(cursor);
    }
    let action = if cursor.source.is_empty() { "begin" } else { "carry" };
    let begun = Cursor { source: source.to_owned(), positions: from.clone(), ..Cursor::default() };
    park.follow_from(&begun, action, &Actor::itself(park.projection)).await?;
    Ok(begun)
}

/// What is said of a log that was set back: its positions come again with other events, so that it must be told from
/// the one before.
fn set_back(source: &str) -> String {
    let service = source.split('@').next().unwrap_or_default();
    format!(
        "the log was set back. Put it back as it was; or, if what it has lost may be lost, start the server of \
         {service} once with --accept-database {service}, which makes another incarnation of it, and follow that \
         with `trialog feed adopt`"
    )
}

/// A session under way.
struct Work<'a> {
    session: Session<'a>,
    progress: Progress,
    lanes: Lanes,
    park: Park,
    parked: HashMap<String, ParkedLane>,
    /// Facts that are parked.
    facts: i64,
    /// Whether they are too many.
    is_full: bool,
    /// Whether something has come through in this session.
    is_proved: bool,
    skipped: BTreeSet<i64>,
    drains: FuturesUnordered<Drain>,
}

impl Work<'_> {
    async fn run(&mut self, pace: &mut Pace, requests: &mut mpsc::Receiver<Request>) -> anyhow::Result<End> {
        let shutdown = self.session.shutdown.clone();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            self.heed_limit();
            let has_room = !self.is_full && self.lanes.has_room();
            tokio::select! {
                chunk = pace.next(), if has_room => match chunk {
                    Ok(chunk) => if let Err(error) = self.take_in(chunk).await {
                        self.finish().await?;
                        return Err(error);
                    },
                    Err(broken) => {
                        self.finish().await?;
                        anyhow::bail!("feed of {}: {broken}", self.session.reaction.service());
                    }
                },
                handled = self.lanes.next() => {
                    if self.settle(handled).await? {
                        self.save().await?;
                        return Ok(End::Shutdown);
                    }
                }
                () = self.progress.is_due() => self.save().await?,
                Some(drained) = self.drains.next() => self.drained(drained?).await?,
                Some(request) = requests.recv() => self.answer(request).await?,
                _ = look.tick(), if !self.parked.is_empty() => self.look(),
                () = shutdown.requested() => {
                    self.save().await?;
                    return Ok(End::Shutdown);
                }
            }
            if self.progress.is_far() {
                self.save().await?;
            }
        }
    }

    /// Beyond the limit of parked facts nothing more is taken in, and everybody is told; requests are answered, since
    /// they are what helps.
    fn heed_limit(&mut self) {
        let is_full = self.facts > self.session.parked_max;
        if std::mem::replace(&mut self.is_full, is_full) == is_full {
            return;
        }
        let (entry, part) = (self.session.entry, self.session.part);
        if !is_full {
            part.well();
            entry.stand(|standing| standing.state = State::Following);
            return;
        }
        let (facts, max) = (self.facts, self.session.parked_max);
        let reason = format!("{facts} facts are parked, {max} may be: settle some with `trialog feed`");
        tracing::error!(consumer = entry.consumer(), "takes nothing in: {reason}");
        part.halted(&reason);
        entry.stand(|standing| standing.state = State::Full(reason));
    }

    /// Something has come through: it does what it should. That a source can be opened is no sign of that, since one
    /// that breaks off at once can be opened again and again.
    fn prove(&mut self) {
        if !self.is_full && !std::mem::replace(&mut self.is_proved, true) {
            self.session.part.well();
        }
    }

    /// Lets what is under way come to its end, so that a source that keeps breaking off is got through all the same.
    async fn finish(&mut self) -> anyhow::Result<()> {
        let rest = async {
            while !self.lanes.is_idle() {
                let handled = self.lanes.next().await;
                if self.settle(handled).await? {
                    break;
                }
            }
            Ok::<_, anyhow::Error>(())
        };
        // What has to wait longer is seen again.
        if let Ok(finished) = tokio::time::timeout(FINISH, rest).await {
            finished?;
        }
        self.save().await
    }

    async fn save(&mut self) -> anyhow::Result<()> {
        self.progress.save(&self.session.entry.log).await?;
        let reached = self.progress.reached();
        self.session.entry.stand(|standing| standing.position = reached);
        Ok(())
    }

    /// Takes facts in: into their lanes, or behind what is parked of them.
    async fn take_in(&mut self, chunk: Vec<Placed>) -> anyhow::Result<()> {
        let mut behind = Vec::new();
        for (fact, place) in chunk {
            match self.progress.take_in(&fact) {
                Taken::New => {}
                Taken::Repeat => continue,
                Taken::Hole(previous) => {
                    anyhow::bail!("{} of {} came, {previous} before it never did", fact.position, fact.source)
                }
            }
            let Some(place) = place else {
                self.prove();
                continue;
            };
            if self.skipped.remove(&fact.position) {
                self.progress.done(fact.partition, fact.position);
            } else if self.parked.contains_key(&place.lane) {
                behind.push(self.row(place.lane, fact, None));
            } else {
                self.lanes.push(place.lane, fact);
            }
        }
        self.put(behind).await
    }

    fn row(&self, lane: String, fact: Arc<Fact>, why: Option<(Cause, String)>) -> Parked {
        let (projection, parked_at_us) = (self.session.reaction.name().to_owned(), MachineClock.now_us());
        Parked { projection, lane, why, parked_at_us, fact }
    }

    /// Parks facts: they are done as far as the cursor goes.
    async fn put(&mut self, rows: Vec<Parked>) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.park.put(rows.clone()).await?;
        for row in rows {
            self.facts += 1;
            self.progress.done(row.fact.partition, row.fact.position);
        }
        Ok(())
    }

    /// Takes note of a fact that was handled; true when the process ends.
    async fn settle(&mut self, handled: Handled) -> anyhow::Result<bool> {
        let Handled { lane, fact, outcome } = handled;
        match outcome {
            Outcome::Done => {
                self.progress.done(fact.partition, fact.position);
                self.prove();
            }
            Outcome::Stopped => return Ok(true),
            Outcome::Park(cause, error) => {
                let name = self.session.reaction.name();
                let (position, kind) = (fact.position, &fact.r#type);
                tracing::error!(consumer = name, lane, position, kind, cause = cause.name(), "parked: {error}");
                metrics::counter!("trialog_feed_parked_total", "consumer" => name).increment(1);
                let mut rows = vec![self.row(lane.clone(), fact, Some((cause, error)))];
                rows.extend(self.lanes.take(&lane).into_iter().map(|fact| self.row(lane.clone(), fact, None)));
                self.put(rows).await?;
                self.prove();
                let mut parked = ParkedLane::new(cause);
                parked.wait(cause);
                self.parked.insert(lane, parked);
            }
        }
        Ok(false)
    }

    /// Lanes that wait are tried again by themselves.
    fn look(&mut self) {
        let mut due = Vec::new();
        for (lane, parked) in &mut self.parked {
            if parked.cause == Cause::Waiting && !parked.is_draining {
                parked.looks = parked.looks.saturating_sub(1);
                if parked.looks == 0 {
                    due.push(lane.clone());
                }
            }
        }
        let by = Actor::itself(self.session.reaction.name());
        due.into_iter().for_each(|lane| self.drain(lane, by.clone(), None));
    }

    /// Begins to handle a parked lane from its first fact on.
    fn drain(&mut self, lane: String, by: Actor, reply: Option<oneshot::Sender<Settled>>) {
        let Some(parked) = self.parked.get_mut(&lane) else { return };
        if std::mem::replace(&mut parked.is_draining, true) {
            return;
        }
        let drain = drain::Lane {
            park: self.park.clone(),
            reaction: Arc::clone(self.session.reaction),
            source: Arc::clone(&self.session.entry.source),
            lane,
            by,
            shutdown: self.session.shutdown.clone(),
        };
        self.drains.push(Box::pin(drain.run(reply)));
    }

    /// A lane was tried: it is free, or waits on.
    async fn drained(&mut self, drained: Drained) -> anyhow::Result<()> {
        self.facts = self.park.count().await?;
        let Drained { lane, why } = drained;
        if let Some(cause) = why {
            if let Some(parked) = self.parked.get_mut(&lane) {
                parked.wait(cause);
            }
            return Ok(());
        }
        // Only this task parks: what came meanwhile is seen here.
        if self.park.of_lane(&lane, 1).await?.is_empty() {
            self.parked.remove(&lane);
        } else if let Some(parked) = self.parked.get_mut(&lane) {
            parked.is_draining = false;
            self.drain(lane, Actor::itself(self.session.reaction.name()), None);
        }
        Ok(())
    }

    async fn answer(&mut self, request: Request) -> anyhow::Result<()> {
        let Request { key, verb, by, reply } = request;
        let Some(lane) = self.park.lane_of(&key).await? else {
            drop(reply.send(Settled::Absent));
            return Ok(());
        };
        match verb {
            Verb::Skip if self.parked.get(&lane).is_some_and(|parked| parked.is_draining) => {
                drop(reply.send(Settled::Parked("its lane is being tried at this moment: ask again".to_owned())));
            }
            Verb::Skip => {
                self.park.remove(&key, "skip", &by).await?;
                self.facts -= 1;
                drop(reply.send(Settled::Skipped));
                self.drain(lane, by, None);
            }
            Verb::Retry => self.drain(lane, by, Some(reply)),
        }
        Ok(())
    }
}
