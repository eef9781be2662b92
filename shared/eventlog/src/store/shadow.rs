//! A second set of a log's tables beside its own, in which views are made anew: a file, or a schema of the same
//! database. What is in it may be lost at any time; whoever comes next begins with none of it.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use super::postgres;
use super::transaction::Connection;
use super::{Place, Store, Transaction, sqlite};
use crate::Error;
use crate::content::{FoundColumn, Table};

/// See the module.
pub(crate) struct Shadow {
    /// Its connection.
    pub tx: Transaction,
    live: Live,
}

/// Where the log itself is.
enum Live {
    Sqlite {
        log: PathBuf,
        shadow: PathBuf,
        /// Held until the end: two at once would take each other's file away.
        lock: PathBuf,
        _held: File,
    },
    #[cfg(feature = "postgres")]
    Postgres { schema: String },
}

impl Shadow {
    /// Makes one that is empty. What an earlier one has left is removed.
    ///
    /// # Errors
    /// When there is one already and somebody has it, or it cannot be made.
    pub async fn open(log: &Store) -> Result<Self, Error> {
        match &log.0 {
            Place::Sqlite(file) => {
                let (shadow, lock) = (file.with_extension("rebuild"), file.with_extension("rebuild-lock"));
                let held = alone(&lock)?;
                remove_file(&shadow)?;
                let writer = sqlite::Writer::shadow(&shadow).await?;
                let live = Live::Sqlite { log: file.to_path_buf(), shadow, lock, _held: held };
                Ok(Self { tx: Transaction(Connection::Sqlite(Box::new(writer))), live })
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let writer = postgres::Writer::shadow(&address.shadow()?).await?;
                let live = Live::Postgres { schema: address.schema().to_owned() };
                Ok(Self { tx: Transaction(Connection::Postgres(Box::new(writer))), live })
            }
            Place::Memory(_) => Err(Error::NotRebuilt("a log in memory has no views".to_owned())),
        }
    }

    /// Brings the log itself within reach, and answers what stands before the names of its tables in texts.
    pub async fn meet(&mut self) -> Result<String, Error> {
        match (&self.live, &mut self.tx.0) {
            (Live::Sqlite { log, .. }, Connection::Sqlite(writer)) => {
                writer.attach(log).await?;
                Ok(sqlite::ATTACHED.to_owned())
            }
            #[cfg(feature = "postgres")]
            (Live::Postgres { schema }, _) => Ok(schema.clone()),
            _ => no_tables(),
        }
    }

    /// Begins a transaction in which all that is read of the log is of one moment. It holds nobody up.
    pub async fn look(&mut self) -> Result<(), Error> {
        match &mut self.tx.0 {
            Connection::Sqlite(writer) => writer.look().await,
            #[cfg(feature = "postgres")]
            Connection::Postgres(writer) => writer.look().await,
            Connection::Memory(_) => no_tables(),
        }
    }

    /// Begins a transaction in which nobody else writes these tables of the log: who wants to waits until it is over.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file has one writer at a time"))]
    pub async fn hold(&mut self, tables: &[String]) -> Result<(), Error> {
        match &mut self.tx.0 {
            // A file has one writer at a time, of all of its tables.
            Connection::Sqlite(writer) => writer.hold().await,
            #[cfg(feature = "postgres")]
            Connection::Postgres(writer) => writer.hold(tables).await,
            Connection::Memory(_) => no_tables(),
        }
    }

    /// A table as it is here.
    pub async fn table(&mut self, name: &str) -> Result<Table, Error> {
        let columns: Vec<FoundColumn> = match &mut self.tx.0 {
            Connection::Sqlite(writer) => writer.columns_of(name).await?,
            #[cfg(feature = "postgres")]
            Connection::Postgres(writer) => writer.columns_of(name).await?,
            Connection::Memory(_) => return no_tables(),
        };
        Table::new(name.to_owned(), columns)
    }

    /// Ends it.
    pub async fn remove(self) -> Result<(), Error> {
        match (self.live, self.tx.0) {
            (Live::Sqlite { shadow, lock, _held, .. }, Connection::Sqlite(writer)) => {
                writer.leave().await?;
                remove_file(&shadow)?;
                remove_file(&lock)
            }
            #[cfg(feature = "postgres")]
            (Live::Postgres { .. }, Connection::Postgres(writer)) => writer.leave().await,
            _ => no_tables(),
        }
    }
}

fn no_tables<T>() -> Result<T, Error> {
    Err(Error::NotRebuilt("only files and servers have tables".to_owned()))
}

fn failed(error: std::io::Error) -> Error {
    sqlx::Error::Io(error).into()
}

fn remove_file(file: &Path) -> Result<(), Error> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Takes a lock that ends with the process.
fn alone(lock: &Path) -> Result<File, Error> {
    let file = File::create(lock).map_err(failed)?;
    let elsewhere = || Error::NotRebuilt(format!("views of this log are rebuilt already: {} is held", lock.display()));
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(elsewhere()),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Whoever had it may have removed it in between, and somebody else may hold the next one.
    let own = file.metadata().map_err(failed)?.ino();
    match std::fs::metadata(lock).is_ok_and(|found| found.ino() == own) {
        true => Ok(file),
        false => Err(elsewhere()),
    }
}
