//! Reads on the read-only pool: pages, never long cursors, so that the WAL can be reset.

use sqlx::{AssertSqlSafe, Executor, SqlitePool};

use crate::event::COLUMNS;
use crate::{Error, RecordedEvent};

/// The events after a position.
pub(crate) async fn page<'c>(
    executor: impl Executor<'c, Database = sqlx::Sqlite>,
    after: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE position > ? ORDER BY position LIMIT ?");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(i64::from(limit)).fetch_all(executor).await?;
    rows.iter().map(RecordedEvent::from_row).collect()
}

/// The events of a stream after a version.
pub(crate) async fn stream(
    pool: &SqlitePool,
    stream: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE stream_id = ? AND version > ? ORDER BY version LIMIT ?");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(stream).bind(after).bind(i64::from(limit));
    query.fetch_all(pool).await?.iter().map(RecordedEvent::from_row).collect()
}

/// How far a projection has come.
pub(crate) async fn cursor(pool: &SqlitePool, projection: &str, source: &str) -> Result<i64, Error> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT last_position FROM projection_cursor WHERE projection = ? AND source = ? AND partition = 0",
    )
    .bind(projection)
    .bind(source)
    .fetch_optional(pool)
    .await?;
    Ok(found.unwrap_or(0))
}
