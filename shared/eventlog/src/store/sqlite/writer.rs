//! The connection that writes.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use uuid::Uuid;

use super::insert::{self, Texts, pieces};
use super::known::{self, Pruner};
use super::{bind, connect, pages, query};
use crate::known::Known;
use crate::snapshots::SnapshotRow;
use crate::sql::{Insert, ROWS_AT_ONCE, Row, Statement, Stored};
use crate::store::transaction::Owned;
use crate::store::{Fence, Rows};
use crate::{Error, RecordedEvent};

/// See the module.
pub(crate) struct Writer {
    connection: SqliteConnection,
    /// For a new connection when the old one is in an unknown state.
    options: SqliteConnectOptions,
    /// Whether the connection is known to be outside a transaction.
    settled: bool,
    texts: Texts,
    pruner: Pruner,
}

impl Writer {
    pub async fn connect(file: &Path) -> Result<Self, Error> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(sqlx::Error::from)?;
        }
        let options = connect::writing(file);
        let mut connection = options.connect().await?;
        connect::assert_version(&mut connection).await?;
        Ok(Self::of(connection, options))
    }

    pub(super) fn of(connection: SqliteConnection, options: SqliteConnectOptions) -> Self {
        Self { connection, options, settled: true, texts: Texts::default(), pruner: Pruner::default() }
    }

    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(super) fn into_connection(self) -> SqliteConnection {
        self.connection
    }

    pub async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        Ok(query(statement).execute(&mut self.connection).await?.rows_affected())
    }

    pub async fn insert(&mut self, insert: Insert) -> Result<(), Error> {
        let Insert { into, then, columns, values } = insert;
        let mut values = values.into_iter();
        for rows in ROWS_AT_ONCE {
            while values.len() >= rows * columns && values.len() > 0 {
                // Anonymous places: SQLite looks numbered ones up one by one.
                let row = format!("({})", vec!["?"; columns].join(","));
                let text = format!("{into} VALUES {} {then}", vec![row.as_str(); rows].join(","));
                let some = values.by_ref().take(rows * columns);
                some.fold(sqlx::query(AssertSqlSafe(text)), bind).execute(&mut self.connection).await?;
            }
        }
        Ok(())
    }

    pub async fn all(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        let rows = query(statement).fetch_all(&mut self.connection).await?;
        Ok(rows.into_iter().map(|row| Row(Stored::Sqlite(row))).collect())
    }

    pub async fn first(&mut self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(query(statement).fetch_optional(&mut self.connection).await?.map(|row| Row(Stored::Sqlite(row))))
    }

    pub async fn script(&mut self, text: &'static str) -> Result<(), Error> {
        sqlx::raw_sql(text).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Connects anew when nobody knows what became of the last transaction.
    async fn settle(&mut self) -> Result<(), Error> {
        if !self.settled {
            self.connection = self.options.connect().await?;
            self.settled = true;
        }
        Ok(())
    }

    pub async fn begin(&mut self) -> Result<(), Error> {
        self.settle().await?;
        sqlx::query(insert::BEGIN).execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn commit(&mut self) -> Result<(), Error> {
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn rollback(&mut self) {
        // Fails when SQLite has rolled back by itself, and when the connection is of no use any more.
        self.settled = sqlx::query("ROLLBACK").execute(&mut self.connection).await.is_ok();
    }

    pub async fn part(&mut self, text: &'static str) -> Result<(), Error> {
        sqlx::query(text).execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn write(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        insert::write(&mut self.connection, &mut self.texts, fence, rows).await
    }

    pub async fn write_alone(&mut self, fence: Fence, rows: Rows) -> Result<(), Error> {
        self.settle().await?;
        insert::commit(&mut self.connection, &mut self.texts, fence, rows).await
    }

    pub async fn take_over(&mut self, service: &str, seed: u64) -> Result<Owned, Error> {
        let tx = &mut self.connection;
        sqlx::raw_sql(connect::TABLES).execute(&mut *tx).await?;
        let put = "INSERT INTO log_meta(key, value) VALUES (?, ?) ON CONFLICT DO NOTHING";
        sqlx::query(put).bind("service").bind(service).execute(&mut *tx).await?;
        sqlx::query(put).bind("incarnation").bind(format!("{seed:016x}")).execute(&mut *tx).await?;
        let get = "SELECT value FROM log_meta WHERE key = ?";
        let found: String = sqlx::query_scalar(get).bind("service").fetch_one(&mut *tx).await?;
        if found != service {
            return Err(Error::OtherService { expected: service.to_owned(), found });
        }
        let incarnation = sqlx::query_scalar(get).bind("incarnation").fetch_one(&mut *tx).await?;
        let take = "UPDATE log_head SET epoch = epoch + 1 WHERE id = 1 RETURNING last_position, epoch";
        let (head, epoch): (i64, i64) = sqlx::query_as(take).fetch_one(&mut *tx).await?;
        let end = "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1";
        let last: Option<(i64, i64)> = sqlx::query_as(end).fetch_optional(tx).await?;
        let (last, recorded_at_us) = last.unwrap_or((0, 0));
        if last != head {
            return Err(Error::Damaged { head, last });
        }
        Ok(Owned { incarnation, epoch, head, recorded_at_us })
    }

    pub async fn known(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
        self.settle().await?;
        known::lookup(&mut self.connection, ids).await
    }

    pub async fn newest_commands(&mut self, events: usize) -> Result<Vec<Uuid>, Error> {
        known::newest(&mut self.connection, events).await
    }

    pub async fn versions(&mut self, streams: &[Arc<str>]) -> Result<HashMap<String, i64>, Error> {
        self.settle().await?;
        let mut found = HashMap::new();
        for piece in pieces(streams) {
            let places = vec!["?"; piece.len()].join(",");
            // The last version of a stream is one step into the index; grouping would walk all of them.
            let sql = format!(
                "SELECT stream_id, (SELECT max(version) FROM events AS own WHERE own.stream_id = events.stream_id) \
                 FROM events WHERE version = 1 AND stream_id IN ({places})"
            );
            let query = sqlx::query_as(AssertSqlSafe(sql));
            let query = piece.iter().fold(query, |query, stream| query.bind(Arc::clone(stream)));
            let versions: Vec<(String, i64)> = query.fetch_all(&mut self.connection).await?;
            found.extend(versions);
        }
        Ok(found)
    }

    pub async fn put_snapshot(&mut self, row: SnapshotRow) -> Result<(), Error> {
        self.settle().await?;
        let put = "INSERT INTO snapshots(stream_id, schema, version, bytes, event_id) VALUES (?1, ?2, ?3, ?4,
                       (SELECT event_id FROM events WHERE stream_id = ?1 AND version = ?3))
                   ON CONFLICT(stream_id) DO UPDATE SET schema = excluded.schema, version = excluded.version,
                   bytes = excluded.bytes, event_id = excluded.event_id";
        let put = sqlx::query(put).bind(row.stream).bind(row.schema).bind(row.version).bind(row.bytes);
        put.execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn page(&mut self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        pages::after(&mut self.connection, after, limit).await
    }

    pub async fn stream(&mut self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        pages::of_stream(&mut self.connection, stream, after, limit).await
    }

    pub async fn forget(&mut self, before_us: i64) -> Result<(), Error> {
        self.pruner.step(&mut self.connection, before_us).await
    }

    pub async fn tidy(&mut self) -> Result<(), Error> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn close(mut self) -> Result<(), Error> {
        self.tidy().await?;
        self.connection.close().await?;
        Ok(())
    }
}
