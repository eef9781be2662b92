//! How trials and their attempts end, and who wants it.

use serde::{Deserialize, Serialize};
use strum::Display;

use super::TrialState;

/// Who or what wants a trial to end. As a text for others, who know no failure by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
    #[strum(to_string = "sweep")]
    NonFinite,
    /// A trial of the sweep, perhaps this one, reached the target.
    TargetReached,
    /// It has come as far as the policy lets any trial come.
    MaxResource,
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
    /// Why what belongs to the best value was not kept, in words; empty where it was, or nobody wished for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unkept: String,
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
        /// It had come as far as the policy lets any trial come, and was ended because it went on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        max_resource: bool,
        /// It had reached the target and was ended because it did not end by itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        target_reached: bool,
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
    /// Of a trial that has ended well by itself.
    pub fn completed(no_objective: bool) -> Self {
        Self::Completed { no_objective, max_resource: false, target_reached: false }
    }

    /// The state that the trial is in from here on.
    pub fn state(&self) -> TrialState {
        match self {
            Self::Completed { .. } => TrialState::Completed,
            Self::Failed { .. } => TrialState::Failed,
            Self::Canceled { .. } => TrialState::Canceled,
            Self::EarlyStopped { .. } => TrialState::EarlyStopped,
        }
    }

    /// Whether it ended well and has no result.
    pub fn lacks_value(&self) -> bool {
        matches!(self, Self::Completed { no_objective: true, .. })
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
            Self::Completed { target_reached: true, .. } => "target_reached".to_owned(),
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
