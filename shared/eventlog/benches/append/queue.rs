//! What an append costs at least on SQLite: clients, a queue, and one writer that inserts the same tables, with nothing
//! decided, looked up or checked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use vocabulary::{Entropy, SeededEntropy};

use crate::figures::series::{META, Span, sample};

/// As many as the log's own queue.
const WAITING_MAX: usize = 4_096;
/// As many as the log's own batch.
const BATCH_MAX: usize = 1_000;
/// The log's own sizes of statements: up to so many appends in one call, up to so many rows a text of their own, and
/// never more than so many rows at once.
const ONE_CALL_ROWS: usize = 32;
const EXACT_ROWS: usize = 64;
const PIECE_ROWS: usize = 256;

const AT_US: i64 = 1_700_000_000_000_000;
const FINGERPRINT: [u8; 32] = [7; 32];
const NO_REPLY: &[u8] = &[];

/// What one client asks for.
struct Asked {
    stream: String,
    version: i64,
    command_id: uuid::Uuid,
    done: oneshot::Sender<()>,
}

/// Appends a second by so many clients, to a database of the log's own shape. Ids are drawn as the log's are, so that
/// several figures may be taken of one file.
pub async fn appends(
    file: &Path,
    entropy: &Arc<SeededEntropy>,
    what: &str,
    clients: usize,
    span: Span,
) -> sqlx::Result<f64> {
    let (queue, asked) = mpsc::channel(WAITING_MAX);
    let writer = tokio::spawn(write(connect(file).await?, asked, sample()));
    let (begun, total) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (queue, total, entropy) = (queue.clone(), Arc::clone(&total), Arc::clone(entropy));
            let stream = format!("{what}-{client}");
            tokio::spawn(async move {
                let mut version = 0;
                while begun.elapsed() < span.warm + span.measured {
                    version += 1;
                    let (done, answer) = oneshot::channel();
                    let (stream, command_id) = (stream.clone(), entropy.uuid());
                    let _ = queue.send(Asked { stream, version, command_id, done }).await;
                    answer.await.expect("it is written");
                    if begun.elapsed() > span.warm {
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a client does not panic");
    }
    let value = total.load(Ordering::Relaxed) as f64 / (begun.elapsed() - span.warm).as_secs_f64();
    drop(queue);
    writer.await.expect("the writer does not panic")?;
    Ok(value)
}

async fn connect(file: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("cache_size", "-65536")
        .statement_cache_capacity(512)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS events(position INTEGER PRIMARY KEY, stream_id TEXT NOT NULL,
            version INTEGER NOT NULL, event_id BLOB NOT NULL, type TEXT NOT NULL, schema INTEGER NOT NULL,
            command_id BLOB NOT NULL, recorded_at INTEGER NOT NULL, data TEXT NOT NULL, meta TEXT NOT NULL,
            UNIQUE(stream_id, version));
         CREATE TABLE IF NOT EXISTS commands(command_id BLOB PRIMARY KEY, fingerprint BLOB NOT NULL,
            first_position INTEGER NOT NULL, last_position INTEGER NOT NULL, version INTEGER NOT NULL,
            reply BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS log_head(id INTEGER PRIMARY KEY, last_position INTEGER NOT NULL,
            epoch INTEGER NOT NULL);
         INSERT OR IGNORE INTO log_head VALUES (1, 0, 1);",
    )
    .execute(&mut connection)
    .await?;
    Ok(connection)
}

/// Writes what is there, a transaction at a time, until nobody is left.
async fn write(mut connection: SqliteConnection, mut asked: mpsc::Receiver<Asked>, data: String) -> sqlx::Result<()> {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let last = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM events");
    let mut position: i64 = last.fetch_one(&mut connection).await?;
    while asked.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let head = position + batch.len() as i64;
        if batch.len() <= ONE_CALL_ROWS {
            let text = format!("BEGIN IMMEDIATE; {MOVE}; {}; {}; COMMIT", events(batch.len()), commands(batch.len()));
            let query = bind_events(sqlx::query(AssertSqlSafe(text)).bind(head), &batch, position, &data);
            bind_commands(query, &batch, position).execute(&mut connection).await?;
        } else {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
            sqlx::query(MOVE).bind(head).execute(&mut connection).await?;
            let (mut rest, mut at) = (batch.as_slice(), position);
            while !rest.is_empty() {
                let (part, after) = rest.split_at(piece(rest.len()));
                let query = sqlx::query(AssertSqlSafe(events(part.len())));
                bind_events(query, part, at, &data).execute(&mut connection).await?;
                let query = sqlx::query(AssertSqlSafe(commands(part.len())));
                bind_commands(query, part, at).execute(&mut connection).await?;
                at += part.len() as i64;
                rest = after;
            }
            sqlx::query("COMMIT").execute(&mut connection).await?;
        }
        position = head;
        for one in batch.drain(..) {
            let _ = one.done.send(());
        }
    }
    Ok(())
}

const MOVE: &str = "UPDATE log_head SET last_position = ? WHERE id = 1 AND epoch = 1";

/// Rows of the next statement: each text is prepared once, and there are not too many of them.
fn piece(rest: usize) -> usize {
    if rest < EXACT_ROWS { rest } else { (1 << rest.ilog2()).min(PIECE_ROWS) }
}

fn events(rows: usize) -> String {
    format!("INSERT INTO events VALUES {}", vec!["(?,?,?,?,?,?,?,?,?,?)"; rows].join(","))
}

fn commands(rows: usize) -> String {
    format!("INSERT INTO commands VALUES {}", vec!["(?,?,?,?,?,?,?)"; rows].join(","))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_events<'q>(query: Query<'q>, part: &'q [Asked], after: i64, data: &'q str) -> Query<'q> {
    (after + 1..).zip(part).fold(query, |query, (position, one)| {
        query
            .bind(position)
            .bind(&one.stream)
            .bind(one.version)
            .bind(one.command_id)
            .bind("Observed")
            .bind(1)
            .bind(one.command_id)
            .bind(AT_US)
            .bind(data)
            .bind(META)
    })
}

fn bind_commands<'q>(query: Query<'q>, part: &'q [Asked], after: i64) -> Query<'q> {
    (after + 1..).zip(part).fold(query, |query, (position, one)| {
        query
            .bind(one.command_id)
            .bind(FINGERPRINT.as_slice())
            .bind(position)
            .bind(position)
            .bind(one.version)
            .bind(NO_REPLY)
            .bind(AT_US)
    })
}
