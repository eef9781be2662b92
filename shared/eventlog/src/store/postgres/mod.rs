//! PostgreSQL: a schema for each service's log, one connection that writes, a few that read.
//!
//! Positions come from the writer under the fence of `log_head`, never from a sequence, so that they are dense and in
//! the order of the commits. A batch is one statement: its inserts are parts of one `WITH`, which the server runs as
//! one transaction in one round trip.

mod connect;
mod insert;
mod known;
mod lease;
mod pages;
mod readers;
mod schema;
mod writer;

pub use connect::Address;
pub(super) use readers::Readers;
pub(super) use writer::Writer;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, Postgres};

use crate::sql::{Statement, Value};

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

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
