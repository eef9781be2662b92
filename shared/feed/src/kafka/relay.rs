//! Sends a service's facts on to its topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::feed::Fact;
use eventlog::EventLog;
use futures_util::StreamExt;
use runtime::{Part, Shutdown, Stopwatch};
use tokio::time::Sleep;

use super::Kafka;
use super::ends::{self, End};
use super::reading::Reading;
use super::sending::{Delivered, Sending};
use super::topic;
use crate::consumer::{Actor, Consumers, Entry, Park, State, progress};
use crate::source::{Cursor, FactSource, Facts, OpenError, Source};

/// The name of its cursor.
pub const NAME: &str = "kafka_relay";
/// So long after the last fact each partition is told up to where nothing is missing.
const IDLE: Duration = Duration::from_millis(50);
/// And at least so often while facts keep coming, for partitions that have none.
const MARKS_EVERY: Duration = Duration::from_secs(1);
/// So often a topic of which nothing is said keeps a record: one that is empty tells nobody what it is of.
const BEAT: Duration = Duration::from_secs(3600);
/// The cursor is stored so long after the first delivery that it lags behind.
const SAVE_AFTER: Duration = Duration::from_millis(200);
/// So long Kafka may take nothing before the process is not ready.
const STALL: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a relay that stands still looks whether that is over.
const HALTED_LOOK: Duration = Duration::from_secs(10);
/// How long what is under way may take when the process ends.
const FINISH: Duration = Duration::from_secs(1);

/// The relay of one service.
pub struct Relay {
    kafka: Kafka,
    service: String,
    source: Source,
    entry: Arc<Entry>,
    shutdown: Shutdown,
    /// Whether it was looked how safe the topic is.
    is_looked_at: AtomicBool,
}

/// How a run of a relay ends well.
enum Ended {
    Shutdown,
    Halted(String),
}

impl Relay {
    /// Sends the facts of `source` on, with its cursor in that log itself; shown among `consumers`.
    pub fn new(kafka: Kafka, source: Source, consumers: &Consumers, shutdown: Shutdown) -> Self {
        let service = source.log().source().split('@').next().unwrap_or_default().to_owned();
        // Nobody can ask anything of it: it parks nothing.
        let (entry, _) = Entry::new(source.log().clone(), NAME, &service, Arc::new(source.clone()));
        consumers.add(&entry);
        Self { kafka, service, source, entry, shutdown, is_looked_at: AtomicBool::new(false) }
    }

    /// Relays until shutdown.
    ///
    /// # Errors
    /// When Kafka or the log fails; the caller begins again, from the cursor.
    pub async fn run(&self, part: &Part) -> anyhow::Result<()> {
        loop {
            self.entry.stand(|standing| standing.state = State::Connecting);
            let reason = match self.relay(part).await? {
                Ended::Shutdown => return Ok(()),
                Ended::Halted(reason) => reason,
            };
            tracing::error!(relay = self.entry.consumer(), "halts: {reason}");
            self.halt(part, reason);
            tokio::select! {
                () = tokio::time::sleep(HALTED_LOOK) => {}
                () = self.shutdown.requested() => return Ok(()),
            }
        }
    }

    fn halt(&self, part: &Part, reason: String) {
        part.halted(&reason);
        self.entry.stand(|standing| standing.state = State::Halted(reason));
    }

    fn log(&self) -> &EventLog {
        self.source.log()
    }

    async fn relay(&self, part: &Part) -> anyhow::Result<Ended> {
        let topic = self.kafka.topic(&self.service);
        let ends = tokio::select! {
            ends = self.ends(&topic) => ends?,
            () = self.shutdown.requested() => return Ok(Ended::Shutdown),
        };
        if let Some(reason) = self.refuses(&topic, &ends).await? {
            return Ok(Ended::Halted(reason));
        }
        self.look_at(&topic).await;
        let cursor = self.begin(&ends).await?;
        let opened = self.source.open(&cursor).await?;
        let epoch = ends::newest(&ends).map_or(0, |record| record.stamp.epoch) + 1;
        let (partitions, from) = (self.kafka.partitions, cursor.position(0));
        tracing::info!(topic, epoch, from, "relays");
        self.entry.stand(|standing| {
            (standing.state, standing.source) = (State::Following, cursor.source.clone());
            standing.position = from;
        });
        let sending = Sending::begin(&self.kafka, topic, (partitions, epoch), self.log(), from)?;
        let run = Run {
            relay: self,
            part,
            sending,
            delivered: Delivered { position: from, event_id: None },
            saved: from,
            marked: None,
            save_in: None,
            mark_in: None,
            unmarked: None,
            waits: Stopwatch::start(),
            is_stalled: false,
        };
        run.run(opened.facts).await
    }

    /// Warns of a topic that may lose what it has, once.
    async fn look_at(&self, topic: &str) {
        if self.is_looked_at.swap(true, Ordering::Relaxed) {
            return;
        }
        match topic::weakness(&self.kafka, topic).await {
            Ok(Some(weakness)) => tracing::warn!("{weakness}"),
            Ok(None) => {}
            // Whoever may not ask has somebody who does.
            Err(error) => tracing::debug!(topic, "it is not known how safe it is: {error:#}"),
        }
    }

    /// The ends of the topic, which is made when it is absent.
    async fn ends(&self, topic: &str) -> anyhow::Result<Vec<End>> {
        let ends = async || Reading::ends(&self.kafka, topic).await.map_err(anyhow::Error::msg);
        let (found, _) = ends().await?;
        if !found.is_empty() {
            return Ok(found);
        }
        topic::make(&self.kafka, topic).await?;
        Ok(ends().await?.0)
    }

    /// Why nothing may be sent to a topic that ends so.
    async fn refuses(&self, topic: &str, ends: &[End]) -> anyhow::Result<Option<String>> {
        let (found, wanted) = (ends.len(), self.kafka.partitions);
        if found == 0 {
            // What was just made is known a moment later.
            anyhow::bail!("the topic {topic} is not there yet");
        }
        if i32::try_from(found) != Ok(wanted) {
            return Ok(Some(format!(
                "the topic {topic} has {found} partitions, and feed.kafka.partitions is {wanted}: they are never \
                 changed in place, since streams would move between them. Set it to {found}, or take another \
                 feed.kafka.prefix, under which topics are made anew and filled from the logs"
            )));
        }
        let last = ends::last_of(self.log().source(), ends);
        match self.source.open(&last).await {
            Ok(_) => Ok(None),
            Err(error @ (OpenError::BeyondHead { .. } | OpenError::OtherHistory { .. })) => {
                let service = &self.service;
                Ok(Some(format!(
                    "{topic} has facts that the log has not: {error}. The log was set back: put it back as it was; or, \
                     if what it has lost may be lost, start the server once with --accept-database {service}, which \
                     makes another incarnation of it"
                )))
            }
            Err(error) => anyhow::bail!("the log of {}: {error}", self.service),
        }
    }

    /// From where on facts are sent; stored before the first of them.
    async fn begin(&self, ends: &[End]) -> anyhow::Result<Cursor> {
        let source = self.log().source();
        // Several incarnations are none: it begins anew in its own.
        let stored = progress::load(self.log(), NAME, &self.service).await?.unwrap_or_default();
        let known = if stored.source == source { stored.position(0) } else { 0 };
        let from = ends::relay_from(source, known, ends);
        if from == known && stored.source == source {
            return Ok(stored);
        }
        let begun = Cursor::at(source, from);
        Park::new(self.log().clone(), NAME).follow_from(&begun, "begin", &Actor::itself(NAME)).await?;
        Ok(begun)
    }
}

/// A run under way.
struct Run<'a> {
    relay: &'a Relay,
    part: &'a Part,
    sending: Sending,
    /// Everything up to here is in the topic.
    delivered: Delivered,
    saved: i64,
    /// Up to where each partition was told that nothing is missing.
    marked: Option<i64>,
    save_in: Option<std::pin::Pin<Box<Sleep>>>,
    mark_in: Option<std::pin::Pin<Box<Sleep>>>,
    /// Since when there is something that some partition was not told.
    unmarked: Option<Stopwatch>,
    /// Since when nothing was delivered, while something is under way.
    waits: Stopwatch,
    is_stalled: bool,
}

/// Ends with a timer; never without one.
async fn over(timer: &mut Option<std::pin::Pin<Box<Sleep>>>) {
    match timer {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}

impl Run<'_> {
    async fn run(mut self, mut facts: Facts) -> anyhow::Result<Ended> {
        let shutdown = self.relay.shutdown.clone();
        let (mut look, mut beat) = (tokio::time::interval(LOOK_EVERY), tokio::time::interval(BEAT));
        loop {
            tokio::select! {
                fact = facts.next(), if self.sending.has_room() => match fact {
                    Some(Ok(fact)) => self.take(&fact)?,
                    Some(Err(error)) => anyhow::bail!("the log of {}: {error}", self.relay.service),
                    None => anyhow::bail!("the log of {} was closed", self.relay.service),
                },
                delivered = self.sending.next() => self.arrived(delivered?),
                () = over(&mut self.mark_in) => self.mark()?,
                () = over(&mut self.save_in) => self.save().await?,
                // The first comes at once: whoever reads knows from it what the topic is of.
                _ = beat.tick() => self.mark()?,
                _ = look.tick() => self.look(),
                () = shutdown.requested() => return self.finish().await,
            }
        }
    }

    /// Sends a fact on. What is no fact is told with the next watermark.
    fn take(&mut self, fact: &Fact) -> anyhow::Result<()> {
        if self.sending.is_idle() {
            self.waits = Stopwatch::start();
        }
        self.sending.send(fact)?;
        let since = self.unmarked.get_or_insert_with(Stopwatch::start);
        if self.mark_in.is_none() || since.elapsed() < MARKS_EVERY {
            self.mark_in = Some(Box::pin(tokio::time::sleep(IDLE)));
        }
        Ok(())
    }

    fn mark(&mut self) -> anyhow::Result<()> {
        if self.sending.is_idle() {
            self.waits = Stopwatch::start();
        }
        (self.mark_in, self.unmarked) = (None, None);
        self.marked = Some(self.sending.mark()?);
        Ok(())
    }

    fn arrived(&mut self, delivered: Delivered) {
        self.waits = Stopwatch::start();
        if delivered.position > self.delivered.position {
            self.delivered = delivered;
        }
        if self.delivered.position > self.saved && self.save_in.is_none() {
            self.save_in = Some(Box::pin(tokio::time::sleep(SAVE_AFTER)));
        }
        let (reached, entry) = (self.delivered.position, &self.relay.entry);
        entry.stand(|standing| standing.position = reached);
        if self.marked.is_some() {
            self.part.well();
        }
        if std::mem::take(&mut self.is_stalled) {
            entry.stand(|standing| standing.state = State::Following);
            tracing::info!(relay = entry.consumer(), "Kafka takes facts again");
        }
    }

    /// That Kafka takes nothing is said once; the log goes on meanwhile.
    fn look(&mut self) {
        if self.is_stalled || self.sending.is_idle() || self.waits.elapsed() < STALL {
            return;
        }
        self.is_stalled = true;
        let reason = format!(
            "Kafka at {} takes nothing: followers get no facts of {} until it does; nothing is lost",
            self.relay.kafka.bootstrap, self.relay.service
        );
        tracing::error!(relay = self.relay.entry.consumer(), "{reason}");
        self.relay.halt(self.part, reason);
    }

    async fn save(&mut self) -> anyhow::Result<()> {
        self.save_in = None;
        let Delivered { position, event_id } = self.delivered;
        if position > self.saved {
            let (log, source) = (self.relay.log(), self.relay.log().source().to_owned());
            let (projection, partition, resume) = (NAME.to_owned(), 0, 0);
            let moved =
                log.move_to(eventlog::CursorMove { projection, source, partition, position, event_id, resume }).await;
            match moved {
                Ok(()) => self.saved = position,
                // A log that has much to do is no reason to send everything again.
                Err(error) if error.problem().passes_by_itself() => {
                    self.save_in = Some(Box::pin(tokio::time::sleep(SAVE_AFTER)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Lets what is under way arrive, for a moment: what does not is sent again by the next start.
    async fn finish(mut self) -> anyhow::Result<Ended> {
        let rest = async {
            while !self.sending.is_idle() {
                let delivered = self.sending.next().await?;
                self.arrived(delivered);
            }
            Ok::<_, anyhow::Error>(())
        };
        if let Ok(finished) = tokio::time::timeout(FINISH, rest).await {
            finished?;
        }
        self.save().await?;
        Ok(Ended::Shutdown)
    }
}
