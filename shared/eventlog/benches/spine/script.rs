//! What the server does at best: the same tables, written by one connection that sends nothing but a number, and read
//! in pages of the same size.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::Instant;
use trialog_eventlog::{BoxFuture, Error, RecordedEvent, Transaction, View, ViewTable, insert};

use crate::figures::series::{META, Span, sample};

/// Appends of a transaction of the script: what the log takes at once from 256 clients.
const BATCH: i64 = 128;
const PAGE: i64 = 1_000;
/// Streams that the rows before are spread over.
const STREAMS: i64 = 10_000;

/// The table of [`Seen`].
pub const MIGRATIONS: &[(&str, &str)] =
    &[("001_seen", "CREATE TABLE seen(stream TEXT PRIMARY KEY, count INTEGER NOT NULL, position INTEGER NOT NULL)")];

/// A view with a row for each stream.
pub struct Seen;

impl View for Seen {
    fn name(&self) -> &'static str {
        "seen"
    }

    fn tables(&self) -> &'static [ViewTable] {
        &[ViewTable::Own("seen")]
    }

    fn apply<'a>(&'a self, tx: &'a mut Transaction, events: &'a [RecordedEvent]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            // A row a stream, all of them in few statements: a statement an event would be a way to the server each.
            let mut seen: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
            for event in events {
                let (count, position) = seen.entry(&event.stream).or_default();
                (*count, *position) = (*count + 1, event.position);
            }
            let mut rows = insert(
                "INSERT INTO seen AS old (stream, count, position)",
                "ON CONFLICT(stream) DO UPDATE SET count = old.count + excluded.count, position = excluded.position",
            );
            for (stream, (count, position)) in seen {
                rows.row([stream.into(), count.into(), position.into()]);
            }
            rows.execute(tx).await
        })
    }
}

async fn run(connection: &mut PgConnection, text: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.map(drop)
}

/// Puts events and commands into an empty log that nobody has open.
pub async fn put_before(connection: &mut PgConnection, schema: &str, count: i64) -> sqlx::Result<()> {
    let (data, meta) = (sample(), META);
    run(
        connection,
        format!(
            "INSERT INTO {schema}.events
                 SELECT n, 'before-' || ((n - 1) % {STREAMS}), (n - 1) / {STREAMS} + 1, gen_random_uuid(), 'Observed',
                        1, gen_random_uuid(), 1700000000000000, '{data}', '{meta}' FROM generate_series(1, {count}) n;
             INSERT INTO {schema}.commands
                 SELECT gen_random_uuid(), decode(repeat(md5(n::text), 2), 'hex'), n, n, 1, '', 1700000000000000
                 FROM generate_series(1, {count}) n;
             UPDATE {schema}.log_head SET last_position = {count};
             ANALYZE {schema}.events; ANALYZE {schema}.commands; CHECKPOINT"
        ),
    )
    .await
}

/// The same tables with the same rows in another schema.
pub async fn copy(connection: &mut PgConnection, from: &str, to: &str) -> sqlx::Result<()> {
    let mut text = format!("CREATE SCHEMA {to};");
    for table in ["events", "commands", "log_head", "seen"] {
        text.push_str(&format!(
            "CREATE TABLE {to}.{table} (LIKE {from}.{table} INCLUDING ALL);
             INSERT INTO {to}.{table} SELECT * FROM {from}.{table}; ANALYZE {to}.{table};"
        ));
    }
    run(connection, text + "CHECKPOINT").await
}

pub async fn drop_schemas(connection: &mut PgConnection, schemas: &[&str]) -> sqlx::Result<()> {
    run(connection, format!("DROP SCHEMA {} CASCADE", schemas.join(", "))).await
}

/// Appends a second of a script that writes the same tables: the head, events, commands, and a view's row each.
pub async fn appends(url: &str, schema: &str, with_view: bool, span: Span) -> sqlx::Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    run(&mut connection, format!("SET search_path = {schema}; SET synchronous_commit = on")).await?;
    let view = "put_seen AS (
            INSERT INTO seen AS old SELECT 'client-' || n, 1, before + n FROM head, generate_series(1, $1) n
            ON CONFLICT(stream) DO UPDATE SET count = old.count + 1, position = excluded.position),";
    let text = format!(
        "WITH head AS (UPDATE log_head SET commits = commits + 1, last_position = last_position + $1
            WHERE id = 1 RETURNING last_position - $1 AS before),
         {}
         put_events AS (INSERT INTO events SELECT before + n, 'client-' || n, before + n, gen_random_uuid(),
            'Observed', 1, gen_random_uuid(), 1700000000000000, $2, $3 FROM head, generate_series(1, $1) n)
         INSERT INTO commands SELECT gen_random_uuid(), $4, before + n, before + n, 1, '', 1700000000000000
            FROM head, generate_series(1, $1) n",
        if with_view { view } else { "" }
    );
    let (data, fingerprint) = (sample(), vec![7_u8; 32]);
    let (mut start, mut counted, mut warm) = (Instant::now(), 0, true);
    loop {
        let script = sqlx::query(AssertSqlSafe(text.as_str())).bind(BATCH).bind(&data).bind(META).bind(&fingerprint);
        script.execute(&mut connection).await?;
        counted += BATCH;
        if warm && start.elapsed() > span.warm {
            (warm, counted, start) = (false, 0, Instant::now());
        } else if !warm && start.elapsed() > span.measured {
            return Ok(counted as f64 / start.elapsed().as_secs_f64());
        }
    }
}

/// Events a second of pages that are read and thrown away.
pub async fn replay(connection: &mut PgConnection, schema: &str, span: Span) -> sqlx::Result<f64> {
    let text = format!("SELECT * FROM {schema}.events WHERE position > $1 ORDER BY position LIMIT $2");
    let (mut start, mut counted, mut warm, mut after) = (Instant::now(), 0, true, 0_i64);
    loop {
        let page = sqlx::query(AssertSqlSafe(text.as_str())).bind(after).bind(PAGE).fetch_all(&mut *connection).await?;
        after = page.last().map_or(0, |row| row.get(0));
        counted += page.len();
        if warm && start.elapsed() > span.warm {
            (warm, counted, start) = (false, 0, Instant::now());
        } else if !warm && start.elapsed() > span.measured {
            return Ok(counted as f64 / start.elapsed().as_secs_f64());
        }
    }
}
