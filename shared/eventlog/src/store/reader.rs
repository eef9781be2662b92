//! Reads of what is committed.

use tokio::sync::watch;

use super::memory::MemoryStore;
use super::sqlite;
use crate::lease::Holder;
use crate::snapshots::SnapshotRow;
use crate::sql::{Row, Statement};
#[cfg(feature = "postgres")]
use crate::transfer::Found;
use crate::{CursorMove, Error, RecordedEvent};

/// The committed rows, for the queries of views: ask them through [`crate::sql`]. Reads never wait for the writer.
pub struct Reader {
    store: Reading,
    /// What a read has found out about the file. It ends the writer: nothing is acknowledged any more on its ground.
    damage: watch::Sender<Option<Error>>,
}

pub(super) enum Reading {
    Sqlite(sqlite::Readers),
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::Readers),
    Memory(MemoryStore),
}

/// What takes rows: whether it takes more.
pub(super) type Take<'a> = dyn FnMut(Row) -> Result<bool, Error> + Send + 'a;

/// Hands a call to whichever store it is, and a damage that it meets to the writer.
macro_rules! ask {
    ($reader:expr, $store:ident => $answer:expr) => {
        $reader.trusting(match &$reader.store {
            Reading::Sqlite($store) => $answer,
            #[cfg(feature = "postgres")]
            Reading::Postgres($store) => $answer,
            Reading::Memory($store) => $answer,
        })
    };
}

impl Reader {
    pub(super) fn new(store: Reading) -> Self {
        Self { store, damage: watch::Sender::new(None) }
    }

    /// Bytes that a server has for the log; nothing where it is a file, whose size everybody sees.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn bytes(&self) -> Result<Option<u64>, Error> {
        match &self.store {
            #[cfg(feature = "postgres")]
            Reading::Postgres(store) => self.trusting(store.bytes().await).map(Some),
            _ => Ok(None),
        }
    }

    /// The processes that live of a log which several reach: whether it is the one that writes, and who. None where a
    /// log has one process.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn processes(&self) -> Result<Vec<(bool, Holder)>, Error> {
        match &self.store {
            #[cfg(feature = "postgres")]
            Reading::Postgres(store) => self.trusting(store.processes().await),
            _ => Ok(Vec::new()),
        }
    }

    /// What the store finds damaged in its own files, in words.
    pub(crate) async fn integrity(&self) -> Result<Vec<String>, Error> {
        ask!(self, store => store.integrity().await)
    }

    /// Whether there is a table of this name: one that came later is not in a database that no newer build has opened.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_table(&self, name: &str) -> Result<bool, Error> {
        ask!(self, store => store.has_table(name).await)
    }

    /// Learns of the damages that reads meet.
    pub(crate) fn damage(&self) -> watch::Receiver<Option<Error>> {
        self.damage.subscribe()
    }

    fn trusting<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &read
            && error.is_damage()
        {
            self.damage.send_replace(Some(error.clone()));
        }
        read
    }

    pub(crate) async fn all(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        ask!(self, store => store.all(statement).await)
    }

    /// Hands rows over until one is answered with false.
    pub(crate) async fn each(&self, statement: Statement, take: &mut Take<'_>) -> Result<(), Error> {
        ask!(self, store => store.each(statement, take).await)
    }

    pub(crate) async fn first(&self, statement: Statement) -> Result<Option<Row>, Error> {
        ask!(self, store => store.first(statement).await)
    }

    /// The columns of a file's tables, in their order.
    #[cfg(feature = "postgres")]
    pub(crate) async fn columns(&self) -> Result<Vec<Found>, Error> {
        match &self.store {
            Reading::Sqlite(store) => self.trusting(store.columns().await),
            _ => Err(Error::NotMoved("logs are carried from files alone".to_owned())),
        }
    }

    /// The events after a position, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn page(&self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        ask!(self, store => store.page(after, limit).await)
    }

    /// The events of a stream after a version.
    pub(crate) async fn stream(&self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        ask!(self, store => store.stream(stream, after, limit).await)
    }

    /// The snapshot of a stream.
    pub(crate) async fn snapshot(&self, stream: &str) -> Result<Option<SnapshotRow>, Error> {
        ask!(self, store => store.snapshot(stream).await)
    }

    /// How far a projection has come.
    pub(crate) async fn cursor(&self, projection: &str, source: &str) -> Result<Option<i64>, Error> {
        ask!(self, store => store.cursor(projection, source).await)
    }

    /// Every cursor of a projection.
    pub(crate) async fn cursors(&self, projection: &str) -> Result<Vec<CursorMove>, Error> {
        ask!(self, store => store.cursors(projection).await)
    }

    /// Waits for the reads that are under way.
    pub async fn close(&self) {
        match &self.store {
            Reading::Sqlite(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Reading::Postgres(store) => store.close().await,
            Reading::Memory(_) => {}
        }
    }
}
