//! SQLite: one file in WAL mode, one connection that writes, a few that read.

mod connect;
mod examine;
mod insert;
mod known;
mod pages;
mod readers;
mod writer;

pub use examine::{Examined, ExaminedCursor, examine, faults};
pub(super) use readers::Readers;
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
