//! The SQL of an append: one text, whatever the sizes are.
//!
//! Rows come as one array for each column, so that the server parses and plans the text once.

use sqlx::PgConnection;

use super::Query;
use crate::Error;
use crate::store::{Fence, Rows};

/// Fails on the NOT NULL when another writer has taken over: the check and the move are one statement, and so are the
/// rows, which are written with it or not at all. `greatest` keeps cursors from going back.
const WRITE: &str = "WITH head AS (
        UPDATE log_head SET commits = commits + 1,
            last_position = CASE WHEN epoch = $1 AND last_position = $2 AND commits = $27 THEN $3 END
        WHERE id = 1
    ), put_events AS (
        INSERT INTO events(position, stream_id, version, event_id, type, schema, command_id, recorded_at, data, meta)
        SELECT * FROM unnest($4::bigint[], $5::text[], $6::bigint[], $7::uuid[], $8::text[], $9::smallint[],
                             $10::uuid[], $11::bigint[], $12::text[], $13::text[])
    ), put_commands AS (
        INSERT INTO commands(command_id, fingerprint, first_position, last_position, version, reply, at)
        SELECT * FROM unnest($14::uuid[], $15::bytea[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bytea[],
                             $20::bigint[])
    )
    INSERT INTO projection_cursor AS old (projection, source, partition, last_position, event_id, resume)
    SELECT * FROM unnest($21::text[], $22::text[], $23::integer[], $24::bigint[], $25::bytea[],
                         $26::bigint[])
    ON CONFLICT(projection, source, partition) DO UPDATE
        SET event_id =
                CASE WHEN excluded.last_position > old.last_position THEN excluded.event_id ELSE old.event_id END,
            resume = CASE WHEN excluded.last_position > old.last_position THEN excluded.resume ELSE old.resume END,
            last_position = greatest(old.last_position, excluded.last_position)";

/// Writes a batch: in the open transaction, or in one of its own. `commits` is how many there were before it: a batch
/// that the server still has from a connection that was given up moves the head no more.
pub(super) async fn write(connection: &mut PgConnection, fence: Fence, commits: i64, rows: Rows) -> Result<(), Error> {
    let query = sqlx::query(WRITE).bind(fence.epoch).bind(fence.from).bind(fence.to);
    let query = bind_events(query, &rows);
    let query = bind_commands(query, &rows);
    bind_cursors(query, rows).bind(commits).execute(connection).await.map_err(deposed_or_failed)?;
    Ok(())
}

/// One array of a column of rows.
fn column<'a, R, T>(rows: &'a [R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn bind_events(query: Query, rows: &Rows) -> Query {
    let events = rows.events.as_slice();
    query
        .bind(column(events, |event| event.position))
        .bind(column(events, |event| event.stream.clone()))
        .bind(column(events, |event| event.version))
        .bind(column(events, |event| event.event_id))
        .bind(column(events, |event| event.kind.clone()))
        .bind(column(events, |event| event.schema))
        .bind(column(events, |event| event.command_id))
        .bind(column(events, |event| event.recorded_at_us))
        .bind(column(events, |event| event.data.clone()))
        .bind(column(events, |event| event.meta.clone()))
}

fn bind_commands(query: Query, rows: &Rows) -> Query {
    let commands = rows.commands.as_slice();
    query
        .bind(column(commands, |command| command.command_id))
        .bind(column(commands, |command| command.fingerprint.to_vec()))
        .bind(column(commands, |command| command.first_position))
        .bind(column(commands, |command| command.last_position))
        .bind(column(commands, |command| command.version))
        .bind(column(commands, |command| command.reply.clone()))
        .bind(column(commands, |command| command.at_us))
}

fn bind_cursors(query: Query, rows: Rows) -> Query {
    let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((projection, source, partition), at) in rows.cursors {
        columns.0.push(projection);
        columns.1.push(source);
        columns.2.push(partition);
        columns.3.push(at.position);
        columns.4.push(at.event_id.map(|id| id.as_bytes().to_vec()));
        columns.5.push(at.resume);
    }
    query.bind(columns.0).bind(columns.1).bind(columns.2).bind(columns.3).bind(columns.4).bind(columns.5)
}

/// Only the fence puts a NULL into `log_head`; and who finds an event where its own was to be is not alone. The parts
/// of the statement run in no order, so that either may be met first.
fn deposed_or_failed(error: sqlx::Error) -> Error {
    const NOT_NULL: &str = "23502";
    const UNIQUE: &str = "23505";
    let Some(database) = error.as_database_error() else { return error.into() };
    match (database.table(), database.code().as_deref()) {
        (Some("log_head"), Some(NOT_NULL)) | (Some("events"), Some(UNIQUE)) => Error::Deposed,
        _ => error.into(),
    }
}
