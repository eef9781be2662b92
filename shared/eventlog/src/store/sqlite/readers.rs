//! The connections that read.

use std::path::Path;

use futures_util::TryStreamExt;
use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use super::{connect, pages, query};
use uuid::Uuid;

use crate::snapshots::SnapshotRow;
use crate::sql::{Row, Statement, Stored};
use crate::store::reader::Take;
use crate::{CursorMove, Error, RecordedEvent};

/// Connections for reading; SQLite reads are short and in memory mostly.
const READERS: u32 = 4;

/// A pool of read-only connections.
pub(crate) struct Readers {
    pool: SqlitePool,
}

impl Readers {
    pub async fn connect(file: &Path) -> Result<Self, Error> {
        let options = SqlitePoolOptions::new().max_connections(READERS).test_before_acquire(false);
        Ok(Self { pool: options.connect_with(connect::reading(file)).await? })
    }

    pub async fn all(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        let rows = query(statement).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| Row(Stored::Sqlite(row))).collect())
    }

    pub async fn integrity(&self) -> Result<Vec<String>, Error> {
        super::examine::integrity(&self.pool).await
    }

    pub async fn has_table(&self, name: &str) -> Result<bool, Error> {
        let count = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?";
        let count: i64 = sqlx::query_scalar(count).bind(name).fetch_one(&self.pool).await?;
        Ok(count > 0)
    }

    /// Table, column, type, and the column's place in the key from 1, or 0.
    #[cfg(feature = "postgres")]
    pub async fn columns(&self) -> Result<Vec<crate::transfer::Found>, Error> {
        let get = "SELECT tables.name, columns.name, columns.type, columns.pk FROM sqlite_master AS tables
            JOIN pragma_table_info(tables.name) AS columns
            WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite!_%' ESCAPE '!'
            ORDER BY tables.name, columns.cid";
        Ok(sqlx::query_as(get).fetch_all(&self.pool).await?)
    }

    pub async fn each(&self, statement: Statement, take: &mut Take<'_>) -> Result<(), Error> {
        let mut rows = query(statement).fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            if !take(Row(Stored::Sqlite(row)))? {
                break;
            }
        }
        Ok(())
    }

    pub async fn first(&self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(query(statement).fetch_optional(&self.pool).await?.map(|row| Row(Stored::Sqlite(row))))
    }

    pub async fn page(&self, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        pages::after(&mut *self.pool.acquire().await?, after, limit).await
    }

    pub async fn stream(&self, stream: &str, after: i64, limit: u32) -> Result<Vec<RecordedEvent>, Error> {
        pages::of_stream(&mut *self.pool.acquire().await?, stream, after, limit).await
    }

    pub async fn snapshot(&self, stream: &str) -> Result<Option<SnapshotRow>, Error> {
        let get = "SELECT snapshots.schema, snapshots.version, snapshots.bytes FROM snapshots
                   JOIN events ON events.stream_id = snapshots.stream_id AND events.version = snapshots.version
                       AND events.event_id = snapshots.event_id
                   WHERE snapshots.stream_id = ?";
        let found: Option<(i16, i64, Vec<u8>)> = sqlx::query_as(get).bind(stream).fetch_optional(&self.pool).await?;
        Ok(found.map(|(schema, version, bytes)| SnapshotRow { stream: stream.into(), schema, version, bytes }))
    }

    pub async fn cursor(&self, projection: &str, source: &str) -> Result<Option<i64>, Error> {
        let get = "SELECT last_position FROM projection_cursor WHERE projection = ? AND source = ? AND partition = 0";
        Ok(sqlx::query_scalar(get).bind(projection).bind(source).fetch_optional(&self.pool).await?)
    }

    pub async fn cursors(&self, projection: &str) -> Result<Vec<CursorMove>, Error> {
        let get = "SELECT source, partition, last_position, event_id, resume FROM projection_cursor
            WHERE projection = ?";
        type Found = (String, i32, i64, Option<Vec<u8>>, i64);
        let rows: Vec<Found> = sqlx::query_as(get).bind(projection).fetch_all(&self.pool).await?;
        let cursor = |(source, partition, position, event_id, resume): Found| {
            let (projection, event_id) = (projection.to_owned(), event_id.and_then(|id| Uuid::from_slice(&id).ok()));
            CursorMove { projection, source, partition, position, event_id, resume }
        };
        Ok(rows.into_iter().map(cursor).collect())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}
