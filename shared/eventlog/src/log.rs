//! The handle that services hold.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use vocabulary::Decider;

use crate::aggregates::{Aggregates, Found, Seen};
use crate::beside::{self, Beside};
use crate::event::is_separable;
#[cfg(feature = "fail-points")]
use crate::fail_points::{self, FailPoint};
use crate::lease::{Busy, Renewal, Renewed};
use crate::load::Loader;
use crate::parked::Parked;
use crate::snapshots::Wanted;
use crate::tail::Tail;
use crate::work::{Answering, Append, Execute, Item, Record, Work, panic_text};
use crate::writer::Writer;
use crate::{
    BoxFuture, Committed, Context, CursorMove, Error, ExecuteError, Options, Reader, RecordError, Recorded,
    RecordedEvent, Transaction, open, snapshots,
};

/// Commands that may wait for the writer: at 20,000 appends a second a full queue is 0.2 s of work.
pub(crate) const QUEUE_CAPACITY: usize = 4_096;

/// How long a close waits for reads that are under way; the store copes with those that take longer.
const READS_END: Duration = Duration::from_secs(5);

/// The log of one service's database. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    inner: Arc<Inner>,
}

struct Inner {
    queue: mpsc::Sender<Item>,
    closing: watch::Sender<bool>,
    ended: watch::Receiver<End>,
    head: watch::Receiver<i64>,
    tail: Arc<Tail>,
    aggregates: Arc<Aggregates>,
    loader: Loader,
    snapshots: mpsc::Sender<Wanted>,
    reader: Arc<Reader>,
    source: String,
    renewed: Arc<Renewed>,
    /// Where another process writes the log.
    beside: Option<Arc<Beside>>,
}

impl EventLog {
    /// Opens or creates the database, applies migrations, brings new views up to date and starts the writer. One whose
    /// store only reads is opened as its writer has left it.
    ///
    /// # Errors
    /// When the file cannot be opened, belongs to another service, an applied migration was edited, a view refuses an
    /// old event, or the linked SQLite is older than 3.51.3.
    pub async fn open(options: Options) -> Result<EventLog, Error> {
        if options.store.is_read_only() {
            return Self::open_beside(options).await;
        }
        let opened = open::open(options).await?;
        let (queue, items) = mpsc::channel(QUEUE_CAPACITY);
        let (closing, close) = watch::channel(false);
        let (head_moved, head) = watch::channel(opened.start.head);
        let (done, loaded) = mpsc::unbounded_channel();
        let (snapshots, asked) = mpsc::channel(snapshots::WAITING_MAX);
        let (tail, aggregates, reader) = (Arc::new(Tail::default()), Arc::default(), Arc::new(opened.reader));
        let damaged = reader.damage();
        let loader = Loader::new(Arc::clone(&reader), Arc::clone(&aggregates), done, snapshots.clone());
        let (lease, clock) = (opened.connection.lease(), &opened.start.clock);
        let held_since = lease.is_some().then_some(opened.start.renewed_us);
        let renewed = Arc::new(Renewed::new(Arc::clone(clock), held_since));
        let busy = Arc::new(Busy::new(Arc::clone(clock)));
        let renewal = lease.map(|lease| Renewal::begin(lease, Arc::clone(&renewed), Arc::clone(&busy)));
        let writer = Writer {
            connection: opened.connection,
            start: opened.start,
            head: head_moved,
            tail: Arc::clone(&tail),
            aggregates: Arc::clone(&aggregates),
            loader: loader.clone(),
            loaded,
            snapshots: snapshots.clone(),
            parked: Parked::default(),
            recent: opened.recent,
            written: false,
            renewal,
            busy,
        };
        let (end, ended) = watch::channel(None);
        tokio::spawn(snapshots::make(asked, Arc::clone(&aggregates), queue.downgrade()));
        let writing = writer.run(items, close, damaged);
        tokio::spawn(work_until_the_end(writing, Arc::clone(&aggregates), end));
        let source = opened.source;
        let beside = None;
        let inner =
            Inner { queue, closing, ended, head, tail, aggregates, loader, snapshots, reader, source, renewed, beside };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens a log that another process writes.
    async fn open_beside(options: Options) -> Result<EventLog, Error> {
        let beside::Opened { reader, source, head, epoch } = beside::open(&options).await?;
        // Nobody takes what is queued.
        let ((queue, _), (snapshots, _), (done, _)) = (mpsc::channel(1), mpsc::channel(1), mpsc::unbounded_channel());
        let ((closing, close), (end, ended), (head_moved, head)) =
            (watch::channel(false), watch::channel(None), watch::channel(head));
        let (tail, aggregates, reader) = (Arc::default(), Arc::<Aggregates>::default(), Arc::new(reader));
        let loader = Loader::new(Arc::clone(&reader), Arc::clone(&aggregates), done, snapshots.clone());
        let renewed = Arc::new(Renewed::new(options.clock, None));
        let of = (options.service, epoch);
        let beside = Arc::new(Beside::new(Arc::clone(&reader), Arc::clone(&aggregates), head_moved, of));
        let looking = Arc::clone(&beside);
        tokio::spawn(async move {
            looking.keep_looking(close).await;
            end.send_replace(Some(Ok(())));
        });
        let beside = Some(beside);
        let inner =
            Inner { queue, closing, ended, head, tail, aggregates, loader, snapshots, reader, source, renewed, beside };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether another process writes the log: it takes no commands here.
    pub fn is_read_only(&self) -> bool {
        self.inner.beside.is_some()
    }

    /// Makes what is read from now on see everything that was acknowledged before. Nothing is to be done for it where
    /// the log is written by this process.
    ///
    /// # Errors
    /// When another process has begun to write the log since it was opened for reading, or it cannot be read.
    pub async fn catch_up(&self) -> Result<(), Error> {
        match &self.inner.beside {
            Some(beside) => beside.look().await,
            None => Ok(()),
        }
    }

    /// Decides a command on an aggregate and answers when the outcome is durable.
    ///
    /// # Errors
    /// See [`ExecuteError`]. Nothing is stored then.
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
    /// With a `command` the work is its decision: what follows from its events is settled as for any command.
    ///
    /// The work may run more than once (a batch that fails is decided anew), always on rolled-back ground. It does
    /// not run for a repeated command. A record is stored under its command id even when it leads to no events.
    ///
    /// # Errors
    /// See [`ExecuteError`]; the rows of the work are undone then.
    pub async fn record<D, F>(
        &self,
        stream: &str,
        command: Option<Arc<D::Command>>,
        context: Context,
        work: F,
    ) -> Result<Committed, ExecuteError<D::Rejection>>
    where
        D: Decider,
        F: for<'a> Fn(
                &'a D,
                &'a mut Transaction,
            ) -> BoxFuture<'a, Result<Recorded<D::Event>, RecordError<D::Rejection>>>
            + Send
            + Sync
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.append(stream, context, Box::new(Record::<D, F>::new(command, work, reply)), answer).await
    }

    async fn append<R>(
        &self,
        stream: &str,
        context: Context,
        work: Box<dyn Work>,
        answer: oneshot::Receiver<Result<Committed, ExecuteError<R>>>,
    ) -> Result<Committed, ExecuteError<R>> {
        if !is_separable(stream) {
            let message = format!("the stream's name {stream:?} holds a separator, U+001E or U+001F");
            return Err(ExecuteError::Storage(Error::Encode(message)));
        }
        if self.is_read_only() {
            return Err(ExecuteError::Storage(Error::ReadOnly));
        }
        match self.inner.queue.try_send(Item::Append(Append {
            stream: stream.into(),
            context,
            work,
            is_doubtful: false,
        })) {
            Ok(()) => answer.await.unwrap_or(Err(ExecuteError::Storage(Error::Closed))),
            Err(TrySendError::Full(_)) => Err(ExecuteError::Overloaded),
            Err(TrySendError::Closed(_)) => Err(ExecuteError::Storage(Error::Closed)),
        }
    }

    /// Looks at the committed state of an aggregate and its version (0 = absent). The look sees every command that was
    /// answered before it was asked for, and none that is not committed. It never queues behind the writer: it waits
    /// for the batch that commits right now, if that is about this aggregate, or for its history to be read. Keep it
    /// short: a state that somebody looks at is copied when it is to be changed.
    ///
    /// # Errors
    /// When the history cannot be read.
    pub async fn inspect<D: Decider, R: Send + 'static>(
        &self,
        stream: &str,
        look: impl FnOnce(&D, i64) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let Seen { state, version } = self.committed::<D>(&stream.into()).await?;
        let state =
            (state.as_ref() as &dyn Any).downcast_ref::<D>().ok_or_else(|| Error::OtherAggregate(stream.to_owned()))?;
        catch_unwind(AssertUnwindSafe(|| look(state, version)))
            .map_err(|panic| Error::Panicked(panic_text(panic.as_ref())))
    }

    async fn committed<D: Decider>(&self, stream: &Arc<str>) -> Result<Seen, Error> {
        if let Some(beside) = &self.inner.beside {
            return beside.state_of::<D>(stream).await;
        }
        loop {
            let soon = match self.inner.aggregates.find(stream, |state| (state as &dyn Any).is::<D>()) {
                Found::Here(seen) => return Ok(seen),
                Found::Soon(soon) => soon,
                Found::Absent(soon) => {
                    self.inner.loader.start(Arc::clone(stream), Arc::new(D::default()));
                    soon
                }
            };
            // Without an answer the batch has failed that it waited for.
            if let Ok(seen) = soon.await {
                return seen;
            }
        }
    }

    /// Makes a snapshot of an aggregate now, however short its history since the last one. False when it is not in
    /// memory, or has no form to be written in.
    ///
    /// # Errors
    /// When the log is closed.
    pub async fn snapshot(&self, stream: &str) -> Result<bool, Error> {
        let (written, is_written) = oneshot::channel();
        let wanted = Wanted { stream: stream.into(), written: Some(written) };
        self.inner.snapshots.send(wanted).await.map_err(|_| Error::Closed)?;
        Ok(is_written.await.is_ok())
    }

    /// Waits until the writer has ended: `Ok` after [`EventLog::close`], otherwise the reason. Nothing can be written
    /// any more then; what is committed can still be read.
    ///
    /// # Errors
    /// Why the writer has ended.
    pub async fn ended(&self) -> Result<(), Error> {
        let mut ended = self.inner.ended.clone();
        let end = ended.wait_for(Option::is_some).await.map(|end| end.clone());
        end.ok().flatten().unwrap_or(Err(Error::Closed))
    }

    /// Whether the log can be written.
    ///
    /// # Errors
    /// Why it cannot: the reason for which the writer has ended.
    pub fn health(&self) -> Result<(), Error> {
        match self.inner.ended.borrow().as_ref() {
            None => Ok(()),
            Some(Ok(())) => Err(Error::Closed),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// Whether what is read here is what the log is: it was a moment ago, for a process that holds it under a lease.
    /// Others may have written since, when it has stood still for a while.
    ///
    /// # Errors
    /// When the lease was not renewed in time, or is somebody else's.
    pub fn assert_current(&self) -> Result<(), Error> {
        #[cfg(feature = "fail-points")]
        if fail_points::strikes(FailPoint::ReadAfterLease) {
            return Ok(());
        }
        self.inner.renewed.over().map_or(Ok(()), Err)
    }

    /// Waits until [`EventLog::assert_current`] fails, and answers why; for ever for a log that nobody else can write.
    pub async fn lapsed(&self) -> Error {
        self.inner.renewed.is_over().await
    }

    /// Waits until [`EventLog::assert_current`] holds.
    pub async fn current(&self) {
        self.inner.renewed.is_good().await;
    }

    fn enqueue(&self, item: Item) -> Result<(), Error> {
        if self.is_read_only() {
            return Err(Error::ReadOnly);
        }
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
        self.inner.reader.stream(stream, from_version, limit).await
    }

    /// The events after a position, oldest first: one page of the feed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read(&self, after_position: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        if let Some(events) = self.inner.tail.after(after_position, limit) {
            return Ok(events);
        }
        self.inner.reader.page(after_position, limit).await
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
        self.catch_up().await?;
        let mut head = self.inner.head.clone();
        let reached = tokio::time::timeout(timeout, head.wait_for(|&head| head >= position)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::Behind { wanted: position, head: *self.inner.head.borrow() }),
        }
    }

    /// The committed rows, for the queries of views.
    pub fn reader(&self) -> &Reader {
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
        Ok(self.inner.reader.cursor(projection, source).await?.unwrap_or(0))
    }

    /// Every cursor of a projection, in whatever source.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn cursors(&self, projection: &str) -> Result<Vec<CursorMove>, Error> {
        self.inner.reader.cursors(projection).await
    }

    /// Moves a cursor when nothing else is to be written. It never moves back.
    ///
    /// # Errors
    /// When the queue is full, the log is closed, or the database fails.
    pub async fn move_cursor(&self, projection: &str, source: &str, position: i64) -> Result<(), Error> {
        let (projection, source) = (projection.to_owned(), source.to_owned());
        self.move_to(CursorMove { projection, source, partition: 0, position, event_id: None, resume: 0 }).await
    }

    /// The same in a partition of the source, and with the event that stands there.
    ///
    /// # Errors
    /// When the queue is full, the log is closed, or the database fails.
    pub async fn move_to(&self, cursor: CursorMove) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Item::Cursor(cursor, reply))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Finishes what is queued, tidies the database up and closes it. Later calls of other handles are
    /// refused.
    pub async fn close(self) {
        self.inner.closing.send_replace(true);
        if tokio::time::timeout(READS_END, self.inner.reader.close()).await.is_err() {
            tracing::warn!("reads are still under way while the event log closes");
        }
        if let Err(error) = self.ended().await {
            tracing::warn!(%error, "the event log did not close cleanly");
        }
    }
}

type End = Option<Result<(), Error>>;

/// Runs the writer and tells how it ended, also when it panicked.
async fn work_until_the_end(
    writing: impl Future<Output = Result<(), Error>>,
    aggregates: Arc<Aggregates>,
    end: watch::Sender<End>,
) {
    let ended = AssertUnwindSafe(writing).catch_unwind().await;
    let ended = ended.unwrap_or_else(|panic| Err(Error::Panicked(panic_text(panic.as_ref()))));
    aggregates.clear();
    end.send_replace(Some(ended));
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog")
            .field("source", &self.inner.source)
            .field("head", &*self.inner.head.borrow())
            .finish()
    }
}
