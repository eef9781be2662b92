//! Metric points as rows: a request is one encoded row beside a summary of each key. Nothing here decides; see
//! `run::report`.

pub mod batch;
pub mod codec;
mod late;
pub mod read;
pub mod standing;
mod steps;
pub mod store;

use eventlog::RecordError;

pub use batch::Batch;

use crate::run::Rejection;

/// What a step of storing answers.
type Stored<T> = Result<T, RecordError<Rejection>>;
