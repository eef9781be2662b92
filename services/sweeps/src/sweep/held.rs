//! What becomes of live trials while their sweep is paused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, VariantNames};
use vocabulary::RunId;

/// What becomes of live trials when a sweep is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PauseMode {
    /// They run on.
    #[default]
    Drain,
    /// They are held with their checkpoints.
    Checkpoint,
}

impl PauseMode {
    /// Whether they run on; that is not written into events.
    pub fn is_drain(&self) -> bool {
        *self == Self::Drain
    }
}

/// A live trial is to save its checkpoint, give its node back and wait until its sweep goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialHeld {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
}

/// A trial that was held goes on from its checkpoint. The number of the attempt comes with the run's own news, as
/// after a preemption: until then the old attempt may still report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialReleased {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
}
