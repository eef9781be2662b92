//! The small types that events and state share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vocabulary::RunId;

/// Where a sweep is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Paused,
        Self::Completing,
        Self::Completed,
        Self::Failed,
        Self::Canceling,
        Self::Canceled,
    ];

    /// Reads what [`SweepState::as_str`] writes.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The spelling in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Paused => "Paused",
            Self::Completing => "Completing",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceling => "Canceling",
            Self::Canceled => "Canceled",
        }
    }

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletedReason {
    /// All trials have been proposed.
    MaxTotalTrials,
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

impl CompletedReason {
    /// The spelling in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxTotalTrials => "max_total_trials",
            Self::SpaceExhausted => "space_exhausted",
            Self::Timeout => "timeout",
            Self::TargetReached => "target_reached",
            Self::NoImprovement => "no_improvement",
            Self::Converged => "converged",
            Self::Imported => "imported",
            Self::PopulationEnded => "population_ended",
        }
    }
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

/// Where a trial is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrialState {
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

impl TrialState {
    /// All of them, in the order of a life.
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

    /// The spelling in answers.
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

    /// Reads what [`TrialState::as_str`] writes.
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the command, or the upload after it, is running.
    pub fn runs(self) -> bool {
        matches!(self, Self::Running | Self::Finalizing)
    }

    /// Whether the trial has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::EarlyStopped)
    }
}

/// One report of the watched metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The name of the point.
    pub step: i64,
    /// NaN and infinities move the clock and have no value.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
}

/// One report of another watched metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedValue {
    /// The metric.
    pub name: String,
    /// The name of the point.
    pub step: i64,
    /// NaN and infinities say nothing.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
}

/// Who or what wants a trial to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopBy {
    /// A stopping policy.
    Policy,
    /// The sweep was canceled, or has failed.
    Sweep,
    /// The sweep's time is up.
    SweepTimeout,
    /// The trial's time is up.
    TrialTimeout,
    /// It reported a value that is not finite, and the document says that this fails it.
    NonFinite,
    /// A trial of the sweep, perhaps this one, reached the target.
    TargetReached,
    /// It has come as far as the policy lets any trial come.
    MaxResource,
}

impl StopBy {
    /// The spelling for others, who know no failure by value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Sweep | Self::NonFinite => "sweep",
            Self::SweepTimeout => "sweep_timeout",
            Self::TrialTimeout => "trial_timeout",
            Self::TargetReached => "target_reached",
            Self::MaxResource => "max_resource",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// completed | failed | canceled | preempted | lost.
    pub outcome: String,
    /// prepare | run | finalize.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
    /// exit_code | signal | out_of_memory | lost | checkpoint.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The exit code, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal, if one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The last lines of the standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
    /// Who canceled it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Seconds since the last checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_age_seconds: Option<f64>,
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum TrialEnd {
    /// Its command ended well.
    Completed {
        /// It never reported a finite value of the watched metric.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_objective: bool,
        /// It was ended as one that has come as far as the policy lets any trial come.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        max_resource: bool,
    },
    /// It failed.
    Failed {
        /// prepare | run | finalize.
        phase: String,
        /// exit_code | signal | out_of_memory | lost | checkpoint | non_finite.
        reason: String,
        /// The exit code, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// The signal, if one ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// Somebody or a limit ended it.
    Canceled {
        /// user | sweep | sweep_timeout | trial_timeout | target_reached.
        by: String,
    },
    /// A policy stopped it.
    EarlyStopped {
        /// The decision: SWEEP@position.
        decision: String,
    },
}

impl TrialEnd {
    /// The state that the trial is in from here on.
    pub fn state(&self) -> TrialState {
        match self {
            Self::Completed { .. } => TrialState::Completed,
            Self::Failed { .. } => TrialState::Failed,
            Self::Canceled { .. } => TrialState::Canceled,
            Self::EarlyStopped { .. } => TrialState::EarlyStopped,
        }
    }

    /// How policies and rankings see it.
    pub fn for_policies(&self) -> tuning::End {
        match self {
            Self::Completed { .. } => tuning::End::Completed,
            Self::Failed { .. } => tuning::End::Failed,
            Self::Canceled { .. } => tuning::End::Canceled,
            Self::EarlyStopped { .. } => tuning::End::EarlyStopped,
        }
    }

    /// Why it ended so, in a few words; empty when there is nothing to say.
    pub fn reason(&self) -> String {
        match self {
            Self::Completed { no_objective: true, .. } => "no_objective".to_owned(),
            Self::Completed { max_resource: true, .. } => "max_resource".to_owned(),
            Self::Completed { .. } => String::new(),
            Self::Failed { phase, reason, exit_code: Some(code), .. } if reason == "exit_code" => {
                format!("{phase}: exit code {code}")
            }
            Self::Failed { phase, reason, signal: Some(signal), .. } if reason == "signal" => {
                format!("{phase}: signal {signal}")
            }
            Self::Failed { phase, reason, .. } => format!("{phase}: {reason}"),
            Self::Canceled { by } => by.clone(),
            Self::EarlyStopped { .. } => "policy".to_owned(),
        }
    }
}

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
}
