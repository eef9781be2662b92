//! Endpoints at work: what the calls, the agents' reports and the reaction that keeps replicas share.
//!
//! `state` is what the process knows beside the log: whose replica a job is, the table of routes, the replicas' logs.
//! `commands` has wishes and reports decided. `jobs` are the replicas' jobs and their clusters. `wire` says how
//! replicas and routes look to others. What keeps the replicas is a reaction: `reactions/keep_replicas.rs`.

mod commands;
mod jobs;
mod logs;
mod state;
pub(crate) mod wire;

pub(crate) use commands::{EndpointCommands, how_it_ended};
pub(crate) use state::ServingState;
