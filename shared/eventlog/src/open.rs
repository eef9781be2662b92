//! Opening: tables, migrations, the incarnation, and views that were not there before.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use vocabulary::{Clock, Entropy};

use crate::{Error, View, read, view};

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
/// Connections for reading; SQLite reads are short and in memory mostly.
const READERS: u32 = 4;
/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Events per step of the catching up of a view.
const VIEW_PAGE: u32 = 1_000;

/// How a log is opened.
pub struct Options {
    /// The service whose log this is.
    pub service: &'static str,
    /// The database file. Its folder must exist.
    pub file: PathBuf,
    /// Name and SQL of the service's own tables, applied once each, in this order.
    pub migrations: &'static [(&'static str, &'static str)],
    /// The projections kept in this database.
    pub views: Vec<Arc<dyn View>>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where the incarnation comes from.
    pub entropy: Arc<dyn Entropy>,
}

/// What the writer begins with.
pub(crate) struct Start {
    pub head: i64,
    pub epoch: i64,
    pub recorded_at_us: i64,
    pub views: Vec<Arc<dyn View>>,
    pub clock: Arc<dyn Clock>,
}

/// An opened database.
pub(crate) struct Opened {
    pub connection: SqliteConnection,
    /// For a new connection when the old one is in an unknown state.
    pub writing: SqliteConnectOptions,
    pub reader: SqlitePool,
    pub source: String,
    pub start: Start,
}

/// The log's own tables.
pub(crate) const TABLES: &str = "
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
CREATE TABLE IF NOT EXISTS log_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_migrations(name TEXT PRIMARY KEY, hash BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_views(
    name TEXT PRIMARY KEY, position INTEGER NOT NULL, live INTEGER NOT NULL) WITHOUT ROWID;
";

/// Opens the writer's connection and the readers.
pub(crate) async fn open(options: Options) -> Result<Opened, Error> {
    let writing = SqliteConnectOptions::new()
        .filename(&options.file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE)
        .statement_cache_capacity(WRITER_STATEMENTS)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging();
    let mut connection = writing.connect().await?;
    assert_version(&mut connection).await?;
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
    let incarnation = incarnation(&mut tx, options.service, options.entropy.as_ref()).await?;
    migrate(&mut tx, options.migrations).await?;
    sqlx::query("UPDATE log_head SET epoch = epoch + 1 WHERE id = 1").execute(&mut *tx).await?;
    let (head, epoch): (i64, i64) =
        sqlx::query_as("SELECT last_position, epoch FROM log_head WHERE id = 1").fetch_one(&mut *tx).await?;
    let tail: Option<(i64, i64)> =
        sqlx::query_as("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1")
            .fetch_optional(&mut *tx)
            .await?;
    let (last, recorded_at_us) = tail.unwrap_or((0, 0));
    if last != head {
        return Err(Error::Damaged { head, last });
    }
    for view in &options.views {
        catch_up(&mut tx, view.as_ref(), head).await?;
    }
    retire_views(&mut tx, &options.views, head).await?;
    tx.commit().await?;
    let reading = SqliteConnectOptions::new()
        .filename(&options.file)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", READER_CACHE)
        .row_buffer_size(ROW_BUFFER)
        .disable_statement_logging();
    let reader =
        SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false).connect_with(reading).await?;
    let start = Start { head, epoch, recorded_at_us, views: options.views, clock: options.clock };
    Ok(Opened { connection, writing, reader, source: format!("{}@{incarnation}", options.service), start })
}

async fn assert_version(connection: &mut SqliteConnection) -> Result<(), Error> {
    let found: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await?;
    let mut numbers = found.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    if (next(), next(), next()) < OLDEST_SQLITE { Err(Error::OldSqlite { found }) } else { Ok(()) }
}

async fn incarnation(tx: &mut SqliteConnection, service: &str, entropy: &dyn Entropy) -> Result<String, Error> {
    let put = "INSERT OR IGNORE INTO log_meta(key, value) VALUES (?, ?)";
    sqlx::query(put).bind("service").bind(service).execute(&mut *tx).await?;
    sqlx::query(put).bind("incarnation").bind(format!("{:016x}", entropy.seed())).execute(&mut *tx).await?;
    let get = "SELECT value FROM log_meta WHERE key = ?";
    let found: String = sqlx::query_scalar(get).bind("service").fetch_one(&mut *tx).await?;
    if found != service {
        return Err(Error::OtherService { expected: service.to_owned(), found });
    }
    Ok(sqlx::query_scalar(get).bind("incarnation").fetch_one(&mut *tx).await?)
}

async fn migrate(tx: &mut SqliteConnection, migrations: &'static [(&'static str, &'static str)]) -> Result<(), Error> {
    for &(name, sql) in migrations {
        let hash = blake3::hash(sql.as_bytes()).as_bytes().to_vec();
        let applied: Option<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM log_migrations WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        match applied {
            Some(applied) if applied == hash => {}
            Some(_) => return Err(Error::MigrationEdited { name: name.to_owned() }),
            None => {
                sqlx::raw_sql(sql).execute(&mut *tx).await?;
                let put = "INSERT INTO log_migrations(name, hash) VALUES (?, ?)";
                sqlx::query(put).bind(name).bind(hash).execute(&mut *tx).await?;
            }
        }
    }
    Ok(())
}

/// Feeds a view with what it has not seen. A live view has seen everything, whatever its row's position says.
async fn catch_up(tx: &mut SqliteConnection, view: &dyn View, head: i64) -> Result<(), Error> {
    let known: Option<(i64, bool)> = sqlx::query_as("SELECT position, live FROM log_views WHERE name = ?")
        .bind(view.name())
        .fetch_optional(&mut *tx)
        .await?;
    let mut position = match known {
        Some((_, true)) => head,
        Some((position, false)) => position,
        None => 0,
    };
    while position < head {
        let page = read::page(tx, position, VIEW_PAGE).await?;
        let Some(last) = page.last() else { break };
        position = last.position;
        view::apply(view, tx, &page).await?;
    }
    let put = "INSERT INTO log_views(name, position, live) VALUES (?, ?, 1) ON CONFLICT(name) DO UPDATE SET live = 1";
    sqlx::query(put).bind(view.name()).bind(head).execute(&mut *tx).await?;
    Ok(())
}

/// Remembers how far the views have come that are not registered any more.
async fn retire_views(tx: &mut SqliteConnection, views: &[Arc<dyn View>], head: i64) -> Result<(), Error> {
    let live: Vec<String> = sqlx::query_scalar("SELECT name FROM log_views WHERE live = 1").fetch_all(&mut *tx).await?;
    for name in live.iter().filter(|name| !views.iter().any(|view| view.name() == name.as_str())) {
        let put = "UPDATE log_views SET live = 0, position = ? WHERE name = ?";
        sqlx::query(put).bind(head).bind(name).execute(&mut *tx).await?;
    }
    Ok(())
}
