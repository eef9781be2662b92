//! Where a log is kept. The rest of the crate asks a [`Transaction`] and a [`Reader`] and does not know which store
//! answers; a service does not even know which there are.
//!
//! Every store promises: one transaction at a time through the writer's [`Transaction`]; a [`Fence`] that fails when
//! another writer has taken over; keys that are refused when they are taken (positions, versions of a stream, command
//! ids); nothing half written.

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod reader;
mod rows;
mod shadow;
mod sqlite;
mod transaction;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use memory::MemoryStore;
pub use reader::Reader;
use reader::Reading;
pub(crate) use rows::{CommandRow, CursorAt, Fence, Rows};
pub(crate) use shadow::Shadow;
use transaction::Connection;
pub use transaction::Transaction;

use crate::Error;
use crate::lease::Holder;

/// Where one log is kept.
#[derive(Clone)]
pub struct Store(Place);

#[derive(Clone)]
enum Place {
    /// A SQLite file.
    Sqlite(Arc<PathBuf>),
    /// A schema of a PostgreSQL database.
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Address>),
    /// Memory, for tests: the log without tables of others.
    Memory(MemoryStore),
}

/// Where it is, for people: without a password.
impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Sqlite(file) => write!(f, "{}", file.display()),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => write!(f, "{address:?}"),
            Place::Memory(_) => write!(f, "memory"),
        }
    }
}

impl Store {
    /// A SQLite database file; its folder is made when it is not there.
    pub fn sqlite(file: impl Into<PathBuf>) -> Self {
        Self(Place::Sqlite(Arc::new(file.into())))
    }

    /// A schema of a PostgreSQL database; it is made when it is not there.
    ///
    /// # Errors
    /// When the URL is none, or the schema's name is not plain.
    #[cfg(feature = "postgres")]
    pub fn postgres(url: &str, schema: &str) -> Result<Self, Error> {
        Ok(Self(Place::Postgres(Arc::new(postgres::Address::new(url, schema)?))))
    }

    /// The same log for a process that others may take it over from, and it from them: it holds it under a lease,
    /// where the store has leases. A file has one process.
    #[must_use]
    pub fn held_by(self, holder: Holder) -> Self {
        match self.0 {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Self(Place::Postgres(Arc::new(address.held_by(holder)))),
            place => {
                drop(holder);
                Self(place)
            }
        }
    }

    /// The same log for a process that only reads, while another one writes: it takes no commands and feeds no views,
    /// and what it answers is what the database has. Nothing changes where a log has one process.
    #[must_use]
    pub fn read_only(self) -> Self {
        match self.0 {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Self(Place::Postgres(Arc::new(address.read_only()))),
            place => Self(place),
        }
    }

    /// Whether the log is only read, beside the process that writes it.
    pub(crate) fn is_read_only(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => address.is_read_only(),
            _ => false,
        }
    }

    /// Takes the lease for a process that is about to open the log; who has it, when it is not over and somebody
    /// else's.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn claim(&self) -> Result<Option<Holder>, Error> {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => address.claim().await,
            _ => Ok(None),
        }
    }

    /// A log in memory, for tests. It has no tables for views and records.
    pub fn memory(store: &MemoryStore) -> Self {
        Self(Place::Memory(store.clone()))
    }

    /// Connects the one writer. The log's own tables are there then.
    pub(crate) async fn writer(&self) -> Result<Transaction, Error> {
        Ok(Transaction(match &self.0 {
            Place::Sqlite(file) => Connection::Sqlite(Box::new(sqlite::Writer::connect(file).await?)),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Connection::Postgres(Box::new(postgres::Writer::connect(address).await?)),
            Place::Memory(store) => Connection::Memory(store.writer()),
        }))
    }

    /// Connects whoever carries logs from elsewhere into the server that has this store.
    #[cfg(feature = "postgres")]
    pub(crate) async fn carrier(&self) -> Result<Transaction, Error> {
        let carrier = postgres::Writer::carrier(self.schema()?).await?;
        Ok(Transaction(Connection::Postgres(Box::new(carrier))))
    }

    /// The schema, where it is one.
    #[cfg(feature = "postgres")]
    fn schema(&self) -> Result<&postgres::Address, Error> {
        match &self.0 {
            Place::Postgres(address) => Ok(address),
            _ => Err(Error::NotMoved(format!("{self} is no schema of a PostgreSQL database"))),
        }
    }

    /// Whether there is anything: a new file is empty until the first commit.
    ///
    /// # Errors
    /// When a server cannot be asked.
    pub async fn is_there(&self) -> Result<bool, Error> {
        match &self.0 {
            Place::Sqlite(file) => Ok(std::fs::metadata(file.as_path()).is_ok_and(|facts| facts.len() > 0)),
            #[cfg(feature = "postgres")]
            Place::Postgres(_) => {
                let reader = self.reader().await?;
                let found = reader.has_table("log_head").await;
                reader.close().await;
                found
            }
            Place::Memory(_) => Ok(false),
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::Sqlite(file) => Some(file),
            _ => None,
        }
    }

    /// Makes a file whole without what lies beside it, so that its copy is a backup; no service has it open. False when
    /// somebody reads it: then its last commits stay where they are.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub async fn write_back(&self) -> Result<bool, Error> {
        match &self.0 {
            Place::Sqlite(file) => sqlite::write_back(file).await,
            _ => Ok(true),
        }
    }

    /// Connects those who read what is committed. Close them in the end.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn reader(&self) -> Result<Reader, Error> {
        Ok(Reader::new(match &self.0 {
            Place::Sqlite(file) => Reading::Sqlite(sqlite::Readers::connect(file).await?),
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Reading::Postgres(postgres::Readers::connect(address).await?),
            Place::Memory(store) => Reading::Memory(store.clone()),
        }))
    }
}

/// Characters of what the schemas of an installation begin with: a server's names have 63, of which `_SERVICE` takes
/// the rest.
#[cfg(feature = "postgres")]
const PREFIX_MAX: usize = 40;

/// The stores of an installation, one for each service.
#[derive(Clone, Debug)]
pub struct Stores(Folder);

#[derive(Clone, Debug)]
enum Folder {
    Sqlite(PathBuf),
    /// A database, and what the names of its schemas begin with.
    #[cfg(feature = "postgres")]
    Postgres(Arc<postgres::Address>),
}

impl Stores {
    /// SQLite files in a folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(Folder::Sqlite(folder.into()))
    }

    /// Schemas of a PostgreSQL database: `PREFIX_SERVICE`.
    ///
    /// # Errors
    /// When the URL is none, or the prefix is no plain name that leaves room for a service's.
    #[cfg(feature = "postgres")]
    pub fn in_postgres(url: &str, prefix: &str) -> Result<Self, Error> {
        if prefix.len() > PREFIX_MAX {
            return Err(Error::Address(format!("prefix {prefix:?}: at most {PREFIX_MAX} characters")));
        }
        Ok(Self(Folder::Postgres(Arc::new(postgres::Address::new(url, prefix)?))))
    }

    /// The same for a process that holds leases; see [`Store::held_by`].
    #[must_use]
    pub fn held_by(self, holder: Holder) -> Self {
        match self.0 {
            #[cfg(feature = "postgres")]
            Folder::Postgres(address) => Self(Folder::Postgres(Arc::new(address.held_by(holder)))),
            folder => {
                drop(holder);
                Self(folder)
            }
        }
    }

    /// The same for a process that only reads; see [`Store::read_only`].
    #[must_use]
    pub fn read_only(&self) -> Self {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Folder::Postgres(address) => Self(Folder::Postgres(Arc::new(address.read_only()))),
            Folder::Sqlite(_) => self.clone(),
        }
    }

    /// Whether they only read.
    pub fn are_read_only(&self) -> bool {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Folder::Postgres(address) => address.is_read_only(),
            Folder::Sqlite(_) => false,
        }
    }

    /// The store of a service.
    pub fn of(&self, service: &str) -> Store {
        match &self.0 {
            Folder::Sqlite(folder) => Store::sqlite(folder.join(format!("{service}.sqlite"))),
            #[cfg(feature = "postgres")]
            Folder::Postgres(address) => Store(Place::Postgres(Arc::new(address.of(service)))),
        }
    }
}
