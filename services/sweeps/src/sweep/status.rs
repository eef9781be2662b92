//! Where a sweep is in its life, and why.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// Where a sweep is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
pub enum SweepState {
    /// Accepted, nothing proposed yet. What a stream without events is in, too.
    #[default]
    Queued,
    /// Proposes trials.
    Running,
    /// Proposes nothing; what runs goes on or is held.
    Paused,
    /// Will propose nothing any more; live trials have still to end.
    Completing,
    /// Ended by itself.
    Completed,
    /// Ended because it could not succeed.
    Failed,
    /// Somebody wants it to end; live trials have still to.
    Canceling,
    /// Ended by somebody.
    Canceled,
}

impl SweepState {
    /// Whether nothing happens any more by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// Whether its limits can still end it or be changed.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused)
    }
}

/// Why a sweep that completed proposes no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CompletedReason {
    /// All trials have been proposed.
    MaxTotalTrials,
    /// So many as it was to propose itself have been.
    MaxNewTrials,
    /// There is no configuration left.
    SpaceExhausted,
    /// The time is up.
    Timeout,
    /// A trial reached the target.
    TargetReached,
    /// So many trials ended without a better leader.
    NoImprovement,
    /// The leader hardly got better over so many trials.
    Converged,
    /// All its trials had ended elsewhere.
    Imported,
    /// Of population-based training: its last member has ended.
    PopulationEnded,
}

/// What a completing sweep will be when its live trials have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum Outcome {
    /// Completed.
    Completed {
        /// Why there are no more proposals.
        reason: CompletedReason,
    },
    /// Failed.
    Failed {
        /// The stable code.
        code: String,
        /// What was seen.
        detail: String,
    },
}

/// Where a sweep is in its life, with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Nothing proposed yet.
    #[default]
    Queued,
    /// Proposes trials.
    Running,
    /// Proposes nothing for now.
    Paused,
    /// Proposes nothing any more; live trials have still to end.
    Completing(Outcome),
    /// Ended by itself.
    Completed(CompletedReason),
    /// Could not succeed: code and detail.
    Failed(String, String),
    /// Is being ended by somebody.
    Canceling(String),
    /// Was ended by somebody.
    Canceled(String),
}

impl Status {
    /// Without the reason.
    pub fn state(&self) -> SweepState {
        match self {
            Self::Queued => SweepState::Queued,
            Self::Running => SweepState::Running,
            Self::Paused => SweepState::Paused,
            Self::Completing(_) => SweepState::Completing,
            Self::Completed(_) => SweepState::Completed,
            Self::Failed(..) => SweepState::Failed,
            Self::Canceling(_) => SweepState::Canceling,
            Self::Canceled(_) => SweepState::Canceled,
        }
    }

    /// The reason in words; empty when there is none.
    pub fn reason(&self) -> String {
        match self {
            Self::Queued | Self::Running | Self::Paused => String::new(),
            Self::Completing(Outcome::Completed { reason }) | Self::Completed(reason) => reason.to_string(),
            Self::Completing(Outcome::Failed { code, detail }) | Self::Failed(code, detail) => {
                format!("{code}: {detail}")
            }
            Self::Canceling(by) | Self::Canceled(by) => by.clone(),
        }
    }
}
