//! The table of commands.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use uuid::Uuid;

use super::insert::pieces;
use crate::known::Known;
use crate::{Committed, Error};

/// Rows that one step of the pruning looks at: well under a millisecond. At one step a minute it walks 7 million a day.
const PRUNE_ROWS: i64 = 5_000;

/// Looks the ids up.
pub(super) async fn lookup(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
    let mut known = HashMap::new();
    for piece in pieces(ids) {
        let places = vec!["?"; piece.len()].join(",");
        let sql = format!(
            "SELECT command_id, fingerprint, first_position, last_position, version, reply FROM commands \
             WHERE command_id IN ({places})"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in piece {
            query = query.bind(id.as_bytes().to_vec());
        }
        for row in query.fetch_all(&mut *connection).await? {
            known.insert(uuid_at(&row, 0)?, from_row(&row)?);
        }
    }
    Ok(known)
}

/// The commands of the newest events, the oldest first. One text, since a row for each would be copied on its own.
pub(super) async fn newest(connection: &mut SqliteConnection, events: usize) -> Result<Vec<Uuid>, Error> {
    let get = "SELECT group_concat(hex(command_id), ' ') FROM (
        SELECT command_id FROM events WHERE position > (SELECT max(position) FROM events) - ? ORDER BY position)";
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    let text: Option<String> = sqlx::query_scalar(get).bind(events).fetch_one(connection).await?;
    let ids = text.as_deref().unwrap_or_default().split_ascii_whitespace().map(Uuid::try_parse);
    ids.collect::<Result<_, _>>().map_err(|error| Error::Decode(format!("the command of an event: {error}")))
}

fn from_row(row: &SqliteRow) -> Result<Known, Error> {
    let fingerprint: &[u8] = row.try_get_unchecked(1)?;
    let (first, last): (i64, i64) = (row.try_get_unchecked(2)?, row.try_get_unchecked(3)?);
    Ok(Known {
        fingerprint: fingerprint.try_into().map_err(|_| Error::Decode("a command's fingerprint".to_owned()))?,
        committed: Committed {
            position: last,
            version: row.try_get_unchecked(4)?,
            events: usize::try_from(last + 1 - first).unwrap_or(0),
            repeated: true,
            reply: row.try_get_unchecked(5)?,
        },
    })
}

/// Walks the table in the order of its key, a piece at a time, so that no index on the time is needed.
#[derive(Default)]
pub(super) struct Pruner {
    after: Vec<u8>,
}

impl Pruner {
    /// Deletes the expired rows of the next piece.
    pub async fn step(&mut self, connection: &mut SqliteConnection, before_us: i64) -> Result<(), Error> {
        let end: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT command_id FROM commands WHERE command_id > ? ORDER BY command_id LIMIT 1 OFFSET ?",
        )
        .bind(self.after.as_slice())
        .bind(PRUNE_ROWS)
        .fetch_optional(&mut *connection)
        .await?;
        // 17 bytes of 0xff are greater than every id.
        let until = end.clone().unwrap_or_else(|| vec![0xff; 17]);
        sqlx::query("DELETE FROM commands WHERE command_id > ? AND command_id <= ? AND at < ?")
            .bind(self.after.as_slice())
            .bind(until)
            .bind(before_us)
            .execute(&mut *connection)
            .await?;
        self.after = end.unwrap_or_default();
        Ok(())
    }
}

/// Reads a UUID stored as 16 bytes.
fn uuid_at(row: &SqliteRow, column: usize) -> Result<Uuid, Error> {
    let bytes: &[u8] = row.try_get_unchecked(column)?;
    Uuid::from_slice(bytes).map_err(|error| Error::Decode(format!("column {column} is not a UUID: {error}")))
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::super::connect::TABLES;
    use super::*;

    const DAY_US: i64 = 24 * 60 * 60 * 1_000_000;

    async fn left(connection: &mut SqliteConnection) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM commands").fetch_one(connection).await.unwrap()
    }

    #[tokio::test]
    async fn only_expired_commands_go_and_the_walk_begins_anew() {
        // More rows than one step looks at, every other one 31 days old.
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(TABLES).execute(&mut connection).await.unwrap();
        let now_us = 100 * DAY_US;
        sqlx::query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             INSERT INTO commands SELECT randomblob(16), x'00', 1, 1, 1, x'', iif(i % 2, ?1, ?2) FROM n",
        )
        .bind(now_us - 31 * DAY_US)
        .bind(now_us - 29 * DAY_US)
        .execute(&mut connection)
        .await
        .unwrap();
        let mut pruner = Pruner::default();
        pruner.step(&mut connection, now_us - 30 * DAY_US).await.unwrap();
        let after_one = left(&mut connection).await;
        assert!((9_000..10_000).contains(&after_one), "a step is bounded: {after_one} are left");
        pruner.step(&mut connection, now_us - 30 * DAY_US).await.unwrap();
        pruner.step(&mut connection, now_us - 30 * DAY_US).await.unwrap();
        assert_eq!(left(&mut connection).await, 6_000);
        pruner.step(&mut connection, now_us - 28 * DAY_US).await.unwrap();
        assert!(left(&mut connection).await < 6_000, "it begins anew");
    }
}
