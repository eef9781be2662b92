//! The one task that writes: takes what is queued, decides it, commits it, answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::aggregates::{Aggregates, Entry, Standing};
use crate::append::{Batch, Taken};
#[cfg(feature = "fail-points")]
use crate::fail_points::{self, FailPoint};
use crate::known::{Known, Recent};
use crate::lease::{Busy, Renewal};
use crate::load::{self, Loaded, Loader};
use crate::open::Start;
use crate::parked::Parked;
use crate::snapshots::{self, SnapshotRow, Wanted};
use crate::store::Fence;
use crate::tail::Tail;
use crate::work::{Answer, Append, Item, State};
use crate::{CursorMove, Error, RecordedEvent, Transaction};

/// Items that one round takes: beyond this a larger commit saves nothing and only delays its answers.
const BATCH_ITEMS_MAX: usize = 1_000;
/// How often old commands are pruned and an idle WAL is written back.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Events of a history that the writer waits for: a millisecond. For longer ones only their own commands wait.
const SHORT_HISTORY: i64 = 200;

type CursorItem = (CursorMove, oneshot::Sender<Result<(), Error>>);

/// The writer's connection and everything that only it may touch.
pub(crate) struct Writer {
    pub connection: Transaction,
    pub start: Start,
    pub head: watch::Sender<i64>,
    pub tail: Arc<Tail>,
    pub aggregates: Arc<Aggregates>,
    pub loader: Loader,
    /// Streams that were read.
    pub loaded: mpsc::UnboundedReceiver<Loaded>,
    /// Streams that should have a snapshot.
    pub snapshots: mpsc::Sender<Wanted>,
    pub parked: Parked,
    pub recent: Recent,
    /// Whether something was appended since the last tidying.
    pub written: bool,
    /// What renews the lease beside it, where the log is held under one.
    pub renewal: Option<Renewal>,
    pub busy: Arc<Busy>,
}

impl Writer {
    /// Works until the queue is closed and empty, or the storage cannot be trusted any more.
    pub async fn run(
        mut self,
        mut items: mpsc::Receiver<Item>,
        mut close: watch::Receiver<bool>,
        mut damage: watch::Receiver<Option<Error>>,
    ) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(BATCH_ITEMS_MAX);
        let mut tidy = tokio::time::interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tidy.reset();
        let (mut closing, mut drained) = (false, false);
        while !(drained && self.parked.is_empty()) {
            let served = tokio::select! {
                // A damage that a reader has found comes before everything that is queued; what is rare comes before
                // what may always be there.
                biased;
                Ok(_) = damage.changed() => damage.borrow_and_update().clone().map_or(Ok(()), Err),
                lost = lost(&mut self.renewal) => Err(lost),
                Some((stream, loaded)) = self.loaded.recv() => self.resume(&stream, loaded).await,
                _ = close.changed(), if !closing => {
                    // Also when every handle is gone; what is queued is still served.
                    closing = true;
                    items.close();
                    Ok(())
                }
                count = items.recv_many(&mut taken, BATCH_ITEMS_MAX), if !drained => {
                    drained = count == 0;
                    self.serve(&mut taken).await
                }
                _ = tidy.tick() => self.tidy().await,
            };
            if let Err(error) = served {
                tracing::error!(%error, "the writer of the event log stops");
                return Err(error);
            }
            // Also after what was read for others: reads alone must not grow the memory without end.
            self.aggregates.trim();
        }
        // Before the lease is given back: else it would be renewed once more.
        if let Some(renewal) = self.renewal.take() {
            renewal.stop().await;
        }
        self.connection.close().await
    }

    async fn tidy(&mut self) -> Result<(), Error> {
        let now_us = self.start.clock.now_us();
        for stream in self.aggregates.idle(snapshots::IDLE_MAX, snapshots::is_due_when_idle) {
            // With too many waiting it is asked for when it has grown again.
            let _ = self.snapshots.try_send(Wanted::of(&stream));
        }
        let tidied = async {
            self.start.shelf.clear(&mut self.connection, now_us).await?;
            if !std::mem::take(&mut self.written) {
                self.connection.tidy().await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "the event log could not be tidied");
            if error.is_damage() {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn serve(&mut self, taken: &mut Vec<Item>) -> Result<(), Error> {
        let (mut appends, mut cursors, mut snapshots) = (Vec::with_capacity(taken.len()), Vec::new(), Vec::new());
        for item in taken.drain(..) {
            match item {
                Item::Append(append) => appends.push(append),
                Item::Cursor(cursor, reply) => cursors.push((cursor, reply)),
                Item::Snapshot(row, written) => snapshots.push((row, written)),
            }
        }
        self.append(appends, cursors).await?;
        for (row, written) in snapshots {
            self.keep_snapshot(row).await?;
            // The one who made it may be gone.
            let _ = written.send(());
        }
        Ok(())
    }

    /// A snapshot that cannot be written is made again later.
    async fn keep_snapshot(&mut self, row: SnapshotRow) -> Result<(), Error> {
        match self.connection.put_snapshot(row).await {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                tracing::warn!(%error, "a snapshot could not be written");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Goes on with the commands of a stream that was read.
    async fn resume(&mut self, stream: &Arc<str>, loaded: Result<(), Error>) -> Result<(), Error> {
        let waited = self.parked.take(stream);
        match loaded {
            Ok(()) => self.append(waited, Vec::new()).await,
            Err(error) => {
                waited.into_iter().for_each(|append| append.work.answer(Answer::Failed(error.clone())));
                if error.is_damage() { Err(error) } else { Ok(()) }
            }
        }
    }

    /// Commits in as few transactions as the rows allow. Cursors go with the last part, after everything queued
    /// beside them.
    async fn append(&mut self, appends: Vec<Append>, cursors: Vec<CursorItem>) -> Result<(), Error> {
        let mut parts = vec![(appends, cursors)];
        while let Some((appends, cursors)) = parts.pop() {
            let mut appends = self.with_aggregates(appends).await?;
            if appends.is_empty() && cursors.is_empty() {
                continue;
            }
            #[cfg(feature = "fail-points")]
            if fail_points::strikes(FailPoint::AnswerBeforeCommit) {
                return self.answer_and_die(appends).await;
            }
            let moves: Vec<CursorMove> = cursors.iter().map(|(cursor, _)| cursor.clone()).collect();
            self.busy.begin();
            let attempt = self.attempt(&mut appends, &moves).await;
            self.busy.end();
            match attempt {
                // Aggregates that the attempt has used up are brought again; who waits for a long history waits alone.
                Ok(None) => {
                    appends.iter_mut().for_each(|append| append.is_doubtful = true);
                    parts.push((appends, cursors));
                }
                Ok(Some(answers)) => {
                    let rest = appends.split_off(answers.len());
                    appends.into_iter().zip(answers).for_each(|(append, answer)| append.work.answer(answer));
                    if rest.is_empty() {
                        cursors.into_iter().for_each(|(_, reply)| drop(reply.send(Ok(()))));
                    } else {
                        parts.push((rest, cursors));
                    }
                }
                Err(error) if appends.len() > 1 && !error.is_systemic() => {
                    let second = appends.split_off(appends.len() / 2);
                    parts.push((second, cursors));
                    parts.push((appends, Vec::new()));
                }
                Err(error) => {
                    appends.into_iter().for_each(|append| append.work.answer(Answer::Failed(error.clone())));
                    cursors.into_iter().for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
                    if error.is_fatal() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// The commands that can be decided now, their aggregates in memory. Those of a long history that nobody has read
    /// wait until it was, and only they.
    async fn with_aggregates(&mut self, appends: Vec<Append>) -> Result<Vec<Append>, Error> {
        let mut absent: HashMap<Arc<str>, usize> = HashMap::new();
        let mut loading: HashSet<Arc<str>> = HashSet::new();
        let mut place = 0;
        let streams: Vec<Arc<str>> = appends.iter().map(|append| Arc::clone(&append.stream)).collect();
        self.aggregates.standing(&streams, |stream, standing| {
            match standing {
                Standing::Here => {}
                Standing::Loading => drop(loading.insert(Arc::clone(stream))),
                Standing::Absent => drop(absent.entry(Arc::clone(stream)).or_insert(place)),
            }
            place += 1;
        });
        if absent.is_empty() && loading.is_empty() && self.parked.is_empty() {
            return Ok(appends);
        }
        let names: Vec<Arc<str>> = absent.keys().cloned().collect();
        let versions = match self.connection.versions(&names).await {
            Ok(versions) => versions,
            Err(error) => return self.refuse(appends, error),
        };
        let mut failed = HashMap::new();
        for (stream, place) in absent {
            let version = versions.get(stream.as_ref()).copied().unwrap_or(0);
            match self.bring(&stream, version, appends[place].work.fresh()).await {
                Ok(true) => {}
                Ok(false) => drop(loading.insert(stream)),
                Err(error) => drop(failed.insert(stream, error)),
            }
        }
        if let Some(error) = failed.values().find(|error| error.is_fatal()).cloned() {
            return self.refuse(appends, error);
        }
        let mut ready = Vec::with_capacity(appends.len());
        for append in appends {
            if let Some(error) = failed.get(&append.stream) {
                append.work.answer(Answer::Failed(error.clone()));
            } else if loading.contains(&append.stream) || self.parked.has(&append.stream) {
                self.parked.put(append);
            } else {
                ready.push(append);
            }
        }
        Ok(ready)
    }

    /// Only a log that cannot go on is an error; otherwise those who asked are told.
    fn refuse(&self, appends: Vec<Append>, error: Error) -> Result<Vec<Append>, Error> {
        appends.into_iter().for_each(|append| append.work.answer(Answer::Failed(error.clone())));
        if error.is_fatal() { Err(error) } else { Ok(Vec::new()) }
    }

    /// Brings an aggregate into memory: true when it is there now, false when it will be.
    async fn bring(&mut self, stream: &Arc<str>, version: i64, fresh: Arc<dyn State>) -> Result<bool, Error> {
        if version == 0 {
            self.aggregates.put_new(stream, fresh);
        } else if !self.aggregates.begin_load(stream) {
            // A reader has begun meanwhile.
            return Ok(false);
        } else if version <= SHORT_HISTORY {
            let history = self.connection.stream(stream, 0, SHORT_HISTORY as u32).await;
            let folded = history.and_then(|history| load::fold_all(Entry::new(fresh, 0, 0), &history));
            let failure = folded.as_ref().err().cloned();
            self.aggregates.end_load(stream, folded);
            return failure.map_or(Ok(true), Err);
        } else {
            self.loader.start(Arc::clone(stream), fresh);
            return Ok(false);
        }
        Ok(true)
    }

    /// Decides and commits the commands, or as many as fit. `None` when they were taken for new and may not be: they
    /// are doubtful from then on. After an error, or without answers, nothing of them is left, neither in the database
    /// nor in memory.
    async fn attempt(&mut self, appends: &mut [Append], cursors: &[CursorMove]) -> Result<Option<Vec<Answer>>, Error> {
        let records = appends.iter().any(|append| append.work.records());
        let ids: Vec<Uuid> = appends.iter().map(|append| append.context.command_id).collect();
        let is_doubtful = appends.iter().any(|append| append.is_doubtful);
        if !records && !is_doubtful && !ids.iter().any(|id| self.recent.has(*id)) {
            // Takes every command for a new one, which most are: that saves a question to the database, and the keys
            // of the rows that are written say whether it was right.
            return match self.try_with(appends, cursors, HashMap::new(), true).await {
                Ok(answers) => Ok(answers),
                Err(error) if error.is_systemic() => Err(error),
                // A key is taken, or a view minds what should never have been written.
                Err(_) => Ok(None),
            };
        }
        let known = self.connection.known(&ids).await?;
        let answers = self.try_with(appends, cursors, known, false).await?;
        Ok(Some(answers.ok_or_else(|| Error::Decode("a batch without answers".to_owned()))?))
    }

    /// One attempt. `None` when it cannot be known whether the commands are new, as was `assumed`.
    async fn try_with(
        &mut self,
        appends: &mut [Append],
        cursors: &[CursorMove],
        known: HashMap<Uuid, Known>,
        assumed: bool,
    ) -> Result<Option<Vec<Answer>>, Error> {
        let mut taken = self.aggregates.take(appends.iter().map(|append| &append.stream));
        let mut batch = self.begin(known, cursors);
        let committed = async {
            if appends.iter().any(|append| append.work.records()) {
                return self.commit_with_rows(&mut batch, &mut taken, appends).await.map(Some);
            }
            // Commands only: decided before the transaction begins, so that it holds nothing up.
            batch.decide_all(&mut taken, appends)?;
            if assumed {
                let ids = unproven(&batch, appends);
                if !ids.is_empty() && !self.connection.known(&ids).await?.is_empty() {
                    return Ok(None);
                }
            }
            self.commit(&mut batch, &mut taken).await.map(Some)
        };
        let committed = committed.await;
        match committed {
            Ok(Some(events)) => Ok(Some(self.finish(batch, taken, events))),
            Ok(None) => {
                self.aggregates.give_up(batch.touched.iter(), taken);
                Ok(None)
            }
            Err(error) => {
                self.aggregates.give_up(batch.touched.iter(), taken);
                Err(error)
            }
        }
    }

    fn begin(&self, known: HashMap<Uuid, Known>, cursors: &[CursorMove]) -> Batch {
        let clock_us = self.start.clock.now_us();
        let now_us = clock_us.max(self.start.recorded_at_us);
        let mut batch = Batch::new(known, self.start.head, now_us, self.start.shelf.at(clock_us));
        for cursor in cursors {
            batch.move_cursor(cursor);
        }
        batch
    }

    /// A batch is committed.
    fn finish(&mut self, batch: Batch, mut taken: Taken, events: Vec<RecordedEvent>) -> Vec<Answer> {
        self.start.recorded_at_us = batch.now_us;
        batch.known.keys().for_each(|id| self.recent.put(*id));
        for (stream, entry) in &mut taken {
            if snapshots::is_due(entry.version, entry.snapshot) {
                entry.snapshot = entry.version;
                // With too many waiting it is asked for again after as many events.
                let _ = self.snapshots.try_send(Wanted::of(stream));
            }
        }
        // Before the answers: who has one and looks sees what was answered.
        self.aggregates.give_back(taken);
        if batch.head > self.start.head {
            self.start.head = batch.head;
            self.written = true;
            self.tail.push(events);
            self.head.send_replace(batch.head);
        }
        batch.answers
    }

    /// Commits what was decided. Answers what was written.
    async fn commit(&mut self, batch: &mut Batch, taken: &mut Taken) -> Result<Vec<RecordedEvent>, Error> {
        match batch.is_wanted_by(&self.start.views) {
            true => self.commit_with_rows(batch, taken, &mut []).await,
            false => self.commit_events(batch).await,
        }
    }

    /// In one call: nothing but the log's own rows.
    async fn commit_events(&mut self, batch: &mut Batch) -> Result<Vec<RecordedEvent>, Error> {
        let fence = Fence { epoch: self.start.epoch, from: self.start.head, to: batch.head };
        let rows = std::mem::take(&mut batch.rows);
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let events = rows.events.clone();
        let committed = self.connection.write_alone(fence, rows).await;
        if committed.is_err() {
            self.connection.rollback().await;
        }
        committed.map(|()| events)
    }

    /// With rows of others in the transaction: those of records, which are decided inside of it, and those of views.
    async fn commit_with_rows(
        &mut self,
        batch: &mut Batch,
        taken: &mut Taken,
        appends: &mut [Append],
    ) -> Result<Vec<RecordedEvent>, Error> {
        let (epoch, from) = (self.start.epoch, self.start.head);
        self.connection.begin().await?;
        let written = async {
            let tx = &mut self.connection;
            batch.run_all(taken, &self.start.views, appends, tx).await?;
            let fence = Fence { epoch, from, to: batch.head };
            let rows = std::mem::take(&mut batch.rows);
            let events = rows.events.clone();
            tx.write(fence, rows).await?;
            tx.commit().await?;
            Ok(events)
        };
        let written = written.await;
        if written.is_err() {
            self.connection.rollback().await;
        }
        written
    }
}

/// Waits until somebody else has the lease; for ever where there is none.
async fn lost(renewal: &mut Option<Renewal>) -> Error {
    match renewal {
        Some(renewal) => renewal.lost().await,
        None => std::future::pending().await,
    }
}

/// The commands of which the rows of a batch do not prove that they are new: one without a row was refused, or changed
/// nothing.
fn unproven(batch: &Batch, appends: &[Append]) -> Vec<Uuid> {
    let written: HashSet<Uuid> = batch.rows.commands.iter().map(|command| command.command_id).collect();
    let decided = appends.iter().take(batch.answers.len()).map(|append| append.context.command_id);
    decided.filter(|id| !written.contains(id)).collect()
}
