//! Experiments: the names of a workspace under which runs are kept. One stream a workspace, so that ids count without
//! gaps.

pub mod decide;
pub mod events;
pub mod state;

pub use decide::{Command, Rejection};
pub use events::{ExperimentCreated, ExperimentEvent};
pub use state::{DEFAULT_ID, DEFAULT_NAME, Experiments};

/// The stream of a workspace's experiments.
pub fn stream(workspace: &str) -> String {
    format!("experiments-{workspace}")
}
