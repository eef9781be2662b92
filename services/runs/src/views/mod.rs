//! The tables that lists and reads are answered from, written in the append's own transaction.

pub mod canceled_runs;
pub mod code_objects;
pub mod creations;
pub mod deleted_sweeps;
pub mod experiments;
pub mod kept_objects;
pub mod nested_runs;
pub mod object_owners;
pub mod runs;

use vocabulary::RunId;

/// A run in a row.
fn key(run: RunId) -> Vec<u8> {
    run.uuid().as_bytes().to_vec()
}
