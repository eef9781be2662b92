//! How a database file is opened.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use crate::Error;

/// The first SQLite without the WAL-reset corruption.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// Pages of 4 KiB after which a commit writes the WAL back: 16 MB, so that a checkpoint is rare and the WAL stays
/// small.
const CHECKPOINT_PAGES: &str = "4000";
/// KiB of page cache of the writer; negative is SQLite's way to say KiB.
const WRITER_CACHE: &str = "-65536";
/// KiB of page cache of each reader.
const READER_CACHE: &str = "-8192";
/// Statements kept prepared on the writer: one text per small batch size and one per chunk size.
const WRITER_STATEMENTS: usize = 512;
/// Rows on their way from SQLite's thread: a page, so that the thread does not stop in the middle of one.
const ROW_BUFFER: usize = 1_024;
/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The log's own tables.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS events(
    position INTEGER PRIMARY KEY, stream_id TEXT NOT NULL, version INTEGER NOT NULL, event_id BLOB NOT NULL,
    type TEXT NOT NULL, schema INTEGER NOT NULL, command_id BLOB NOT NULL, recorded_at INTEGER NOT NULL,
    data TEXT NOT NULL, meta TEXT NOT NULL, UNIQUE(stream_id, version));
CREATE TABLE IF NOT EXISTS commands(
    command_id BLOB PRIMARY KEY, fingerprint BLOB NOT NULL, first_position INTEGER NOT NULL,
    last_position INTEGER NOT NULL, version INTEGER NOT NULL, reply BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_head(
    id INTEGER PRIMARY KEY CHECK (id = 1), last_position INTEGER NOT NULL, epoch INTEGER NOT NULL);
INSERT OR IGNORE INTO log_head(id, last_position, epoch) VALUES (1, 0, 0);
CREATE TABLE IF NOT EXISTS projection_cursor(
    projection TEXT NOT NULL, source TEXT NOT NULL, partition INTEGER NOT NULL, last_position INTEGER NOT NULL,
    PRIMARY KEY(projection, source, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots(
    stream_id TEXT PRIMARY KEY, schema INTEGER NOT NULL, version INTEGER NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS log_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_migrations(name TEXT PRIMARY KEY, hash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_views(
    name TEXT PRIMARY KEY, position INTEGER NOT NULL, live INTEGER NOT NULL) WITHOUT ROWID;
";

/// How the writer opens the file.
pub(super) fn writing(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE)
        .statement_cache_capacity(WRITER_STATEMENTS)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

/// How readers open it.
pub(super) fn reading(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", READER_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging()
}

pub(super) async fn assert_version(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SQLITE { Err(Error::OldSqlite { found }) } else { Ok(()) }
}
