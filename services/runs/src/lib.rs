//! Runs: experiments, runs with their attempts, metric points, logs, artifacts and objects.
//!
//! A run with a job is proposed here and driven by compute's facts; a run without one is driven by its client. Points,
//! logs and artifacts are rows that go through the log's writer beside the run's state (`EventLog::record`), so that a
//! late attempt is fenced in the same transaction; only what others must know becomes an event.
//!
//! - Invariant: nothing is accepted from an attempt that is not the run's current one, nor after the run's end (logs
//!   excepted).
//! - Invariant: a watched point that was acknowledged is in a `MetricReported` before the run's `RunEnded`.
//! - Invariant: a deleted run has its history and nothing else; an object that anything refers to stays.
//! - Invariant: a terminal state stays, but that a policy's late stop relabels Completed or Failed as EarlyStopped.

pub mod api;
mod belonging;
mod collection;
mod core;
mod deletion;
pub mod examine;
pub mod experiment;
mod experiments;
mod known_experiments;
pub mod logs;
pub mod metrics;
pub mod objects;
pub mod publish;
pub mod reactions;
pub mod run;
mod service;
pub mod views;

pub use service::{Dependencies, Service, log_options, open};
