//! The read models of the service.

mod ended_trials;
mod listed;
mod stops;

pub(crate) use ended_trials::{EndedTrials, ended_trials};
pub(crate) use listed::{Listed, ListedSweep, active, between, by_command, by_former_name, by_name, listed};
pub(crate) use stops::{Stops, stop_of, stops_from};
