//! Reads: pages, never long cursors, so that the WAL can be reset.
//!
//! A page comes as ONE text with separators that JSON never holds. The driver copies every value of every row on its
//! own, which costs more than all the rest of a replay; one text a page is one copy.

use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::event::{EVENT_END, FIELD_END};
use crate::{Error, RecordedEvent};

/// Events of one text: about half a megabyte.
const PAGE_ROWS: u32 = 1_000;
const AFTER_POSITION: &str = "SELECT group_concat(line, char(30)) FROM (
    SELECT concat_ws(char(31), position, stream_id, version, hex(event_id), type, schema, hex(command_id), recorded_at,
                     data, meta) AS line
    FROM events WHERE position > ?1 ORDER BY position LIMIT ?2)";
const OF_STREAM: &str = "SELECT group_concat(line, char(30)) FROM (
    SELECT concat_ws(char(31), position, stream_id, version, hex(event_id), type, schema, hex(command_id), recorded_at,
                     data, meta) AS line
    FROM events WHERE stream_id = ?3 AND version > ?1 ORDER BY version LIMIT ?2)";

/// The events after a position.
pub(super) async fn after(
    connection: &mut SqliteConnection,
    position: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    let mut rest = limit;
    while rest > 0 {
        let rows = rest.min(PAGE_ROWS);
        let from = events.last().map_or(position, |event| event.position);
        let query = sqlx::query_scalar(AFTER_POSITION).bind(from).bind(i64::from(rows));
        let text: Option<String> = query.fetch_one(&mut *connection).await?;
        rest = if parse(text.as_deref(), &mut events)? < rows { 0 } else { rest - rows };
    }
    Ok(events)
}

/// The events of a stream after a version.
pub(super) async fn of_stream(
    connection: &mut SqliteConnection,
    stream: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<RecordedEvent>, Error> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    let mut rest = limit;
    while rest > 0 {
        let rows = rest.min(PAGE_ROWS);
        let from = events.last().map_or(after, |event| event.version);
        let query = sqlx::query_scalar(OF_STREAM).bind(from).bind(i64::from(rows)).bind(stream);
        let text: Option<String> = query.fetch_one(&mut *connection).await?;
        rest = if parse(text.as_deref(), &mut events)? < rows { 0 } else { rest - rows };
    }
    Ok(events)
}

/// Appends the events of a page's text and answers how many there are.
fn parse(text: Option<&str>, events: &mut Vec<RecordedEvent>) -> Result<u32, Error> {
    let before = events.len();
    for event in text.into_iter().flat_map(|text| text.split(EVENT_END)) {
        events.push(parse_event(event).ok_or_else(|| Error::Decode(format!("the event {event:?}")))?);
    }
    // SQLite hands the rows to the aggregate in the order of the inner query, but does not promise it.
    events[before..].sort_by_key(|event| event.position);
    Ok((events.len() - before) as u32)
}

fn parse_event(text: &str) -> Option<RecordedEvent> {
    let mut fields = text.split(FIELD_END);
    let event = RecordedEvent {
        position: fields.next()?.parse().ok()?,
        stream: fields.next()?.to_owned(),
        version: fields.next()?.parse().ok()?,
        event_id: Uuid::try_parse(fields.next()?).ok()?,
        kind: fields.next()?.to_owned(),
        schema: fields.next()?.parse().ok()?,
        command_id: Uuid::try_parse(fields.next()?).ok()?,
        recorded_at_us: fields.next()?.parse().ok()?,
        data: fields.next()?.to_owned(),
        meta: fields.next()?.to_owned(),
    };
    fields.next().is_none().then_some(event)
}
