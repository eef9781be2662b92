//! What a run is doing.
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

/// What a run is doing.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, IntoStaticStr, VariantNames,
)]
#[expect(missing_docs, reason = "the words of the contract; the drawing above says how they follow each other")]
pub enum RunState {
    Proposed,
    Queued,
    Starting,
    Preparing,
    Running,
    Finalizing,
    Preempted,
    Paused,
    NotResponding,
    Completed,
    Failed,
    Canceled,
    EarlyStopped,
}

impl RunState {
    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::EarlyStopped)
    }
}
