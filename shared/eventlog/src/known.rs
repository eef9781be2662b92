//! Commands that were accepted before: the idempotency.

use std::collections::{HashMap, HashSet, VecDeque};

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use uuid::Uuid;

use crate::event::uuid_at;
use crate::identity::FINGERPRINT_BYTES;
use crate::insert::pieces;
use crate::{Committed, Error};

/// Days for which a repeated command is answered with the first result.
const KEPT_DAYS: i64 = 30;
const MICROSECONDS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// Rows that one step of the pruning looks at: well under a millisecond. At one step a minute it walks 7 million a day.
const PRUNE_ROWS: i64 = 5_000;

/// An accepted command.
#[derive(Clone)]
pub(crate) struct Known {
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    pub committed: Committed,
}

/// Ids of the last commands that are remembered: some minutes of a busy log, within which nearly all repeats come.
const RECENT_MAX: usize = 65_536;

/// The last commands: a batch with one of them is not taken for new. That it would be found out is no help: the
/// aggregates of the batch would have to be read anew.
#[derive(Default)]
pub(crate) struct Recent {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Recent {
    pub fn has(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub fn put(&mut self, id: Uuid) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Looks the ids up.
pub(crate) async fn lookup(connection: &mut SqliteConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
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
pub(crate) struct Pruner {
    after: Vec<u8>,
}

impl Pruner {
    /// Deletes the expired rows of the next piece.
    pub async fn step(&mut self, connection: &mut SqliteConnection, now_us: i64) -> Result<(), Error> {
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
            .bind(now_us - KEPT_DAYS * MICROSECONDS_PER_DAY)
            .execute(&mut *connection)
            .await?;
        self.after = end.unwrap_or_default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;
    use crate::open::TABLES;

    #[test]
    fn as_many_recent_commands_are_kept_as_there_is_room_for() {
        let mut recent = Recent::default();
        (0..RECENT_MAX as u128 + 2).for_each(|id| recent.put(Uuid::from_u128(id)));
        recent.put(Uuid::from_u128(5));
        let has = |id: usize| recent.has(Uuid::from_u128(id as u128));
        assert_eq!([has(1), has(2), has(RECENT_MAX + 1)], [false, true, true]);
        assert_eq!((recent.ids.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
    }

    async fn left(connection: &mut SqliteConnection) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM commands").fetch_one(connection).await.unwrap()
    }

    #[tokio::test]
    async fn only_expired_commands_go_and_the_walk_begins_anew() {
        // More rows than one step looks at, every other one 31 days old.
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(TABLES).execute(&mut connection).await.unwrap();
        let now_us = 100 * MICROSECONDS_PER_DAY;
        sqlx::query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             INSERT INTO commands SELECT randomblob(16), x'00', 1, 1, 1, x'', iif(i % 2, ?1, ?2) FROM n",
        )
        .bind(now_us - 31 * MICROSECONDS_PER_DAY)
        .bind(now_us - 29 * MICROSECONDS_PER_DAY)
        .execute(&mut connection)
        .await
        .unwrap();
        let mut pruner = Pruner::default();
        pruner.step(&mut connection, now_us).await.unwrap();
        let after_one = left(&mut connection).await;
        assert!((9_000..10_000).contains(&after_one), "a step is bounded: {after_one} are left");
        pruner.step(&mut connection, now_us).await.unwrap();
        pruner.step(&mut connection, now_us).await.unwrap();
        assert_eq!(left(&mut connection).await, 6_000);
        pruner.step(&mut connection, now_us + 2 * MICROSECONDS_PER_DAY).await.unwrap();
        assert!(left(&mut connection).await < 6_000, "it begins anew");
    }
}
