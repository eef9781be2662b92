//! What came out of a sweep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::RunId;

/// The best trial of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// Its result.
    pub value: f64,
    /// Its active parameters, as a JSON object in written order.
    pub parameters: String,
    /// Outputs that the document names and that it did not leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_outputs: Vec<String>,
    /// Why what belongs to its value was not kept, in words; empty where it was, or nobody wished for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unkept: String,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What came out of a sweep, said once at its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    /// The best trial; absent when no trial had a finite value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Trials by state.
    pub trial_counts: BTreeMap<String, u32>,
    /// How many trials were proposed.
    pub proposals: u32,
    /// How often a trial lost its node.
    pub preemptions: u32,
    /// Trials that completed without a finite value.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_value: u32,
    /// Trials of earlier sweeps that were observations of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub inherited: u32,
}
