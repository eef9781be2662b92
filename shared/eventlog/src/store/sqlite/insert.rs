//! The SQL of an append: few texts, so that all stay prepared.
//!
//! A small batch is ONE call of several statements, one text per size. A larger one goes statement by statement in
//! pieces of few sizes; preparing a long text anew costs more than the calls it saves. Binds are anonymous and run
//! through all statements of a call: SQLite looks named ones up one by one, which is quadratic.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Query;
use crate::store::{CommandRow, CursorAt, Fence, Rows};
use crate::{Error, RecordedEvent};

/// Rows of one kind up to which a batch is one call.
const ONE_CALL_ROWS: usize = 32;
/// Rows of the largest piece.
const PIECE_ROWS: usize = 256;
/// Rows below which a piece has any length; from here on it is a power of two.
const EXACT_ROWS: usize = 64;
/// Texts kept; fewer than the connection keeps prepared.
const TEXTS_MAX: usize = 400;
const COLUMNS: &str = "position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta";
const COMMAND_COLUMNS: &str = "command_id, fingerprint, first_position, last_position, version, reply, at";
const EVENT_PLACES: &str = "(?,?,?,?,?,?,?,?,?,?)";
const COMMAND_PLACES: &str = "(?,?,?,?,?,?,?)";
const CURSOR_PLACES: &str = "(?,?,?,?,?,?)";
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Fails on the NOT NULL when another writer has taken over: the check and the move are one statement.
const MOVE_HEAD: &str =
    "UPDATE log_head SET last_position = CASE WHEN epoch = ? AND last_position = ? THEN ? END WHERE id = 1";
const MOVE_CURSOR: &str =
    "INSERT INTO projection_cursor(projection, source, partition, last_position, event_id, resume)";
const NEVER_BACK: &str = "ON CONFLICT(projection, source, partition) DO UPDATE SET \
                          event_id = CASE WHEN excluded.last_position > last_position \
                          THEN excluded.event_id ELSE event_id END, \
                          resume = CASE WHEN excluded.last_position > last_position \
                          THEN excluded.resume ELSE resume END, \
                          last_position = max(last_position, excluded.last_position)";

/// Splits into pieces of few lengths.
pub(super) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(piece_length(rest.len())?);
        rest = after;
        Some(piece)
    })
}

fn piece_length(rest: usize) -> Option<usize> {
    match rest {
        0 => None,
        1..EXACT_ROWS => Some(rest),
        _ => Some((1 << rest.ilog2()).min(PIECE_ROWS)),
    }
}

fn are_few(rows: &Rows) -> bool {
    rows.sizes().into_iter().all(|rows| rows <= ONE_CALL_ROWS)
}

/// The tables that a text is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Text {
    /// Everything of a small batch: in a transaction of its own, or in the caller's.
    All {
        sizes: [usize; 3],
        alone: bool,
    },
    Events(usize),
    Commands(usize),
    Cursors(usize),
}

/// The texts that were built.
#[derive(Default)]
pub(super) struct Texts {
    built: HashMap<Text, Arc<str>>,
}

impl Texts {
    fn get(&mut self, text: Text) -> Query {
        if self.built.len() >= TEXTS_MAX {
            self.built.clear();
        }
        let sql = self.built.entry(text).or_insert_with(|| build(text).into());
        sqlx::query(AssertSqlSafe(Arc::clone(sql)))
    }
}

fn build(text: Text) -> String {
    match text {
        Text::Events(rows) => format!("INSERT INTO events({COLUMNS}) VALUES {}", places(rows, EVENT_PLACES)),
        Text::Commands(rows) => {
            format!("INSERT INTO commands({COMMAND_COLUMNS}) VALUES {}", places(rows, COMMAND_PLACES))
        }
        Text::Cursors(rows) => format!("{MOVE_CURSOR} VALUES {} {NEVER_BACK}", places(rows, CURSOR_PLACES)),
        Text::All { sizes, alone } => {
            let [events, commands, cursors] = sizes;
            let inserts = [Text::Events(events), Text::Commands(commands), Text::Cursors(cursors)];
            let inserts = inserts.into_iter().zip(sizes).filter(|(_, rows)| *rows > 0);
            let inserts: String = inserts.map(|(insert, _)| build(insert) + ";").collect();
            match alone {
                true => format!("{BEGIN};{MOVE_HEAD};{inserts}COMMIT"),
                false => format!("{MOVE_HEAD};{inserts}"),
            }
        }
    }
}

fn places(rows: usize, row: &str) -> String {
    vec![row; rows].join(",")
}

/// Writes a batch in a transaction of its own. On an error the transaction may still be open.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    texts: &mut Texts,
    fence: Fence,
    rows: Rows,
) -> Result<(), Error> {
    if are_few(&rows) {
        return at_once(connection, texts, fence, rows, true).await;
    }
    sqlx::query(BEGIN).execute(&mut *connection).await?;
    write(connection, texts, fence, rows).await?;
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// Writes a batch inside the caller's transaction.
pub(super) async fn write(tx: &mut SqliteConnection, texts: &mut Texts, fence: Fence, rows: Rows) -> Result<(), Error> {
    if are_few(&rows) {
        return at_once(tx, texts, fence, rows, false).await;
    }
    bind_fence(sqlx::query(MOVE_HEAD), fence).execute(&mut *tx).await.map_err(deposed_or_failed)?;
    let mut events = rows.events.into_iter();
    while let Some(length) = piece_length(events.len()) {
        let query = events.by_ref().take(length).fold(texts.get(Text::Events(length)), bind_event);
        query.execute(&mut *tx).await?;
    }
    let mut commands = rows.commands.into_iter();
    while let Some(length) = piece_length(commands.len()) {
        let query = commands.by_ref().take(length).fold(texts.get(Text::Commands(length)), bind_command);
        query.execute(&mut *tx).await?;
    }
    let mut cursors = rows.cursors.into_iter();
    while let Some(length) = piece_length(cursors.len()) {
        let query = cursors.by_ref().take(length).fold(texts.get(Text::Cursors(length)), bind_cursor);
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

/// Writes a small batch in one call.
async fn at_once(
    connection: &mut SqliteConnection,
    texts: &mut Texts,
    fence: Fence,
    rows: Rows,
    alone: bool,
) -> Result<(), Error> {
    let query = bind_fence(texts.get(Text::All { sizes: rows.sizes(), alone }), fence);
    let query = rows.events.into_iter().fold(query, bind_event);
    let query = rows.commands.into_iter().fold(query, bind_command);
    let query = rows.cursors.into_iter().fold(query, bind_cursor);
    query.execute(connection).await.map_err(deposed_or_failed)?;
    Ok(())
}

/// Only the fence puts a NULL into `log_head`.
fn deposed_or_failed(error: sqlx::Error) -> Error {
    match error.as_database_error() {
        Some(database) if database.message().contains("log_head.last_position") => Error::Deposed,
        _ => error.into(),
    }
}

fn bind_fence(query: Query, fence: Fence) -> Query {
    query.bind(fence.epoch).bind(fence.from).bind(fence.to)
}

fn bind_event(query: Query, event: RecordedEvent) -> Query {
    query
        .bind(event.position)
        .bind(event.stream)
        .bind(event.version)
        .bind(event.event_id.as_bytes().to_vec())
        .bind(event.kind)
        .bind(event.schema)
        .bind(event.command_id.as_bytes().to_vec())
        .bind(event.recorded_at_us)
        .bind(event.data)
        .bind(event.meta)
}

fn bind_command(query: Query, command: CommandRow) -> Query {
    query
        .bind(command.command_id.as_bytes().to_vec())
        .bind(command.fingerprint.to_vec())
        .bind(command.first_position)
        .bind(command.last_position)
        .bind(command.version)
        .bind(command.reply)
        .bind(command.at_us)
}

type CursorRow = ((String, String, i32), CursorAt);

fn bind_cursor(query: Query, ((projection, source, partition), at): CursorRow) -> Query {
    let event_id = at.event_id.map(|id| id.as_bytes().to_vec());
    query.bind(projection).bind(source).bind(partition).bind(at.position).bind(event_id).bind(at.resume)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_of_few_lengths_and_cover_everything() {
        let items: Vec<usize> = (0..1_000).collect();
        for length in 0..items.len() {
            let lengths: Vec<usize> = pieces(&items[..length]).map(<[usize]>::len).collect();
            assert!(lengths.iter().all(|&length| length < EXACT_ROWS || length.is_power_of_two()), "{lengths:?}");
            assert_eq!(lengths.iter().sum::<usize>(), length);
        }
    }

    #[test]
    fn one_call_has_a_place_for_every_value() {
        let sql = build(Text::All { sizes: [2, 1, 2], alone: true });
        assert_eq!(sql.matches('?').count(), 3 + 2 * 10 + 7 + 2 * 6, "{sql}");
        assert_eq!(sql.matches(';').count(), 5, "{sql}");
        assert_eq!(build(Text::All { sizes: [0, 0, 1], alone: true }).matches(';').count(), 3);
        let inside = build(Text::All { sizes: [1, 1, 0], alone: false });
        assert!(!inside.contains(BEGIN) && !inside.contains("COMMIT"), "{inside}");
    }
}
