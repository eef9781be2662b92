//! An event as it is stored.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use vocabulary::StoredEvent;

use crate::Error;

/// The columns of an event, in the order in which they are written.
pub(crate) const COLUMNS: &str =
    "position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta";

/// An event with its place in the log and in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Place in the log, from 1, without gaps, in commit order.
    pub position: i64,
    /// The aggregate's stream.
    pub stream: String,
    /// Place in the stream, from 1, without gaps.
    pub version: i64,
    /// UUIDv5 of the command id and the event's index in the command.
    pub event_id: Uuid,
    /// The event's type name.
    pub kind: String,
    /// The schema number that it was written with.
    pub schema: i16,
    /// The command that led to it.
    pub command_id: Uuid,
    /// Microseconds since 1970; never less than that of the event before.
    pub recorded_at_us: i64,
    /// The event's JSON.
    pub data: String,
    /// JSON with `actor`, `request_id` and `causation`.
    pub meta: String,
}

impl RecordedEvent {
    /// The typed event.
    ///
    /// # Errors
    /// When this build does not know the type, or the data do not fit it.
    pub fn decode<E: StoredEvent>(&self) -> Result<E, Error> {
        E::decode(&self.kind, self.schema, &self.data)
            .map_err(|message| Error::Decode(format!("event {} of '{}': {message}", self.position, self.stream)))
    }
}

/// Reads a UUID stored as 16 bytes.
pub(crate) fn uuid_at(row: &SqliteRow, column: usize) -> Result<Uuid, Error> {
    let bytes: &[u8] = row.try_get_unchecked(column)?;
    Uuid::from_slice(bytes).map_err(|error| Error::Decode(format!("column {column} is not a UUID: {error}")))
}
