//! The writer's connection.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::memory::MemoryWriter;
#[cfg(feature = "postgres")]
use super::postgres;
use super::rows::{Fence, Rows};
use super::sqlite;
use crate::known::Known;
use crate::lease::Lease;
use crate::snapshots::SnapshotRow;
use crate::sql::{Insert, Row, Statement};
use crate::{Error, RecordedEvent};
#[cfg(feature = "postgres")]
use crate::{Store, content::Table, sql::Value, transfer::Found};

/// The transaction of an append, as views and records have it: their rows commit together with the events, or not at
/// all. It is asked through [`crate::sql`] and [`crate::insert`].
pub struct Transaction(pub(super) Connection);

pub(super) enum Connection {
    Sqlite(Box<sqlite::Writer>),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Writer>),
    Memory(MemoryWriter),
}

/// Hands a call to whichever store it is.
macro_rules! ask {
    ($transaction:expr, $store:ident => $answer:expr) => {
        match &mut $transaction.0 {
            Connection::Sqlite($store) => $answer,
            #[cfg(feature = "postgres")]
            Connection::Postgres($store) => $answer,
            Connection::Memory($store) => $answer,
        }
    };
}

/// For services, through [`Statement`] and [`Insert`].
impl Transaction {
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        ask!(self, store => store.execute(statement).await)
    }

    pub(crate) async fn insert(&mut self, insert: Insert) -> Result<(), Error> {
        ask!(self, store => store.insert(insert).await)
    }

    pub(crate) async fn all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        ask!(self, store => store.all(statement).await)
    }

    pub(crate) async fn first(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        ask!(self, store => store.first(statement).await)
    }
}

/// For the writer.
impl Transaction {
    /// Whether there are tables besides the log's own.
    pub(crate) fn has_tables(&self) -> bool {
        !matches!(self.0, Connection::Memory(_))
    }

    /// Several statements without values, for migrations.
    pub(crate) async fn script(&mut self, text: &'static str) -> Result<(), Error> {
        ask!(self, store => store.script(text).await)
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        ask!(self, store => store.begin().await)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        ask!(self, store => store.commit().await)
    }

    /// Ends a transaction that failed. When even that fails the next [`Transaction::begin`] connects anew.
    pub(crate) async fn rollback(&mut self) {
        ask!(self, store => store.rollback().await);
    }

    /// Begins a part that can be undone alone.
    pub(crate) async fn begin_part(&mut self) -> Result<(), Error> {
        ask!(self, store => store.part("SAVEPOINT part").await)
    }

    pub(crate) async fn keep_part(&mut self) -> Result<(), Error> {
        ask!(self, store => store.part("RELEASE SAVEPOINT part").await)
    }

    pub(crate) async fn undo_part(&mut self) -> Result<(), Error> {
        ask!(self, store => store.part("ROLLBACK TO SAVEPOINT part").await)?;
        self.keep_part().await
    }

    /// Writes a batch inside the open transaction.
    pub(crate) async fn write(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        ask!(self, store => store.write(fence, rows).await)
    }

    /// Writes a batch in a transaction of its own. After an error it may still be open: roll back.
    pub(crate) async fn write_alone(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        ask!(self, store => store.write_alone(fence, rows).await)
    }

    /// Takes the log over: the service that it belongs to, its incarnation, and a new epoch. `seed` is the incarnation
    /// of a new log.
    pub(crate) async fn take_over(&mut self, service: &str, seed: u64) -> Result<Owned, Error> {
        ask!(self, store => store.take_over(service, seed).await)
    }

    /// The lease under which the log is held, to be renewed beside this connection; none where nobody else can write.
    pub(crate) fn lease(&self) -> Option<Box<dyn Lease>> {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Connection::Postgres(store) => store.lease(),
            _ => None,
        }
    }

    /// Renews the lease under which the log is held, if there is one, in the open transaction.
    pub(crate) async fn renew(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            #[cfg(feature = "postgres")]
            Connection::Postgres(store) => store.renew().await,
            _ => Ok(()),
        }
    }

    /// The commands among the ids that were accepted before.
    pub(crate) async fn known(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
        ask!(self, store => store.known(ids).await)
    }

    /// The command ids of the newest events, the oldest first, one for each event.
    pub(crate) async fn newest_commands(&mut self, events: usize) -> Result<Vec<Uuid>, Error> {
        ask!(self, store => store.newest_commands(events).await)
    }

    /// The versions of those of the streams that have events.
    pub(crate) async fn versions(&mut self, streams: &[Arc<str>]) -> Result<HashMap<String, i64>, Error> {
        ask!(self, store => store.versions(streams).await)
    }

    /// Writes a snapshot in the place of the stream's last one, outside of any transaction.
    pub(crate) async fn put_snapshot(&mut self, row: SnapshotRow) -> Result<(), Error> {
        ask!(self, store => store.put_snapshot(row).await)
    }

    /// The events after a position.
    pub(crate) async fn page(&mut self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        ask!(self, store => store.page(after, limit).await)
    }

    /// The events of a stream after a version.
    pub(crate) async fn stream(&mut self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        ask!(self, store => store.stream(stream, after, limit).await)
    }

    /// Forgets some of the commands from before a time.
    pub(crate) async fn forget(&mut self, before_us: i64) -> Result<(), Error> {
        ask!(self, store => store.forget(before_us).await)
    }

    /// Tidies up while nothing is written.
    pub(crate) async fn tidy(&mut self) -> Result<(), Error> {
        ask!(self, store => store.tidy().await)
    }

    pub(crate) async fn close(self) -> Result<(), Error> {
        match self.0 {
            Connection::Sqlite(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Connection::Postgres(store) => store.close().await,
            Connection::Memory(_) => Ok(()),
        }
    }
}

/// For logs that are carried into a server.
#[cfg(feature = "postgres")]
impl Transaction {
    fn server(&mut self) -> Result<&mut postgres::Writer, Error> {
        match &mut self.0 {
            Connection::Postgres(store) => Ok(store),
            _ => Err(Error::NotMoved("logs are carried into a PostgreSQL database alone".to_owned())),
        }
    }

    /// Goes on in the schema of another log; whether there is one.
    pub(crate) async fn enter(&mut self, log: &Store) -> Result<bool, Error> {
        let schema = log.schema()?;
        self.server()?.enter(schema).await
    }

    pub(crate) async fn columns(&mut self) -> Result<Vec<Found>, Error> {
        self.server()?.columns().await
    }

    pub(crate) async fn put(&mut self, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), Error> {
        self.server()?.put(table, rows).await
    }

    pub(crate) async fn number_on(&mut self, table: &Table) -> Result<(), Error> {
        self.server()?.number_on(table).await
    }
}

/// A log that was taken over.
#[derive(Debug)]
pub(crate) struct Owned {
    pub incarnation: String,
    pub epoch: i64,
    pub head: i64,
    /// When the last event was recorded; 0 when there is none.
    pub recorded_at_us: i64,
}
