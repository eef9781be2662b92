//! What only the rebuilding of views needs: a schema beside that of the log, in the same database.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{Address, Writer};
use crate::Error;
use crate::content::FoundColumn;

/// How long a lock of a table is waited for. Whoever writes the log may wait for the same tables with some of them in
/// its hands: this gives way, and long before the server looks who is in whose way (a second).
const LOCK_MAX: &str = "200ms";
/// Tries before it is said that there is no getting at them, and the time between two.
const LOCK_TRIES: u32 = 100;
const LOCK_EVERY: Duration = Duration::from_millis(50);
/// The locks were not to be had: `lock_not_available`, `deadlock_detected`.
const HELD: [&str; 2] = ["55P03", "40P01"];

/// Column, type, and the place in the primary key from 1, or 0.
const COLUMNS: &str = "SELECT attribute.attname::text, type.typname::text,
        coalesce(array_position(index.indkey::smallint[], attribute.attnum) + 1, 0)::bigint
    FROM pg_attribute AS attribute
    JOIN pg_type AS type ON type.oid = attribute.atttypid
    LEFT JOIN pg_index AS index ON index.indrelid = attribute.attrelid AND index.indisprimary
    WHERE attribute.attrelid = to_regclass($1) AND attribute.attnum > 0 AND NOT attribute.attisdropped
    ORDER BY attribute.attnum";

impl Writer {
    /// Makes the schema anew.
    pub async fn shadow(address: &Address) -> Result<Self, Error> {
        let mut writer = Self::carrier(address).await?;
        // Until the connection ends: two at once would take each other's tables away.
        let alone = "SELECT pg_try_advisory_lock(hashtext($1), 1)";
        let is_alone: bool = sqlx::query_scalar(alone).bind(address.schema()).fetch_one(writer.connection()).await?;
        if !is_alone {
            let schema = address.schema();
            return Err(Error::NotRebuilt(format!("views of this log are rebuilt already: somebody has {schema}")));
        }
        writer.drop_schema(address.schema()).await?;
        address.make(writer.connection()).await?;
        Ok(writer)
    }

    async fn drop_schema(&mut self, schema: &str) -> Result<(), Error> {
        let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
        sqlx::query(AssertSqlSafe(drop)).execute(self.connection()).await?;
        Ok(())
    }

    /// Begins to read of one moment.
    pub async fn look(&mut self) -> Result<(), Error> {
        sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(self.connection()).await?;
        Ok(())
    }

    /// Begins when nobody has read or written these tables in a transaction that goes on: one that has read a row
    /// would write what it has made of it over what is put there meanwhile.
    pub async fn hold(&mut self, tables: &[String]) -> Result<(), Error> {
        let lock =
            format!("SET LOCAL lock_timeout = '{LOCK_MAX}'; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
        for tries in 1.. {
            self.begin().await?;
            let Err(error) = sqlx::raw_sql(AssertSqlSafe(lock.clone())).execute(self.connection()).await else {
                return Ok(());
            };
            self.rollback().await;
            let state = error.as_database_error().and_then(|error| error.code());
            let is_held = state.is_some_and(|state| HELD.contains(&state.as_ref()));
            if !is_held || tries == LOCK_TRIES {
                return Err(error.into());
            }
            tokio::time::sleep(LOCK_EVERY).await;
        }
        Ok(())
    }

    /// See [`COLUMNS`].
    pub async fn columns_of(&mut self, table: &str) -> Result<Vec<FoundColumn>, Error> {
        Ok(sqlx::query_as(COLUMNS).bind(table).fetch_all(self.connection()).await?)
    }

    /// Takes the schema away, and ends.
    pub async fn leave(mut self) -> Result<(), Error> {
        let schema = self.address().schema().to_owned();
        self.drop_schema(&schema).await?;
        self.close().await
    }
}
