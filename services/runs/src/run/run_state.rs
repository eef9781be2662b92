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

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Proposed,
        Self::Queued,
        Self::Starting,
        Self::Preparing,
        Self::Running,
        Self::Finalizing,
        Self::Preempted,
        Self::Paused,
        Self::NotResponding,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::EarlyStopped,
    ];

    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "Proposed",
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Preparing => "Preparing",
            Self::Running => "Running",
            Self::Finalizing => "Finalizing",
            Self::Preempted => "Preempted",
            Self::Paused => "Paused",
            Self::NotResponding => "NotResponding",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::EarlyStopped => "EarlyStopped",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::EarlyStopped)
    }
}
