//! An event as it is stored.

use uuid::Uuid;
use vocabulary::StoredEvent;

use crate::Error;

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
    /// JSON with `actor`, `request_id`, and `causation` and `traceparent` where there are any.
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

/// Between the fields of an event where several are one text: U+001F, the unit separator.
pub(crate) const FIELD_END: char = '\u{1f}';
/// Between events there: U+001E, the record separator.
pub(crate) const EVENT_END: char = '\u{1e}';

/// Whether a text can be told apart from what stands beside it in such a text.
pub(crate) fn is_separable(text: &str) -> bool {
    !text.bytes().any(|byte| byte == FIELD_END as u8 || byte == EVENT_END as u8)
}
