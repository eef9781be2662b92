//! The read models of the service.

mod listed;
mod stops;

pub(crate) use listed::{Listed, ListedSweep, active, between, by_command, by_name, listed};
pub(crate) use stops::{Stops, stop_of, stops_from};
