//! Compute: clusters, their nodes, jobs and attempts; the scheduler, the autoscaler, and the providers that give
//! nodes.
//!
//! ```text
//! run created (fact of runs) -> JobQueued -> [NodeRequested -> NodeReady] -> JobPlaced -> the agent starts it
//!   -> starting, preparing, running, finalizing -> JobEnded, or JobRequeued with the next attempt
//! ```
//! A node goes by one of three ways: idle and given back, preempted after a notice, or failed. In each case
//! everything of it is ended first; its attempts are queued again only then.
//!
//! - Invariant: a job has at most one live attempt; news of any other attempt mean nothing (I6).
//! - Invariant: a preemption never spends a retry; a lost attempt is tried again three times.
//! - Invariant: claims on a node never exceed its size.
//! - Invariant: an intent (a node that is asked for, a node that leaves) is an event before it has an effect, and
//!   ends in an event.

mod agents;
mod api;
mod checkpoints;
pub mod cluster;
mod commands;
mod endpoint;
mod engine;
mod fleet_state;
pub mod job;
mod measures;
mod node_events;
mod orders;
mod providers;
pub mod publish;
mod publish_endpoints;
mod reactions;
pub mod scheduler;
mod service;
mod serving;
#[cfg(test)]
mod serving_tests;
pub mod sizes;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod time;
mod views;
mod wiring;

pub use service::{Dependencies, Service, log_options, open};
pub use wiring::NodeWiring;
