//! The connection that writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::connect::within;
use super::known::{self, Pruner};
use super::schema::{TABLES, translate};
use super::{Address, bind, insert, lease, pages, query};
use crate::known::Known;
use crate::lease::Lease;
use crate::snapshots::SnapshotRow;
use crate::sql::{Insert, ROWS_AT_ONCE, Row, Statement, Stored};
use crate::store::transaction::Owned;
use crate::store::{Fence, Rows};
use crate::{Error, RecordedEvent};

/// How long an answer is waited for: longer than the server lets a statement take, so that what is given up is the
/// connection.
const ANSWER_MAX: Duration = Duration::from_secs(65);
/// How long whoever has lost the answer to a COMMIT tries to find out what became of it.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// How long the end of a writer waits for its lease to be given back.
const GIVEN_BACK_MAX: Duration = Duration::from_secs(1);
/// Between two tries.
const SETTLE_EVERY: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct Writer {
    connection: PgConnection,
    /// For a new connection when the old one is in an unknown state.
    address: Address,
    /// Whether the connection is known to be outside of a transaction.
    settled: bool,
    /// The fence's epoch, and how many transactions have moved the head: 0 before the log was taken over.
    epoch: i64,
    commits: i64,
    /// Whether the open transaction has moved the head.
    moved: bool,
    pruner: Pruner,
}

/// Waits for an answer of the connection; one that fails as a connection leaves it in an unknown state.
macro_rules! answer {
    ($writer:expr, $answer:expr) => {{
        let answer = within(ANSWER_MAX, $answer).await;
        if answer.as_ref().is_err_and(Error::is_lost_connection) {
            $writer.settled = false;
        }
        answer
    }};
}

impl Writer {
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        let (connection, address) = (address.making().await?, address.clone());
        let pruner = Pruner::default();
        Ok(Self { connection, address, settled: true, epoch: 0, commits: 0, moved: false, pruner })
    }

    /// Connects without making a schema: for logs that are carried into several of them.
    pub async fn carrier(address: &Address) -> Result<Self, Error> {
        let (connection, address) = (address.writing().await?, address.clone());
        Ok(Self { connection, address, settled: true, epoch: 0, commits: 0, moved: false, pruner: Pruner::default() })
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        Ok(answer!(self, query(statement)?.execute(&mut self.connection))?.rows_affected())
    }

    pub async fn insert(&mut self, insert: Insert) -> Result<(), Error> {
        let Insert { into, then, columns, values } = insert;
        let mut values = values.into_iter();
        for rows in ROWS_AT_ONCE {
            while values.len() >= rows * columns && values.len() > 0 {
                let text = format!("{into} VALUES {} {then}", places(rows, columns));
                let mut some = values.by_ref().take(rows * columns);
                let query = some.try_fold(sqlx::query(AssertSqlSafe(text)), bind)?;
                answer!(self, query.execute(&mut self.connection))?;
            }
        }
        Ok(())
    }

    pub async fn all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        let rows = answer!(self, query(statement)?.fetch_all(&mut self.connection))?;
        Ok(rows.into_iter().map(|row| Row(Stored::Postgres(row))).collect())
    }

    pub async fn first(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        let row = answer!(self, query(statement)?.fetch_optional(&mut self.connection))?;
        Ok(row.map(|row| Row(Stored::Postgres(row))))
    }

    /// A migration, which takes the time that it needs: a history may be long.
    pub async fn script(&mut self, text: &'static str) -> Result<(), Error> {
        answer!(self, sqlx::raw_sql("SET LOCAL statement_timeout = 0").execute(&mut self.connection))?;
        // Not as long as other answers are waited for: a connection that is dead the system finds out about.
        sqlx::raw_sql(AssertSqlSafe(translate(text))).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Connects anew when nobody knows what became of the last transaction, and waits until it is over, whatever it
    /// did: it holds the head of the log.
    async fn settle(&mut self) -> Result<(), Error> {
        if self.settled {
            return Ok(());
        }
        self.connection = self.address.writing().await?;
        let wait = "SELECT commits FROM log_head WHERE id = 1 FOR UPDATE";
        within(ANSWER_MAX, sqlx::query(wait).fetch_optional(&mut self.connection)).await?;
        self.settled = true;
        Ok(())
    }

    pub async fn begin(&mut self) -> Result<(), Error> {
        self.settle().await?;
        self.moved = false;
        answer!(self, sqlx::query("BEGIN").execute(&mut self.connection))?;
        Ok(())
    }

    pub async fn commit(&mut self) -> Result<(), Error> {
        let committed = answer!(self, sqlx::query("COMMIT").execute(&mut self.connection)).map(drop);
        self.concluded(committed).await
    }

    pub async fn rollback(&mut self) {
        // Fails when the connection is of no use any more.
        self.settled = self.settled && answer!(self, sqlx::query("ROLLBACK").execute(&mut self.connection)).is_ok();
    }

    pub async fn part(&mut self, text: &'static str) -> Result<(), Error> {
        answer!(self, sqlx::query(text).execute(&mut self.connection))?;
        Ok(())
    }

    pub async fn write(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        answer!(self, insert::write(&mut self.connection, fence, self.commits, rows))?;
        self.moved = true;
        Ok(())
    }

    pub async fn write_alone(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        self.settle().await?;
        self.moved = true;
        let written = answer!(self, insert::write(&mut self.connection, fence, self.commits, rows));
        self.concluded(written).await
    }

    /// What became of a transaction: when the connection was lost, the count of commits says so.
    async fn concluded(&mut self, committed: Result<(), Error>) -> Result<(), Error> {
        if !std::mem::take(&mut self.moved) {
            return committed;
        }
        let committed = match committed {
            Err(lost) if lost.is_lost_connection() => self.found_out(lost).await,
            committed => committed,
        };
        self.commits += i64::from(committed.is_ok());
        committed
    }

    /// Whether the transaction whose answer was lost took place: `lost` when it did not, or nobody can tell in time.
    async fn found_out(&mut self, lost: Error) -> Result<(), Error> {
        let (epoch, wanted) = (self.epoch, self.commits + 1);
        let found = within(SETTLE_MAX, async {
            while self.settle().await.is_err() {
                tokio::time::sleep(SETTLE_EVERY).await;
            }
            let get = "SELECT epoch, commits FROM log_head WHERE id = 1";
            let found: (i64, i64) = sqlx::query_as(get).fetch_one(&mut self.connection).await?;
            Ok::<_, Error>(found)
        });
        match found.await {
            Ok((now, _)) if now != epoch => Err(Error::Deposed),
            Ok((_, commits)) if commits == wanted => Ok(()),
            Ok(_) => Err(lost),
            // Nobody knows: whoever writes next must not believe that it knows the head.
            Err(_) => {
                self.settled = false;
                Err(Error::Unknown(Box::new(lost)))
            }
        }
    }

    pub async fn take_over(&mut self, service: &str, seed: u64) -> Result<Owned, Error> {
        let tx = &mut self.connection;
        lease::make(&mut *tx).await?;
        sqlx::raw_sql(TABLES).execute(&mut *tx).await?;
        let put = "INSERT INTO log_meta(key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(put).bind("service").bind(service).execute(&mut *tx).await?;
        sqlx::query(put).bind("incarnation").bind(format!("{seed:016x}")).execute(&mut *tx).await?;
        let get = "SELECT value FROM log_meta WHERE key = $1";
        let found: String = sqlx::query_scalar(get).bind("service").fetch_one(&mut *tx).await?;
        if found != service {
            return Err(Error::OtherService { expected: service.to_owned(), found });
        }
        let incarnation = sqlx::query_scalar(get).bind("incarnation").fetch_one(&mut *tx).await?;
        if let Some(holder) = self.address.holder() {
            lease::keep_files(&mut *tx, holder, service).await?;
        }
        // Before the head, which a holder that stands still inside of a transaction holds on to.
        lease::take(&mut *tx, self.address.holder()).await?;
        let take = "UPDATE log_head SET epoch = epoch + 1 WHERE id = 1 RETURNING last_position, epoch, commits";
        let (head, epoch, commits): (i64, i64, i64) = sqlx::query_as(take).fetch_one(&mut *tx).await?;
        lease::begin(&mut *tx, epoch).await?;
        let end = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";
        let last: Option<(i64, i64)> = sqlx::query_as(end).fetch_optional(tx).await?;
        let (last, recorded_at_us) = last.unwrap_or((0, 0));
        if last != head {
            return Err(Error::Damaged { head, last });
        }
        (self.epoch, self.commits) = (epoch, commits);
        Ok(Owned { incarnation, epoch, head, recorded_at_us })
    }

    pub async fn known(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
        self.settle().await?;
        answer!(self, known::lookup(&mut self.connection, ids))
    }

    pub async fn newest_commands(&mut self, events: usize) -> Result<Vec<Uuid>, Error> {
        known::newest(&mut self.connection, events).await
    }

    pub async fn versions(&mut self, streams: &[Arc<str>]) -> Result<HashMap<String, i64>, Error> {
        self.settle().await?;
        // The last version of a stream is one step into the index; grouping would walk all of them.
        let get = "SELECT wanted.stream, last.version FROM unnest($1::text[]) AS wanted(stream) CROSS JOIN LATERAL
                   (SELECT version FROM events WHERE stream_id = wanted.stream ORDER BY version DESC LIMIT 1) AS last";
        let streams: Vec<String> = streams.iter().map(ToString::to_string).collect();
        let found = sqlx::query_as(get).bind(streams).fetch_all(&mut self.connection);
        let found: Vec<(String, i64)> = answer!(self, found)?;
        Ok(found.into_iter().collect())
    }

    pub async fn put_snapshot(&mut self, row: SnapshotRow) -> Result<(), Error> {
        self.settle().await?;
        let put = "INSERT INTO snapshots(stream_id, schema, version, bytes, event_id) VALUES ($1, $2, $3, $4,
                       (SELECT uuid_send(event_id) FROM events WHERE stream_id = $1 AND version = $3))
                   ON CONFLICT(stream_id) DO UPDATE SET schema = excluded.schema, version = excluded.version,
                   bytes = excluded.bytes, event_id = excluded.event_id";
        let put = sqlx::query(put).bind(row.stream.as_ref().to_owned()).bind(row.schema).bind(row.version);
        answer!(self, put.bind(row.bytes).execute(&mut self.connection))?;
        Ok(())
    }

    pub async fn page(&mut self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        answer!(self, pages::after(&mut self.connection, after, limit))
    }

    pub async fn stream(&mut self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        answer!(self, pages::of_stream(&mut self.connection, stream, after, limit))
    }

    pub async fn forget(&mut self, before_us: i64) -> Result<(), Error> {
        self.settle().await?;
        answer!(self, self.pruner.step(&mut self.connection, before_us))
    }

    /// The server tidies up by itself.
    pub async fn tidy(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The lease, where there is one, to be renewed on a connection of its own.
    pub fn lease(&self) -> Option<Box<dyn Lease>> {
        Some(Box::new(lease::Kept::of(&self.address, self.epoch)?))
    }

    /// Renews the lease, where there is one.
    pub async fn renew(&mut self) -> Result<(), Error> {
        let Some(holder) = self.address.holder().cloned() else { return Ok(()) };
        self.settle().await?;
        answer!(self, lease::renew(&mut self.connection, &holder, self.epoch))
    }

    pub async fn close(mut self) -> Result<(), Error> {
        if let Some(holder) = self.address.holder() {
            // Otherwise it is over by itself.
            let _ = within(GIVEN_BACK_MAX, lease::give_back(&mut self.connection, holder, self.epoch)).await;
        }
        // All that was acknowledged is committed: a connection that was lost since then needs no end.
        match self.connection.close().await.map_err(Error::from) {
            Err(error) if error.is_lost_connection() => Ok(()),
            ended => ended,
        }
    }
}

/// `($1,$2),($3,$4)`.
fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places = (1..=columns).map(|column| format!("${}", row * columns + column)).collect::<Vec<_>>();
        format!("({})", places.join(","))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}
