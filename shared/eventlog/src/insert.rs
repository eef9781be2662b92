//! The SQL of an append: few texts, so that all stay prepared.
//!
//! A small batch is ONE call of several statements with numbered binds, one text per size. A larger one goes statement by
//! statement in pieces whose sizes are powers of two; preparing a long text anew costs more than the calls it saves.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{AssertSqlSafe, SqliteConnection};
use uuid::Uuid;

use crate::event::{COLUMN_COUNT, COLUMNS};
use crate::identity::FINGERPRINT_BYTES;
use crate::{Error, RecordedEvent};

/// Rows of one kind up to which a batch is one call.
const ONE_CALL_ROWS: usize = 32;
/// Rows of the largest piece.
const PIECE_ROWS: usize = 256;
/// Texts kept; as many as the connection keeps prepared.
const TEXTS_MAX: usize = 400;
const COMMAND_COLUMNS: &str = "command_id, fingerprint, first_position, last_position, version, reply, at";
const COMMAND_COLUMN_COUNT: usize = 7;
/// Fails on the NOT NULL when another writer has taken over: the check and the move are one statement.
const MOVE_HEAD: &str =
    "UPDATE log_head SET last_position = CASE WHEN epoch = $1 AND last_position = $2 THEN $3 END WHERE id = 1";
const MOVE_CURSOR: &str = "INSERT INTO projection_cursor(projection, source, partition, last_position) VALUES ";
const NEVER_BACK: &str = " ON CONFLICT(projection, source, partition) DO UPDATE SET \
                          last_position = max(last_position, excluded.last_position)";

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Splits into pieces whose lengths are powers of two.
pub(crate) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(piece_length(rest.len())?);
        rest = after;
        Some(piece)
    })
}

fn piece_length(rest: usize) -> Option<usize> {
    (rest > 0).then(|| (1 << rest.ilog2()).min(PIECE_ROWS))
}

/// A command to be remembered.
pub(crate) struct CommandRow {
    pub command_id: Uuid,
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    pub first_position: i64,
    pub last_position: i64,
    pub version: i64,
    pub reply: Vec<u8>,
    pub at_us: i64,
}

/// What a batch writes.
#[derive(Default)]
pub(crate) struct Rows {
    pub events: Vec<RecordedEvent>,
    pub commands: Vec<CommandRow>,
    pub cursors: BTreeMap<(String, String), i64>,
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.commands.is_empty() && self.cursors.is_empty()
    }
}

/// Whose log it is, and from where to where its head moves.
#[derive(Clone, Copy)]
pub(crate) struct Fence {
    pub epoch: i64,
    pub from: i64,
    pub to: i64,
}

/// The tables that a text is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Text {
    All { events: usize, commands: usize, cursors: usize },
    Events(usize),
    Commands(usize),
}

/// The texts that were built.
#[derive(Default)]
pub(crate) struct Texts {
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
        Text::Events(rows) => format!("INSERT INTO events({COLUMNS}) VALUES {}", anonymous(rows, COLUMN_COUNT)),
        Text::Commands(rows) => {
            format!("INSERT INTO commands({COMMAND_COLUMNS}) VALUES {}", anonymous(rows, COMMAND_COLUMN_COUNT))
        }
        Text::All { events, commands, cursors } => {
            let mut sql = format!("BEGIN IMMEDIATE;{MOVE_HEAD};");
            let mut next = 4;
            if events > 0 {
                sql.push_str(&format!("INSERT INTO events({COLUMNS}) VALUES "));
                numbered(&mut sql, events, &"$,".repeat(COLUMN_COUNT), &mut next);
                sql.push(';');
            }
            if commands > 0 {
                sql.push_str(&format!("INSERT INTO commands({COMMAND_COLUMNS}) VALUES "));
                numbered(&mut sql, commands, &"$,".repeat(COMMAND_COLUMN_COUNT), &mut next);
                sql.push(';');
            }
            if cursors > 0 {
                sql.push_str(MOVE_CURSOR);
                numbered(&mut sql, cursors, "$,$,0,$,", &mut next);
                sql.push_str(NEVER_BACK);
                sql.push(';');
            }
            sql.push_str("COMMIT");
            sql
        }
    }
}

fn anonymous(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}

/// Appends `rows` times the pattern, with a number after each `$`. The pattern ends with a comma.
fn numbered(sql: &mut String, rows: usize, pattern: &str, next: &mut usize) {
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ",(" });
        for part in pattern.trim_end_matches(',').chars() {
            sql.push(part);
            if part == '$' {
                // Writing into a String cannot fail.
                let _ = write!(sql, "{next}");
                *next += 1;
            }
        }
        sql.push(')');
    }
}

/// Writes a batch in a transaction of its own. On an error the transaction may still be open.
pub(crate) async fn commit(
    connection: &mut SqliteConnection,
    texts: &mut Texts,
    fence: Fence,
    rows: Rows,
) -> Result<(), Error> {
    let sizes = (rows.events.len(), rows.commands.len(), rows.cursors.len());
    if sizes.0.max(sizes.1).max(sizes.2) <= ONE_CALL_ROWS {
        let (events, commands, cursors) = sizes;
        let query = bind_fence(texts.get(Text::All { events, commands, cursors }), fence);
        let query = rows.events.into_iter().fold(query, bind_event);
        let query = rows.commands.into_iter().fold(query, bind_command);
        let query = rows
            .cursors
            .into_iter()
            .fold(query, |query, ((projection, source), position)| query.bind(projection).bind(source).bind(position));
        query.execute(connection).await.map_err(deposed_or_failed)?;
        return Ok(());
    }
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    write(connection, texts, fence, rows).await?;
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// Writes a batch statement by statement inside the caller's transaction.
pub(crate) async fn write(tx: &mut SqliteConnection, texts: &mut Texts, fence: Fence, rows: Rows) -> Result<(), Error> {
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
    for ((projection, source), position) in rows.cursors {
        sqlx::query(AssertSqlSafe(format!("{MOVE_CURSOR}(?, ?, 0, ?){NEVER_BACK}")))
            .bind(projection)
            .bind(source)
            .bind(position)
            .execute(&mut *tx)
            .await?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_powers_of_two_and_cover_everything() {
        let items: Vec<usize> = (0..1_000).collect();
        for length in 0..items.len() {
            let lengths: Vec<usize> = pieces(&items[..length]).map(<[usize]>::len).collect();
            assert!(lengths.iter().all(|length| length.is_power_of_two() && *length <= PIECE_ROWS));
            assert_eq!(lengths.iter().sum::<usize>(), length);
        }
    }

    #[test]
    fn binds_are_numbered_through_all_statements() {
        let sql = build(Text::All { events: 1, commands: 1, cursors: 2 });
        let last = 3 + COLUMN_COUNT + COMMAND_COLUMN_COUNT + 2 * 3;
        assert!((1..=last).all(|number| sql.contains(&format!("${number}"))), "{sql}");
        assert!(!sql.contains(&format!("${}", last + 1)), "{sql}");
    }
}
