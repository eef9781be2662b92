//! Metric points as rows: a request is one encoded row beside a summary of each key. Nothing here decides; see
//! `run::report`.

pub mod batch;
pub mod codec;
mod late;
pub mod read;
pub mod store;

pub use batch::Batch;
