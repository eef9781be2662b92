//! The one task that writes: takes what is queued, decides it, commits it, answers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::append::Batch;
use crate::cache::{self, Cache};
use crate::insert::{self, Fence, Texts};
use crate::known::{self, Known, Pruner, Recent};
use crate::open::Start;
use crate::tail::Tail;
use crate::work::{Answer, Append, Item, Look, State};
use crate::{CursorMove, Error, RecordedEvent};

/// Items that one round takes: beyond this a larger commit saves nothing and only delays its answers.
const BATCH_ITEMS_MAX: usize = 1_000;
/// How often old commands are pruned and an idle WAL is written back.
const TIDY_EVERY: Duration = Duration::from_secs(60);

type CursorItem = (CursorMove, oneshot::Sender<Result<(), Error>>);

/// The writer's connection and everything that only it may touch.
pub(crate) struct Writer {
    connection: SqliteConnection,
    writing: SqliteConnectOptions,
    start: Start,
    head: watch::Sender<i64>,
    tail: Arc<Tail>,
    cache: Cache,
    texts: Texts,
    pruner: Pruner,
    recent: Recent,
    /// Whether something was appended since the last tidying.
    written: bool,
    /// Whether the connection is known to be outside a transaction.
    settled: bool,
}

impl Writer {
    pub fn new(
        connection: SqliteConnection,
        writing: SqliteConnectOptions,
        start: Start,
        head: watch::Sender<i64>,
        tail: Arc<Tail>,
    ) -> Self {
        Self {
            connection,
            writing,
            start,
            head,
            tail,
            cache: Cache::default(),
            texts: Texts::default(),
            pruner: Pruner::default(),
            recent: Recent::default(),
            written: false,
            settled: true,
        }
    }

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
        let mut closing = false;
        loop {
            tokio::select! {
                // A damage that a reader has found comes before everything that is queued.
                biased;
                Ok(_) = damage.changed() => {
                    let found = damage.borrow_and_update().clone();
                    if let Some(error) = found {
                        tracing::error!(%error, "the writer of the event log stops: a reader has found damage");
                        return Err(error);
                    }
                }
                count = items.recv_many(&mut taken, BATCH_ITEMS_MAX) => {
                    if count == 0 {
                        break;
                    }
                    if let Err(error) = self.serve(&mut taken).await {
                        tracing::error!(%error, "the writer of the event log stops");
                        return Err(error);
                    }
                }
                _ = close.changed(), if !closing => {
                    // Also when every handle is gone; what is queued is still served.
                    closing = true;
                    items.close();
                }
                _ = tidy.tick() => self.tidy().await?,
            }
        }
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await?;
        self.connection.close().await?;
        Ok(())
    }

    async fn tidy(&mut self) -> Result<(), Error> {
        let now_us = self.start.clock.now_us();
        let tidied = async {
            self.pruner.step(&mut self.connection, now_us).await?;
            if !std::mem::take(&mut self.written) {
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await?;
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
        let (mut appends, mut cursors, mut looks) = (Vec::with_capacity(taken.len()), Vec::new(), Vec::new());
        for item in taken.drain(..) {
            match item {
                Item::Append(append) => appends.push(append),
                Item::Cursor(cursor, reply) => cursors.push((cursor, reply)),
                Item::Look(look) => looks.push(look),
            }
        }
        self.append(appends, cursors).await?;
        for look in looks {
            self.look(look).await?;
        }
        self.cache.trim();
        Ok(())
    }

    /// Commits in as few transactions as the rows allow. Cursors go with the last part, after everything queued
    /// beside them.
    async fn append(&mut self, appends: Vec<Append>, cursors: Vec<CursorItem>) -> Result<(), Error> {
        let mut parts = vec![(appends, cursors)];
        while let Some((mut appends, cursors)) = parts.pop() {
            if appends.is_empty() && cursors.is_empty() {
                continue;
            }
            let moves: Vec<CursorMove> = cursors.iter().map(|(cursor, _)| cursor.clone()).collect();
            match self.attempt(&mut appends, &moves).await {
                Ok(answers) => {
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

    /// Decides and commits the commands, or as many as fit. After an error nothing of them is left, neither in the
    /// database nor in memory.
    async fn attempt(&mut self, appends: &mut [Append], cursors: &[CursorMove]) -> Result<Vec<Answer>, Error> {
        if !self.settled {
            self.connection = self.writing.connect().await?;
            self.settled = true;
        }
        let records = appends.iter().any(|append| append.work.records());
        let ids: Vec<Uuid> = appends.iter().map(|append| append.context.command_id).collect();
        if !records
            && !ids.iter().any(|id| self.recent.has(*id))
            && let Some(answers) = self.attempt_as_new(appends, cursors).await?
        {
            return Ok(answers);
        }
        let known = known::lookup(&mut self.connection, &ids).await?;
        let cold = self.cold(appends, &known);
        self.load(cold).await?;
        let mut batch = self.begin(known, cursors);
        let committed = async {
            if records {
                return self.commit_with_rows(&mut batch, appends).await;
            }
            // Commands only: decided before the transaction begins, so that it holds nothing up.
            batch.decide_all(&mut self.cache, appends)?;
            self.commit(&mut batch).await
        };
        match committed.await {
            Ok(events) => Ok(self.finish(batch, events)),
            Err(error) => {
                batch.touched.iter().for_each(|stream| self.cache.discard(stream));
                Err(error)
            }
        }
    }

    /// Takes every command and every stream that is not in memory for a new one, which most are: that saves two
    /// questions to the database, and the keys of the rows that are written say whether it was right. `None` when
    /// it was not, or when nothing is written that would say so; nothing has happened then.
    async fn attempt_as_new(
        &mut self,
        appends: &mut [Append],
        cursors: &[CursorMove],
    ) -> Result<Option<Vec<Answer>>, Error> {
        let assumed = self.cold(appends, &HashMap::new());
        let mut new: HashSet<Arc<str>> = assumed.iter().map(|(stream, _)| Arc::clone(stream)).collect();
        assumed.into_iter().for_each(|(stream, state)| self.cache.put(stream, state, 0));
        let mut batch = self.begin(HashMap::new(), cursors);
        let decided = batch.decide_all(&mut self.cache, appends);
        // What a full batch leaves over proves nothing yet.
        for append in &appends[batch.answers.len()..] {
            if !batch.touched.contains(&append.stream) && new.remove(&append.stream) {
                self.cache.discard(&append.stream);
            }
        }
        let open = decided.ok().and_then(|()| unproven(&batch, appends, &new));
        let committed = async {
            match open {
                Some(ids) if known::lookup(&mut self.connection, &ids).await?.is_empty() => {
                    self.commit(&mut batch).await.map(Some)
                }
                _ => Ok(None),
            }
        };
        let committed = committed.await;
        if let Ok(Some(events)) = committed {
            return Ok(Some(self.finish(batch, events)));
        }
        batch.touched.iter().chain(&new).for_each(|stream| self.cache.discard(stream));
        match committed {
            Err(error) if error.is_systemic() => Err(error),
            // A key that is taken, or a view that minds what should never have been written.
            _ => Ok(None),
        }
    }

    fn begin(&self, known: HashMap<Uuid, Known>, cursors: &[CursorMove]) -> Batch {
        let now_us = self.start.clock.now_us().max(self.start.recorded_at_us);
        let mut batch = Batch::new(known, self.start.head, now_us);
        for cursor in cursors {
            batch.move_cursor(&cursor.projection, &cursor.source, cursor.position);
        }
        batch
    }

    /// A batch is committed.
    fn finish(&mut self, batch: Batch, events: Vec<RecordedEvent>) -> Vec<Answer> {
        self.start.recorded_at_us = batch.now_us;
        batch.known.keys().for_each(|id| self.recent.put(*id));
        if batch.head > self.start.head {
            self.start.head = batch.head;
            self.written = true;
            self.tail.push(events);
            self.head.send_replace(batch.head);
        }
        batch.answers
    }

    /// Commits what was decided. Answers what was written.
    async fn commit(&mut self, batch: &mut Batch) -> Result<Vec<RecordedEvent>, Error> {
        match batch.is_wanted_by(&self.start.views) {
            true => self.commit_with_rows(batch, &mut []).await,
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
        let committed = insert::commit(&mut self.connection, &mut self.texts, fence, rows).await;
        if committed.is_err() {
            // Fails when SQLite has rolled back by itself, which is just as well.
            drop(sqlx::query("ROLLBACK").execute(&mut self.connection).await);
        }
        committed.map(|()| events)
    }

    /// With rows of others in the transaction: those of records, which are decided inside of it, and those of views.
    async fn commit_with_rows(
        &mut self,
        batch: &mut Batch,
        appends: &mut [Append],
    ) -> Result<Vec<RecordedEvent>, Error> {
        let (epoch, from) = (self.start.epoch, self.start.head);
        let mut tx = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let written = async {
            batch.run_all(&mut self.cache, &self.start.views, appends, &mut tx).await?;
            let fence = Fence { epoch, from, to: batch.head };
            let rows = std::mem::take(&mut batch.rows);
            let events = rows.events.clone();
            insert::write(&mut tx, &mut self.texts, fence, rows).await.map(|()| events)
        }
        .await;
        match written {
            Ok(events) => {
                self.settled = false;
                tx.commit().await?;
                self.settled = true;
                Ok(events)
            }
            Err(error) => {
                // Fails when SQLite has rolled back by itself; the driver is then a transaction off.
                self.settled = tx.rollback().await.is_ok();
                Err(error)
            }
        }
    }

    /// The aggregates of the commands that are not in memory, as fresh states.
    fn cold(&mut self, appends: &[Append], known: &HashMap<Uuid, Known>) -> Vec<(Arc<str>, Box<dyn State>)> {
        let mut cold = Vec::new();
        let mut asked = HashSet::new();
        for append in appends.iter().filter(|append| !known.contains_key(&append.context.command_id)) {
            let entry = self.cache.get(&append.stream);
            let usable = entry.is_some_and(|entry| append.work.understands(entry.state.as_ref()));
            if !usable && asked.insert(&append.stream) {
                cold.push((Arc::clone(&append.stream), append.work.fresh()));
            }
        }
        cold
    }

    async fn load(&mut self, cold: Vec<(Arc<str>, Box<dyn State>)>) -> Result<(), Error> {
        let names: Vec<Arc<str>> = cold.iter().map(|(stream, _)| Arc::clone(stream)).collect();
        let existing = cache::existing(&mut self.connection, &names).await?;
        for (stream, mut state) in cold {
            let version = match existing.contains(stream.as_ref()) {
                true => cache::load(&mut self.connection, &stream, state.as_mut()).await?,
                false => 0,
            };
            self.cache.put(stream, state, version);
        }
        Ok(())
    }

    async fn look(&mut self, look: Box<dyn Look>) -> Result<(), Error> {
        let stream: Arc<str> = look.stream().into();
        let usable = self.cache.get(&stream).is_some_and(|entry| look.understands(entry.state.as_ref()));
        if !usable {
            let mut state = look.fresh();
            match cache::load(&mut self.connection, &stream, state.as_mut()).await {
                Ok(version) => self.cache.put(Arc::clone(&stream), state, version),
                Err(error) => {
                    look.look(Err(error.clone()));
                    return if error.is_damage() { Err(error) } else { Ok(()) };
                }
            }
        }
        match self.cache.get(&stream) {
            Some(entry) => look.look(Ok((entry.state.as_ref(), entry.version))),
            None => look.look(Err(Error::Closed)),
        }
        Ok(())
    }
}

/// The commands of which the rows of a batch do not prove that they are new; `None` when a stream in `new` is not
/// begun by it. A command without a row was refused, or changed nothing.
fn unproven(batch: &Batch, appends: &[Append], new: &HashSet<Arc<str>>) -> Option<Vec<Uuid>> {
    let begun: HashSet<&Arc<str>> = batch.touched.iter().collect();
    if !new.iter().all(|stream| begun.contains(stream)) {
        return None;
    }
    let written: HashSet<Uuid> = batch.rows.commands.iter().map(|command| command.command_id).collect();
    let decided = appends.iter().take(batch.answers.len()).map(|append| append.context.command_id);
    Some(decided.filter(|id| !written.contains(id)).collect())
}
