//! Events and commands that are there before a figure is taken.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::figures::series::{META, sample};

/// Streams that they are spread over.
const STREAMS: i64 = 10_000;

/// Puts so many into an empty log that nobody has open.
pub async fn put(file: &Path, count: i64) -> sqlx::Result<()> {
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await?;
    let numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)";
    for (into, row) in [
        (
            "events",
            "n, 'before-' || ((n - 1) % ?), (n - 1) / ? + 1, randomblob(16), 'Observed', 1, randomblob(16),
             1700000000000000, ?, ?",
        ),
        ("commands", "randomblob(16), randomblob(32), n, n, 1, x'', 1700000000000000"),
    ] {
        let text = format!("INSERT INTO {into} {numbers} SELECT {row} FROM numbers WHERE n <= ?");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(count);
        if into == "events" {
            query = query.bind(STREAMS).bind(STREAMS).bind(sample()).bind(META);
        }
        query.bind(count).execute(&mut connection).await?;
    }
    sqlx::query("UPDATE log_head SET last_position = ?").bind(count).execute(&mut connection).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await
}
