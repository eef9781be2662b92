//! Where a run is in its life, and the trial that it is of.
//!
//! ```text
//! with a job:    Proposed -> Queued -> Starting -> Preparing -> Running -> Finalizing -> Completed | Failed
//!                any of them -> Canceled | EarlyStopped
//!                Completed | Failed -> EarlyStopped (a policy's stop came late)
//!                any of them -> Preempted | NotResponding | Paused (at a rung) -> Queued (attempt + 1)
//! without one:   Running -> Completed | Failed | Canceled | EarlyStopped
//! ```

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantNames};

/// Where a run is in its life, and the trial that it is of.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantNames,
)]
pub enum RunState {
    /// Nobody has taken it up yet.
    Proposed,
    /// Waits for a node.
    Queued,
    /// On its way to a node.
    Starting,
    /// The node prepares it.
    Preparing,
    /// Its command runs.
    Running,
    /// Its outputs are uploaded.
    Finalizing,
    /// Lost its node with notice; will be queued again.
    Preempted,
    /// Waits without a node: at a rung for its promotion, or until its paused sweep goes on.
    Paused,
    /// Its node has fallen silent.
    NotResponding,
    /// Its command ended well.
    Completed,
    /// It failed.
    Failed,
    /// Somebody or a limit ended it.
    Canceled,
    /// A policy stopped it.
    EarlyStopped,
}

impl RunState {
    /// Whether the command, or the upload after it, is running.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Finalizing)
    }

    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::EarlyStopped)
    }
}
