//! What can happen to a workspace's experiments, as it is stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A name got its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExperimentCreated {
    /// The workspace.
    pub workspace: String,
    /// Counted per workspace from 1; 0 is Default, which needs no event.
    pub experiment_id: u64,
    /// The name.
    pub name: String,
    /// The user's tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Microseconds since 1970.
    pub at_us: i64,
}

vocabulary::stored_events! {
    /// What can happen to a workspace's experiments.
    pub enum ExperimentEvent { ExperimentCreated: 1 }
}
