//! PostgreSQL: a schema for each service's log, one connection that writes, a few that read.
//!
//! Positions come from the writer under the fence of `log_head`, never from a sequence, so that they are dense and in
//! the order of the commits. A batch is one statement: its inserts are parts of one `WITH`, which the server runs as
//! one transaction in one round trip.

mod carrier;
mod connect;
mod insert;
mod known;
mod lease;
mod pages;
mod readers;
mod schema;
mod shadow;
mod writer;

pub use connect::Address;
pub(super) use readers::Readers;
pub(super) use writer::Writer;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, Postgres};

use crate::Error;
use crate::sql::{Statement, Value};

type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// A statement as the driver has it.
///
/// # Errors
/// When a text is none here.
fn query(statement: Statement) -> Result<Query, Error> {
    statement.values.into_iter().try_fold(sqlx::query(AssertSqlSafe(statement.text)), bind)
}

/// Characters that are shown of a text.
const SHOWN: usize = 100;

fn bind(query: Query, value: Value) -> Result<Query, Error> {
    Ok(match value {
        Value::Integer(value) => query.bind(value),
        Value::Real(value) => query.bind(value),
        Value::Text(Some(value)) if value.contains('\0') => {
            return Err(Error::Nul(value.chars().take(SHOWN).collect()));
        }
        Value::Text(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    })
}
