//! The whole service on a temporary folder, with agents, a provider and runs that the tests play.

mod checkpoints;
pub(crate) mod harness;
mod scenarios;
mod speed;
mod stored;
