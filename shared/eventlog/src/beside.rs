//! A log that another process writes: it is read here, from the database that both reach.
//!
//! What a command has led to is in the database before it is acknowledged. So a read that begins with a look at the log
//! sees everything that was acknowledged before, whoever answers. A look asks for the head: it says which streams have
//! grown since the last one, and their states are read anew; the others are current as they are. It also says whether
//! the log is still the one that was opened: each process that begins to write it begins an epoch, and may have made
//! other tables of it; and one that was set back has lost what was read of it.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use vocabulary::Decider;

use crate::aggregates::{Aggregates, Seen};
use crate::{Error, Options, Reader, examine, load, open, sql};

/// How often it is looked whether the log has grown, for those who wait for that.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// With more new events than these all states are read anew: naming the streams that have grown would cost more.
const GROWN_MAX: i64 = 10_000;

/// What is known of the log.
pub(crate) struct Beside {
    reader: Arc<Reader>,
    aggregates: Arc<Aggregates>,
    service: &'static str,
    /// That of the process that wrote the log when it was opened.
    epoch: i64,
    head: watch::Sender<i64>,
    /// Counts who has asked for a look.
    asked: AtomicU64,
    /// Up to whom a look has been made for.
    looked: tokio::sync::Mutex<u64>,
    /// How often states were found to be old: one that was read meanwhile may be, too.
    grown: Mutex<u64>,
}

/// A log that was opened for reading.
pub(crate) struct Opened {
    pub reader: Reader,
    pub source: String,
    pub head: i64,
    pub epoch: i64,
}

/// Opens a log as its writer has left it.
///
/// # Errors
/// When it is not there, its tables or views are those of another build, or it cannot be read.
pub(crate) async fn open(options: &Options) -> Result<Opened, Error> {
    let reader = options.store.reader().await?;
    match examined(options, &reader).await {
        Ok((source, head, epoch)) => Ok(Opened { reader, source, head, epoch }),
        Err(error) => {
            reader.close().await;
            Err(error)
        }
    }
}

async fn examined(options: &Options, reader: &Reader) -> Result<(String, i64, i64), Error> {
    let not_yet = |what: String| Err(Error::NotYet { service: options.service.to_owned(), what });
    if !reader.has_table("log_head").await? {
        return not_yet("the log has no tables".to_owned());
    }
    // First: who begins to write after that is noticed by the first look.
    let (_, epoch) = head_of(reader).await?;
    let lacking = open::lacking(reader, options.migrations).await?;
    if !lacking.is_empty() {
        return not_yet(format!("the log lacks {}", lacking.join(", ")));
    }
    let live: Vec<String> = sql("SELECT name FROM log_views WHERE live = 1").fetch_all(reader).await?;
    if let Some(view) = options.views.iter().find(|view| !live.iter().any(|name| name == view.name())) {
        return not_yet(format!("the view {} is not fed", view.name()));
    }
    let examined = examine::examine(reader).await?;
    if examined.service != options.service {
        return Err(Error::OtherService { expected: options.service.to_owned(), found: examined.service });
    }
    Ok((format!("{}@{}", examined.service, examined.incarnation), examined.head, epoch))
}

async fn head_of(reader: &Reader) -> Result<(i64, i64), Error> {
    sql("SELECT last_position, epoch FROM log_head WHERE id = 1").fetch_one(reader).await
}

impl Beside {
    pub fn new(
        reader: Arc<Reader>,
        aggregates: Arc<Aggregates>,
        head: watch::Sender<i64>,
        (service, epoch): (&'static str, i64),
    ) -> Self {
        let (asked, looked, grown) = (AtomicU64::default(), tokio::sync::Mutex::default(), Mutex::default());
        Self { reader, aggregates, service, epoch, head, asked, looked, grown }
    }

    fn grown(&self) -> MutexGuard<'_, u64> {
        self.grown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a stream as the last look has found it, or newer.
    pub async fn state_of<D: Decider>(&self, stream: &Arc<str>) -> Result<Seen, Error> {
        let known = self.aggregates.committed(stream, |state| (state as &dyn Any).is::<D>());
        if let Some(seen) = known {
            return Ok(seen);
        }
        let before = *self.grown();
        let entry = load::fold(&self.reader, stream, Arc::new(D::default())).await?;
        let seen = entry.seen();
        let grown = self.grown();
        if *grown == before {
            self.aggregates.keep(stream, entry);
        }
        Ok(seen)
    }

    /// Looks how far the log has come. Those who ask while a look is under way share the next one.
    ///
    /// # Errors
    /// When another process has begun to write the log, or it cannot be read.
    pub async fn look(&self) -> Result<(), Error> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut looked = self.looked.lock().await;
        // A look that was begun after this was asked for sees what this one would see.
        if *looked >= mine {
            return Ok(());
        }
        let for_whom = self.asked.load(Ordering::SeqCst);
        let (found, epoch) = head_of(&self.reader).await?;
        if epoch != self.epoch {
            let what = "another process has begun to write it".to_owned();
            return Err(Error::NotYet { service: self.service.to_owned(), what });
        }
        let known = *self.head.borrow();
        if found != known {
            self.take(known, found).await?;
        }
        *looked = for_whom;
        Ok(())
    }

    /// Forgets the states of streams that have grown, or all of them, and tells who waits.
    async fn take(&self, known: i64, found: i64) -> Result<(), Error> {
        let streams: Option<Vec<String>> = if (known..=known + GROWN_MAX).contains(&found) {
            let grown = "SELECT DISTINCT stream_id FROM events WHERE position > $1 AND position <= $2";
            Some(sql(grown).bind(known).bind(found).fetch_all(&*self.reader).await?)
        } else {
            None
        };
        let mut grown = self.grown();
        *grown += 1;
        match streams {
            Some(streams) => streams.iter().for_each(|stream| self.aggregates.forget(stream)),
            None => self.aggregates.clear(),
        }
        self.head.send_replace(found);
        Ok(())
    }

    /// Looks again and again while anybody waits, until the log is closed.
    pub async fn keep_looking(&self, mut close: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = close.wait_for(|is_closing| *is_closing) => return,
            }
            // The log has a receiver of its own, so that others are more than one. What fails is told to who reads.
            if self.head.receiver_count() > 1 {
                let _ = self.look().await;
            }
        }
    }
}
