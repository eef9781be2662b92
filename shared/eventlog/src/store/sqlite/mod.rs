//! SQLite: one file in WAL mode, one connection that writes, a few that read.

mod connect;
mod examine;
mod insert;
mod known;
mod pages;
mod readers;
mod shadow;
mod writer;

pub(super) use examine::write_back;
pub(super) use readers::Readers;
pub(super) use shadow::ATTACHED;
pub(super) use writer::Writer;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{Sqlite, SqliteArguments};

use crate::sql::{Statement, Value};

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A statement as the driver has it.
fn query(statement: Statement) -> Query {
    statement.values.into_iter().fold(sqlx::query(AssertSqlSafe(statement.text)), bind)
}

fn bind(query: Query, value: Value) -> Query {
    match value {
        Value::Integer(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    #[tokio::test]
    async fn facts_that_were_parked_before_they_had_places_keep_their_order() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(include_str!("../../../migrations/001_feed.sql")).execute(&mut connection).await.unwrap();
        // Two consumers; one lane over two sources, parked at one moment and later.
        sqlx::raw_sql(
            "INSERT INTO feed_parked VALUES ('p', 's@1', 0, 7, 'a', '', '', 10, x''),
            ('p', 's@2', 0, 3, 'a', '', '', 20, x''), ('p', 's@1', 0, 5, 'a', '', '', 10, x''),
            ('q', 's@1', 0, 9, 'a', '', '', 5, x'')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::raw_sql(include_str!("../../../migrations/002_parked_order.sql")).execute(&mut connection).await.unwrap();
        let get = "SELECT projection, position, place FROM feed_parked ORDER BY projection, place";
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(get).fetch_all(&mut connection).await.unwrap();
        let shown: Vec<_> = rows.iter().map(|(name, position, place)| (name.as_str(), *position, *place)).collect();
        assert_eq!(shown, [("p", 5, 1), ("p", 7, 2), ("p", 3, 3), ("q", 9, 1)]);
    }
}
