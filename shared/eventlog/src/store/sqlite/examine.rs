//! A look at a database from outside of its service, which need not run: what it is, how far it has come, and whether
//! it is sound. Nothing is changed.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::connect;
use crate::Error;

/// Faults of one kind that are told; a database that is damaged everywhere says no more with all of them.
const FAULTS_MAX: i64 = 20;

/// What a log's database says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// The service that it belongs to.
    pub service: String,
    /// Which log of that service it is.
    pub incarnation: String,
    /// The position of the last event.
    pub head: i64,
    /// How far this service has come in the logs of others.
    pub cursors: Vec<ExaminedCursor>,
}

/// How far a projection has come in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExaminedCursor {
    /// Which projection.
    pub projection: String,
    /// `service`, or `service@incarnation`.
    pub source: String,
    /// The last position that it has taken in.
    pub position: i64,
}

async fn open(file: &Path) -> Result<SqliteConnection, Error> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
    Ok(options.connect().await?)
}

/// Reads what a database says about itself.
///
/// # Errors
/// When there is none, or it is no log, or it cannot be read.
pub async fn examine(file: &Path) -> Result<Examined, Error> {
    let mut connection = open(file).await?;
    let meta = "SELECT value FROM log_meta WHERE key = $1";
    let service = sqlx::query_scalar(meta).bind("service").fetch_one(&mut connection).await?;
    let incarnation = sqlx::query_scalar(meta).bind("incarnation").fetch_one(&mut connection).await?;
    // Cursors before the head: while a service runs, both only grow.
    let cursors: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT projection, source, last_position FROM projection_cursor ORDER BY projection, source")
            .fetch_all(&mut connection)
            .await?;
    let head = sqlx::query_scalar("SELECT last_position FROM log_head WHERE id = 1").fetch_one(&mut connection).await?;
    let cursor = |(projection, source, position)| ExaminedCursor { projection, source, position };
    Ok(Examined { service, incarnation, head, cursors: cursors.into_iter().map(cursor).collect() })
}

/// Writes back what lies in the log beside the database file, so that the file alone is whole, and its copy a backup.
/// No service has it open. False when somebody reads it: then its last commits stay where they are.
///
/// # Errors
/// When it cannot be opened or written.
pub async fn write_back(file: &Path) -> Result<bool, Error> {
    let options = connect::writing(file).create_if_missing(false);
    let mut connection = options.connect().await?;
    // Its answer is a row, also when it could not: somebody reads the database.
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(busy == 0)
}

/// Reads the whole database and answers what is wrong with it, in words; nothing when it is sound. Takes seconds for
/// each gigabyte.
///
/// # Errors
/// When it cannot be opened.
pub async fn faults(file: &Path) -> Result<Vec<String>, Error> {
    let mut connection = open(file).await?;
    let mut found = Vec::new();
    match integrity(&mut connection).await {
        Ok(faults) => found.extend(faults),
        Err(error) => found.push(error.to_string()),
    }
    match laws(&mut connection).await {
        Ok(faults) => found.extend(faults),
        Err(error) => found.push(format!("its events cannot all be read: {error}")),
    }
    Ok(found)
}

async fn integrity(connection: &mut SqliteConnection) -> Result<Vec<String>, Error> {
    let check = format!("PRAGMA integrity_check({FAULTS_MAX})");
    let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(check)).fetch_all(connection).await?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// What holds for every log: positions and versions have no gaps, and the head is the last event.
async fn laws(connection: &mut SqliteConnection) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let head: i64 =
        sqlx::query_scalar("SELECT last_position FROM log_head WHERE id = 1").fetch_one(&mut *connection).await?;
    let (count, last): (i64, i64) =
        sqlx::query_as("SELECT count(*), coalesce(max(position), 0) FROM events").fetch_one(&mut *connection).await?;
    // A service that runs has appended since its head was read.
    if last < head {
        found.push(Error::Damaged { head, last }.to_string());
    }
    if count != last {
        found.push(format!("there are {count} events, and the last one is at position {last}"));
    }
    let torn: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT stream_id, count(*), max(version) FROM events GROUP BY stream_id \
         HAVING count(*) <> max(version) OR min(version) <> 1 ORDER BY stream_id LIMIT $1",
    )
    .bind(FAULTS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let shown = |(stream, count, version)| format!("stream {stream:?} has {count} events up to version {version}");
    found.extend(torn.into_iter().map(shown));
    found.extend(snapshots_ahead(connection).await?);
    Ok(found)
}

/// Snapshots beyond the end of their streams: the log was set back, and they know what it has lost.
async fn snapshots_ahead(connection: &mut SqliteConnection) -> Result<Vec<String>, Error> {
    let has_table = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'snapshots'";
    // A database that no build with snapshots has opened yet has none.
    if sqlx::query_scalar::<_, i64>(has_table).fetch_one(&mut *connection).await? == 0 {
        return Ok(Vec::new());
    }
    let ahead: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT stream_id, version, last FROM (
            SELECT stream_id, version,
                coalesce((SELECT max(own.version) FROM events AS own
                    WHERE own.stream_id = snapshots.stream_id), 0) AS last
            FROM snapshots)
         WHERE version > last ORDER BY stream_id LIMIT $1",
    )
    .bind(FAULTS_MAX)
    .fetch_all(connection)
    .await?;
    let shown = |(stream, version, last)| {
        format!("the snapshot of stream {stream:?} is at version {version}, its last event at {last}")
    };
    Ok(ahead.into_iter().map(shown).collect())
}
