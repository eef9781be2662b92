//! Reads of events, in pages.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::{Error, RecordedEvent};

const AFTER_POSITION: &str =
    "SELECT position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta
     FROM events WHERE position > $1 ORDER BY position LIMIT $2";
const OF_STREAM: &str =
    "SELECT position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta
     FROM events WHERE stream_id = $3 AND version > $1 ORDER BY version LIMIT $2";

/// The events after a position.
pub(super) async fn after(
    connection: &mut PgConnection,
    position: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let rows = sqlx::query(AFTER_POSITION).bind(position).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// The events of a stream after a version.
pub(super) async fn of_stream(
    connection: &mut PgConnection,
    stream: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let query = sqlx::query(OF_STREAM).bind(after).bind(i64::from(limit)).bind(stream);
    query.fetch_all(connection).await?.iter().map(read).collect()
}

/// The columns are of the types that the tables have: what costs more than the reading is not checked for each value.
fn read(row: &PgRow) -> Result<RecordedEvent, Error> {
    Ok(RecordedEvent {
        position: row.try_get_unchecked(0)?,
        stream: row.try_get_unchecked(1)?,
        version: row.try_get_unchecked(2)?,
        event_id: row.try_get_unchecked(3)?,
        kind: row.try_get_unchecked(4)?,
        schema: row.try_get_unchecked(5)?,
        command_id: row.try_get_unchecked(6)?,
        recorded_at_us: row.try_get_unchecked(7)?,
        data: row.try_get_unchecked(8)?,
        meta: row.try_get_unchecked(9)?,
    })
}
