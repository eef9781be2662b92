//! What only the rebuilding of views needs: a file of its own, to which that of the log is attached.

use std::path::Path;

use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::{Writer, connect};
use crate::Error;
use crate::content::FoundColumn;

/// What stands before the names of the log's own tables.
pub(in crate::store) const ATTACHED: &str = "live";

/// Tries to get at the log's file, each of which waits for as long as every statement does: a minute in all.
const HOLD_TRIES: u32 = 12;

impl Writer {
    /// Opens a new file, for what may be lost.
    pub async fn shadow(file: &Path) -> Result<Self, Error> {
        // Nothing is written back to the log's file from here: only its own writer does that, as in all other places.
        let options = connect::writing(file)
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .pragma("wal_autocheckpoint", "0");
        let connection = options.connect().await?;
        Ok(Self::of(connection, options))
    }

    /// Brings the file of the log within reach; what is written there is on the disk when it is committed.
    pub async fn attach(&mut self, log: &Path) -> Result<(), Error> {
        let name = log.to_str().ok_or_else(|| Error::Address(format!("{} is no text", log.display())))?;
        let connection = self.connection();
        sqlx::query("ATTACH DATABASE ? AS live").bind(name.to_owned()).execute(&mut *connection).await?;
        sqlx::query("PRAGMA live.synchronous = FULL").execute(connection).await?;
        Ok(())
    }

    /// Begins to read; only this file is written.
    pub async fn look(&mut self) -> Result<(), Error> {
        sqlx::query("BEGIN").execute(self.connection()).await?;
        Ok(())
    }

    /// Begins when nobody else writes the log; its writer leaves little between two of its own, so this waits for its
    /// turn again and again.
    pub async fn hold(&mut self) -> Result<(), Error> {
        // Not the text of any other place: a statement that was prepared before the log was attached is kept, and
        // locks this file alone.
        let begin = "BEGIN IMMEDIATE TRANSACTION";
        let mut tries = 1;
        loop {
            match sqlx::query(begin).execute(self.connection()).await.map_err(Error::from) {
                Err(error) if error.is_busy() && tries < HOLD_TRIES => tries += 1,
                begun => return begun.map(drop),
            }
        }
    }

    /// Column, type, and the place in the primary key from 1, or 0.
    pub async fn columns_of(&mut self, table: &str) -> Result<Vec<FoundColumn>, Error> {
        let get = "SELECT name, type, pk FROM pragma_table_info(?, 'main') ORDER BY cid";
        Ok(sqlx::query_as(get).bind(table.to_owned()).fetch_all(self.connection()).await?)
    }

    /// Ends the connection and leaves the files as they are.
    pub async fn leave(self) -> Result<(), Error> {
        Ok(self.into_connection().close().await?)
    }
}
