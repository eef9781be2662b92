//! What only a file has: the log beside it, and pages that may be damaged.

use std::path::Path;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqlitePool};

use super::connect;
use crate::Error;
use crate::examine::FAULTS_MAX;

/// Writes back what lies in the log beside the database file, so that the file alone is whole, and its copy a backup.
/// No service has it open. False when somebody reads it: then its last commits stay where they are.
pub(crate) async fn write_back(file: &Path) -> Result<bool, Error> {
    let options = connect::writing(file).create_if_missing(false);
    let mut connection = options.connect().await?;
    // Its answer is a row, also when it could not: somebody reads the database.
    let (busy, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(busy == 0)
}

pub(super) async fn integrity(pool: &SqlitePool) -> Result<Vec<String>, Error> {
    let check = format!("PRAGMA integrity_check({FAULTS_MAX})");
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(check)).fetch_all(pool).await?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
