//! A log that another process writes: it is read here, from the database that both reach.
//!
//! What a command has led to is in the database before it is acknowledged, so a read that begins then sees it whoever
//! answers. States in memory are brought up to date by a look at their streams each time.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vocabulary::Decider;

use crate::aggregates::{Aggregates, Entry, Seen};
use crate::{Error, Options, Reader, examine, load, open, sql};

/// How often it is looked whether the log has grown, for those who wait for that.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What is known of the log.
pub(crate) struct Beside {
    reader: Arc<Reader>,
    aggregates: Arc<Aggregates>,
    head: watch::Sender<i64>,
}

/// A log that was opened for reading.
pub(crate) struct Opened {
    pub reader: Reader,
    pub source: String,
    pub head: i64,
}

/// Opens a log as its writer has left it.
///
/// # Errors
/// When it is not there, its tables or views are those of another build, or it cannot be read.
pub(crate) async fn open(options: &Options) -> Result<Opened, Error> {
    let reader = options.store.reader().await?;
    match look(options, &reader).await {
        Ok((source, head)) => Ok(Opened { reader, source, head }),
        Err(error) => {
            reader.close().await;
            Err(error)
        }
    }
}

async fn look(options: &Options, reader: &Reader) -> Result<(String, i64), Error> {
    let not_yet = |what: String| Err(Error::NotYet { service: options.service.to_owned(), what });
    if !reader.has_table("log_head").await? {
        return not_yet("the log has no tables".to_owned());
    }
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
    Ok((format!("{}@{}", examined.service, examined.incarnation), examined.head))
}

impl Beside {
    pub fn new(reader: Arc<Reader>, aggregates: Arc<Aggregates>, head: watch::Sender<i64>) -> Self {
        Self { reader, aggregates, head }
    }

    /// The state of a stream as the database has it now.
    pub async fn state_of<D: Decider>(&self, stream: &Arc<str>) -> Result<Seen, Error> {
        let known = self.aggregates.committed(stream, |state| (state as &dyn Any).is::<D>());
        let entry = match known {
            None => load::fold(&self.reader, stream, Arc::new(D::default())).await?,
            Some(seen) => {
                let news = self.reader.stream(stream, seen.version, load::PAGE).await?;
                if news.is_empty() {
                    return Ok(seen);
                }
                let entry = load::fold_all(Entry::new(seen.state.copy(), seen.version, 0), &news)?;
                load::fold_on(&self.reader, stream, entry).await?
            }
        };
        let seen = entry.seen();
        self.aggregates.keep(stream, entry);
        Ok(seen)
    }

    /// Looks how far the log has come.
    pub async fn look(&self) -> Result<(), Error> {
        let found: i64 = sql("SELECT last_position FROM log_head WHERE id = 1").fetch_one(&*self.reader).await?;
        self.head.send_if_modified(|head| {
            let is_new = found > *head;
            *head = found.max(*head);
            is_new
        });
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
