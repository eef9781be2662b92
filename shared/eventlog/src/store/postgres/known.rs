//! The table of commands.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::known::Known;
use crate::{Committed, Error};

/// Rows that one step of the pruning looks at.
const PRUNE_ROWS: i64 = 5_000;

/// Looks the ids up.
pub(super) async fn lookup(connection: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
    let get = "SELECT command_id, fingerprint, first_position, last_position, version, reply FROM commands
               WHERE command_id = ANY($1)";
    let mut known = HashMap::new();
    for row in sqlx::query(get).bind(ids.to_vec()).fetch_all(connection).await? {
        let fingerprint: &[u8] = row.try_get(1)?;
        let (first, last): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
        let committed = Committed {
            position: last,
            version: row.try_get(4)?,
            events: usize::try_from(last + 1 - first).unwrap_or(0),
            repeated: true,
            reply: row.try_get(5)?,
        };
        let fingerprint = fingerprint.try_into().map_err(|_| Error::Decode("a command's fingerprint".to_owned()))?;
        known.insert(row.try_get(0)?, Known { fingerprint, committed });
    }
    Ok(known)
}

/// The commands of the newest events, the oldest first.
pub(super) async fn newest(connection: &mut PgConnection, events: usize) -> Result<Vec<Uuid>, Error> {
    let get = "SELECT coalesce(array_agg(command_id ORDER BY position), '{}') FROM events
               WHERE position > (SELECT max(position) FROM events) - $1";
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    Ok(sqlx::query_scalar(get).bind(events).fetch_one(connection).await?)
}

/// Walks the table in the order of its key, a piece at a time, so that no index on the time is needed.
#[derive(Default)]
pub(super) struct Pruner {
    after: Uuid,
}

impl Pruner {
    /// Deletes the expired rows of the next piece.
    pub async fn step(&mut self, connection: &mut PgConnection, before_us: i64) -> Result<(), Error> {
        let end = "SELECT command_id FROM commands WHERE command_id > $1 ORDER BY command_id LIMIT 1 OFFSET $2";
        let end = sqlx::query_scalar(end).bind(self.after).bind(PRUNE_ROWS);
        let end: Option<Uuid> = end.fetch_optional(&mut *connection).await?;
        sqlx::query("DELETE FROM commands WHERE command_id > $1 AND command_id <= $2 AND at < $3")
            .bind(self.after)
            .bind(end.unwrap_or(Uuid::max()))
            .bind(before_us)
            .execute(connection)
            .await?;
        self.after = end.unwrap_or_default();
        Ok(())
    }
}
