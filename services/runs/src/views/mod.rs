//! The tables that lists and reads are answered from, written in the append's own transaction.

pub mod canceled_runs;
pub mod experiments;
pub mod nested_runs;
pub mod object_owners;
pub(crate) mod row;
pub mod runs;
