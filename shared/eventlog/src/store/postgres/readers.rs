//! The connections that read.

use futures_util::TryStreamExt;
use sqlx::PgPool;

use super::{Address, lease, pages, query};
use crate::lease::Holder;
use uuid::Uuid;

use crate::snapshots::SnapshotRow;
use crate::sql::{Row, Statement, Stored};
use crate::store::reader::Take;
use crate::{CursorMove, Error, RecordedEvent};

/// A pool of connections that cannot write.
pub(crate) struct Readers {
    pool: PgPool,
}

impl Readers {
    pub async fn connect(address: &Address) -> Result<Self, Error> {
        Ok(Self { pool: address.reading().await? })
    }

    pub async fn all(&self, statement: Statement) -> Result<Vec<Row>, Error> {
        let rows = query(statement)?.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| Row(Stored::Postgres(row))).collect())
    }

    /// The server looks after its pages; what it finds there comes with the read that meets it.
    pub async fn integrity(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    pub async fn bytes(&self) -> Result<u64, Error> {
        let get = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
                   WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'";
        let bytes: i64 = sqlx::query_scalar(get).fetch_one(&self.pool).await?;
        Ok(bytes.unsigned_abs())
    }

    /// The processes of the log that live.
    pub async fn processes(&self) -> Result<Vec<(bool, Holder)>, Error> {
        lease::processes(&self.pool).await
    }

    pub async fn has_table(&self, name: &str) -> Result<bool, Error> {
        let get = "SELECT to_regclass(quote_ident($1)) IS NOT NULL";
        Ok(sqlx::query_scalar(get).bind(name).fetch_one(&self.pool).await?)
    }

    pub async fn each(&self, statement: Statement, take: &mut Take<'_>) -> Result<(), Error> {
        let mut rows = query(statement)?.fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            if !take(Row(Stored::Postgres(row)))? {
                break;
            }
        }
        Ok(())
    }

    pub async fn first(&self, statement: Statement) -> Result<Option<Row>, Error> {
        Ok(query(statement)?.fetch_optional(&self.pool).await?.map(|row| Row(Stored::Postgres(row))))
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
                       AND uuid_send(events.event_id) = snapshots.event_id
                   WHERE snapshots.stream_id = $1";
        let found: Option<(i16, i64, Vec<u8>)> = sqlx::query_as(get).bind(stream).fetch_optional(&self.pool).await?;
        Ok(found.map(|(schema, version, bytes)| SnapshotRow { stream: stream.into(), schema, version, bytes }))
    }

    pub async fn cursor(&self, projection: &str, source: &str) -> Result<Option<i64>, Error> {
        let get = "SELECT last_position FROM projection_cursor WHERE projection = $1 AND source = $2 AND partition = 0";
        Ok(sqlx::query_scalar(get).bind(projection).bind(source).fetch_optional(&self.pool).await?)
    }

    pub async fn cursors(&self, projection: &str) -> Result<Vec<CursorMove>, Error> {
        let get = "SELECT source, partition, last_position, event_id, resume FROM projection_cursor
            WHERE projection = $1";
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
