//! The handle that services hold.

use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use vocabulary::Decider;

use crate::tail::Tail;
use crate::work::{Answering, Append, Execute, Inspect, Item, Record, Work, panic_text};
use crate::writer::Writer;
use crate::{
    BoxFuture, Committed, Context, CursorMove, Error, ExecuteError, Options, RecordError, Recorded, RecordedEvent,
    open, read,
};

/// Commands that may wait for the writer: at 20,000 appends a second a full queue is 0.2 s of work.
pub(crate) const QUEUE_CAPACITY: usize = 4_096;

/// How long a close waits for reads that are under way; SQLite copes with those that take longer.
const READS_END: Duration = Duration::from_secs(5);

/// The log of one service's database. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::Sender<Item>,
    closing: watch::Sender<bool>,
    /// What a reader has found out about the file.
    damage: watch::Sender<Option<Error>>,
    writer: Mutex<Option<JoinHandle<Result<(), Error>>>>,
    head: watch::Receiver<i64>,
    ended: watch::Receiver<Option<Result<(), Error>>>,
    tail: Arc<Tail>,
    reader: SqlitePool,
    source: String,
}

impl EventLog {
    /// Opens or creates the database, applies migrations, brings new views up to date and starts the writer.
    ///
    /// # Errors
    /// When the file cannot be opened, belongs to another service, an applied migration was edited, a view refuses an
    /// old event, or the linked SQLite is older than 3.51.3.
    pub async fn open(options: Options) -> Result<EventLog, Error> {
        let opened = open::open(options).await?;
        let (queue, items) = mpsc::channel(QUEUE_CAPACITY);
        let (closing, close) = watch::channel(false);
        let (damage, damaged) = watch::channel(None);
        let (head_moved, head) = watch::channel(opened.start.head);
        let tail = Arc::new(Tail::default());
        let writer = Writer::new(opened.connection, opened.writing, opened.start, head_moved, Arc::clone(&tail));
        let (end, ended) = watch::channel(None);
        let writer = tokio::spawn(async move {
            let outcome = AssertUnwindSafe(writer.run(items, close, damaged)).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(panic.as_ref()))));
            end.send_replace(Some(outcome.clone()));
            outcome
        });
        Ok(Self {
            inner: Arc::new(Inner {
                queue,
                closing,
                damage,
                writer: Mutex::new(Some(writer)),
                head,
                ended,
                tail,
                reader: opened.reader,
                source: opened.source,
            }),
        })
    }

    /// Decides a command on an aggregate and answers when the outcome is durable.
    ///
    /// # Errors
    /// See [`ExecuteError`]. Nothing is stored then, except that a rejection still moves the context's cursor.
    pub async fn execute<D: Decider>(
        &self,
        stream: &str,
        command: D::Command,
        context: Context,
    ) -> Result<Committed, ExecuteError<D::Rejection>> {
        let (reply, answer) = oneshot::channel();
        self.append(stream, context, Box::new(Execute::<D>::new(command, reply)), answer).await
    }

    /// Decides a command whose reply is made of the state that it leads to and of its events. The reply is stored with
    /// the command id, but for a command that led to nothing and that no Idempotency-Key promises to remember.
    ///
    /// # Errors
    /// See [`ExecuteError`].
    pub async fn execute_answering<D: Decider>(
        &self,
        stream: &str,
        command: D::Command,
        context: Context,
        reply_of: impl Fn(&D, &[D::Event]) -> Vec<u8> + Send + 'static,
    ) -> Result<Committed, ExecuteError<D::Rejection>> {
        let (reply, answer) = oneshot::channel();
        let work = Answering::<D, _>::new(command, reply_of, reply);
        self.append(stream, context, Box::new(work), answer).await
    }

    /// Decides together with rows of the caller's own tables: `work` runs inside the transaction in a savepoint of
    /// its own, sees the stream's state and what commands before it wrote, may run SQL, and answers the events to
    /// append and a reply.
    ///
    /// The work may run more than once (a batch that fails is decided anew), always on rolled-back ground. It does
    /// not run for a repeated command. A record is stored under its command id even when it leads to no events.
    ///
    /// # Errors
    /// See [`ExecuteError`]; the rows of the work are undone then.
    pub async fn record<D, F>(
        &self,
        stream: &str,
        context: Context,
        work: F,
    ) -> Result<Committed, ExecuteError<D::Rejection>>
    where
        D: Decider,
        F: for<'a> Fn(
                &'a D,
                &'a mut SqliteConnection,
            ) -> BoxFuture<'a, Result<Recorded<D::Event>, RecordError<D::Rejection>>>
            + Send
            + Sync
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.append(stream, context, Box::new(Record::<D, F>::new(work, reply)), answer).await
    }

    async fn append<R>(
        &self,
        stream: &str,
        context: Context,
        work: Box<dyn Work>,
        answer: oneshot::Receiver<Result<Committed, ExecuteError<R>>>,
    ) -> Result<Committed, ExecuteError<R>> {
        if !read::is_separable(stream) {
            let message = format!("the stream's name {stream:?} holds a separator, U+001E or U+001F");
            return Err(ExecuteError::Storage(Error::Encode(message)));
        }
        match self.inner.queue.try_send(Item::Append(Append { stream: stream.into(), context, work })) {
            Ok(()) => answer.await.unwrap_or(Err(ExecuteError::Storage(Error::Closed))),
            Err(TrySendError::Full(_)) => Err(ExecuteError::Overloaded),
            Err(TrySendError::Closed(_)) => Err(ExecuteError::Storage(Error::Closed)),
        }
    }

    /// Looks at the committed state of an aggregate and its version (0 = absent), between batches. The look sees
    /// every command that was answered before it was asked for. Keep it short: the writer waits for it.
    ///
    /// # Errors
    /// When the queue is full, the log is closed, or the history cannot be read.
    pub async fn inspect<D: Decider, R: Send + 'static>(
        &self,
        stream: &str,
        look: impl FnOnce(&D, i64) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let (reply, answer) = oneshot::channel();
        let look = Inspect { stream: stream.into(), look, reply, decider: PhantomData };
        self.enqueue(Item::Look(Box::new(look)))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    fn enqueue(&self, item: Item) -> Result<(), Error> {
        self.inner.queue.try_send(item).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded,
            TrySendError::Closed(_) => Error::Closed,
        })
    }

    /// Events of one stream after a version, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read_stream(&self, stream: &str, from_version: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        let read = async { read::stream(&mut *self.inner.reader.acquire().await?, stream, from_version, limit).await };
        self.trusting(read.await)
    }

    /// Passes on what was read. A damage of the file ends the writer: nothing is acknowledged any more on its ground.
    fn trusting<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &read
            && error.is_damage()
        {
            self.inner.damage.send_replace(Some(error.clone()));
        }
        read
    }

    /// The events after a position, oldest first: one page of the feed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read(&self, after_position: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        if let Some(events) = self.inner.tail.after(after_position, limit) {
            return Ok(events);
        }
        let read = async { read::page(&mut *self.inner.reader.acquire().await?, after_position, limit).await };
        self.trusting(read.await)
    }

    /// The committed position, for tails and read-your-writes. Its sender goes away when the writer stops.
    pub fn head(&self) -> watch::Receiver<i64> {
        self.inner.head.clone()
    }

    /// Waits until a position is committed and so in every view.
    ///
    /// # Errors
    /// When it is not reached in time, or the writer stops.
    pub async fn wait_for(&self, position: i64, timeout: Duration) -> Result<(), Error> {
        let mut head = self.inner.head.clone();
        let reached = tokio::time::timeout(timeout, head.wait_for(|&head| head >= position)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Behind { wanted: position, head: *self.inner.head.borrow() }),
        }
    }

    /// Waits until the writer has ended, and how: well after [`EventLog::close`], else with what it cannot go on after.
    /// Nothing is accepted any more then; who holds the log should end.
    ///
    /// # Errors
    /// What the writer ended with.
    pub async fn ended(&self) -> Result<(), Error> {
        let mut ended = self.inner.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        // Its sender says something before it goes; without that the runtime itself has ended.
        outcome.ok().flatten().unwrap_or(Err(Error::Closed))
    }

    /// Whether the writer works.
    ///
    /// # Errors
    /// What it ended with; [`Error::Closed`] after [`EventLog::close`].
    pub fn health(&self) -> Result<(), Error> {
        match &*self.inner.ended.borrow() {
            None => Ok(()),
            Some(Ok(())) => Err(Error::Closed),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// The read-only pool, for the queries of views.
    pub fn reader(&self) -> &SqlitePool {
        &self.inner.reader
    }

    /// `service@incarnation`: what cursors of this log's readers are kept under.
    pub fn source(&self) -> &str {
        &self.inner.source
    }

    /// How far a projection kept in this database has come in a source; 0 when it has not begun.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cursor(&self, projection: &str, source: &str) -> Result<i64, Error> {
        read::cursor(&self.inner.reader, projection, source).await
    }

    /// Moves a cursor when nothing else is to be written. It never moves back.
    ///
    /// # Errors
    /// When the queue is full, the log is closed, or the database fails.
    pub async fn move_cursor(&self, projection: &str, source: &str, position: i64) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let cursor = CursorMove { projection: projection.to_owned(), source: source.to_owned(), position };
        self.enqueue(Item::Cursor(cursor, reply))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Finishes what is queued, writes the WAL back into the database and closes it. Later calls of other handles are
    /// refused.
    pub async fn close(self) {
        self.inner.closing.send_replace(true);
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if tokio::time::timeout(READS_END, self.inner.reader.close()).await.is_err() {
            tracing::warn!("reads are still under way while the event log closes");
        }
        if let Some(writer) = writer {
            match writer.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the event log did not close cleanly"),
                Err(error) => tracing::error!(%error, "the writer of the event log was stopped"),
            }
        }
    }
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog")
            .field("source", &self.inner.source)
            .field("head", &*self.inner.head.borrow())
            .finish()
    }
}
