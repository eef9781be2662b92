//! The SQL of services: one text for every store.
//!
//! What a text may hold: `$n` for values, `ON CONFLICT` for rows that are there already, columns of BIGINT, TEXT, BLOB
//! and double precision, booleans as BIGINT 0 and 1, and in `DO UPDATE SET` every name with its table in front
//! (`jobs.count + excluded.count`). What it may not hold is listed, and looked for, by the tidy test.

mod insert;
mod row;
mod statement;
mod value;

pub(crate) use insert::ROWS_AT_ONCE;
pub use insert::{Insert, insert};
pub(crate) use row::Stored;
pub use row::{Column, FromRow, Row};
pub use statement::{Source, Statement, sql};
pub use value::Value;
