//! The stopping policies as they are declared and stored, and the goal of the objective.

use serde::{Deserialize, Serialize};

use strum::{Display, EnumString, VariantNames};

use crate::space::Issue;

/// Whether larger or smaller values of the primary metric are better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Goal {
    /// Larger is better.
    Maximize,
    /// Smaller is better.
    #[default]
    Minimize,
}

impl Goal {
    /// Whether `a` is strictly worse than `b`.
    pub fn worse(self, a: f64, b: f64) -> bool {
        match self {
            Self::Maximize => a < b,
            Self::Minimize => a > b,
        }
    }

    /// Whether `value` has reached a target.
    pub fn reached(self, value: f64, target: f64) -> bool {
        !self.worse(value, target)
    }
}

fn default_interval() -> u32 {
    1
}

fn default_resource() -> u32 {
    1
}

fn default_asha_factor() -> u32 {
    4
}

fn default_hyperband_factor() -> u32 {
    3
}

fn default_finish() -> f64 {
    PolicySpec::FINISH_SECONDS_DEFAULT
}

/// What is not said is not written: stored documents stay as they are.
fn is_default_finish(seconds: &f64) -> bool {
    *seconds == PolicySpec::FINISH_SECONDS_DEFAULT
}

fn default_share() -> f64 {
    PolicySpec::SHARE_DEFAULT
}

fn default_hope() -> f64 {
    PolicySpec::HOPE_DEFAULT
}

fn default_quantile() -> f64 {
    PolicySpec::QUANTILE_DEFAULT
}

fn default_resample_probability() -> f64 {
    PolicySpec::RESAMPLE_PROBABILITY_DEFAULT
}

/// What successive halving does with a trial that is not among the best of a rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// It is stopped; the others go on at once. Needs no checkpoints.
    #[default]
    Stopping,
    /// Every trial is paused at the rung; the best go on from their checkpoints when there is room.
    Promotion,
}

/// The rule that stops trials early.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum PolicySpec {
    /// Every trial runs to its end.
    #[default]
    None,
    /// Stops a trial whose best falls outside a slack of the sweep's best. Exactly one slack is given.
    Bandit {
        /// Slack relative to the best.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slack_factor: Option<f64>,
        /// Slack in units of the metric.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slack_amount: Option<f64>,
        /// The policy is asked at multiples of this number of reports.
        #[serde(default = "default_interval")]
        evaluation_interval: u32,
        /// .. but not before this interval.
        #[serde(default)]
        delay_evaluation: u32,
    },
    /// Stops a trial whose best is worse than the median of the running means.
    MedianStopping {
        /// The policy is asked at multiples of this number of reports.
        #[serde(default = "default_interval")]
        evaluation_interval: u32,
        /// .. but not before this interval.
        #[serde(default)]
        delay_evaluation: u32,
    },
    /// Stops the lowest percentage of the trials that reached the interval.
    TruncationSelection {
        /// 1..99.
        truncation_percentage: u8,
        /// Whether ended trials are left out of the population.
        #[serde(default)]
        exclude_finished_jobs: bool,
        /// The policy is asked at multiples of this number of reports.
        #[serde(default = "default_interval")]
        evaluation_interval: u32,
        /// .. but not before this interval.
        #[serde(default)]
        delay_evaluation: u32,
    },
    /// Asynchronous successive halving: of a rung's trials one in `reduction_factor` goes on.
    Asha {
        /// At least 2.
        #[serde(default = "default_asha_factor")]
        reduction_factor: u32,
        /// The interval of the first rung.
        #[serde(default = "default_resource")]
        min_resource: u32,
        /// The interval from which on a trial is judged no more.
        max_resource: u32,
        /// What becomes of the others.
        #[serde(default)]
        variant: Variant,
        /// For how long a trial may run once it is done, until it is ended.
        #[serde(default = "default_finish", skip_serializing_if = "is_default_finish")]
        finish_seconds: f64,
    },
    /// Several successive halvings beside each other, which begin to judge at different intervals.
    Hyperband {
        /// At least 2.
        #[serde(default = "default_hyperband_factor")]
        reduction_factor: u32,
        /// The interval of the first rung of the first bracket.
        #[serde(default = "default_resource")]
        min_resource: u32,
        /// The interval from which on a trial is judged no more.
        max_resource: u32,
        /// For how long a trial may run once it is done, until it is ended.
        #[serde(default = "default_finish", skip_serializing_if = "is_default_finish")]
        finish_seconds: f64,
    },
    /// Trialog's own rule: a share of all trials that shrinks with the interval, and an end that must be in reach.
    LearningCurve {
        /// The interval of the first rung.
        #[serde(default = "default_resource")]
        min_resource: u32,
        /// The interval from which on a trial is judged no more.
        max_resource: u32,
        /// The share of all trials that goes on from the first rung; at n times its interval the n-th part of that.
        #[serde(default = "default_share")]
        share: f64,
        /// How many times its gain of the last doublings a trial may be hoped to gain in each doubling to come.
        #[serde(default = "default_hope")]
        hope: f64,
        /// For how long a trial may run once it is done, until it is ended.
        #[serde(default = "default_finish", skip_serializing_if = "is_default_finish")]
        finish_seconds: f64,
    },
    /// Population-based training: who falls behind is stopped, and a child of one that is ahead takes its place.
    Pbt {
        /// Members are compared at multiples of this number of reports.
        #[serde(default = "default_interval")]
        perturbation_interval: u32,
        /// The part of the population that is behind, and the part that is followed: at most a half.
        #[serde(default = "default_quantile")]
        quantile: f64,
        /// How likely a child's parameter is drawn anew and not only moved.
        #[serde(default = "default_resample_probability")]
        resample_probability: f64,
    },
}

impl PolicySpec {
    /// The names of all policies, as documents write them.
    pub const KINDS: [&'static str; 8] =
        ["bandit", "median_stopping", "truncation_selection", "asha", "hyperband", "learning_curve", "pbt", "none"];

    /// The share and the hope of the learning-curve rule unless the document says otherwise: chosen on data sets that
    /// are in no test (`BENCHMARKS.md`).
    pub const SHARE_DEFAULT: f64 = 0.25;
    /// See [`PolicySpec::SHARE_DEFAULT`].
    pub const HOPE_DEFAULT: f64 = 2.0;
    /// The quantile of population-based training unless the document says otherwise, as in Ray.
    pub const QUANTILE_DEFAULT: f64 = 0.25;
    /// See [`PolicySpec::QUANTILE_DEFAULT`].
    pub const RESAMPLE_PROBABILITY_DEFAULT: f64 = 0.25;

    /// Seconds for which a trial may run once it is judged no more, unless the document says otherwise: enough to write
    /// a model, not to train another.
    pub const FINISH_SECONDS_DEFAULT: f64 = 600.0;

    /// For how long a trial may run once it is judged no more, in seconds.
    pub fn finish_seconds(&self) -> f64 {
        match *self {
            Self::Asha { finish_seconds, .. }
            | Self::Hyperband { finish_seconds, .. }
            | Self::LearningCurve { finish_seconds, .. } => finish_seconds,
            _ => Self::FINISH_SECONDS_DEFAULT,
        }
    }

    /// The name in documents.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bandit { .. } => "bandit",
            Self::MedianStopping { .. } => "median_stopping",
            Self::TruncationSelection { .. } => "truncation_selection",
            Self::Asha { .. } => "asha",
            Self::Hyperband { .. } => "hyperband",
            Self::LearningCurve { .. } => "learning_curve",
            Self::Pbt { .. } => "pbt",
        }
    }

    /// The interval at which a trial is done, for the policies that know one.
    pub fn max_resource(&self) -> Option<u32> {
        match *self {
            Self::Asha { max_resource, .. }
            | Self::Hyperband { max_resource, .. }
            | Self::LearningCurve { max_resource, .. } => Some(max_resource),
            _ => None,
        }
    }

    /// Whether trials are paused at rungs and promoted later.
    pub fn promotes(&self) -> bool {
        matches!(self, Self::Asha { variant: Variant::Promotion, .. })
    }

    /// Whether children take the places of trials that are stopped.
    pub fn is_population_based(&self) -> bool {
        matches!(self, Self::Pbt { .. })
    }

    /// Evaluation interval (an interval of 0 is read as 1) and delay; `None` for a policy without such a clock.
    fn clock(&self) -> Option<(u32, u32)> {
        match *self {
            Self::None | Self::Asha { .. } | Self::Hyperband { .. } | Self::LearningCurve { .. } => None,
            Self::Bandit { evaluation_interval, delay_evaluation, .. }
            | Self::MedianStopping { evaluation_interval, delay_evaluation }
            | Self::TruncationSelection { evaluation_interval, delay_evaluation, .. } => {
                Some((evaluation_interval.max(1), delay_evaluation))
            }
            Self::Pbt { perturbation_interval, .. } => Some((perturbation_interval.max(1), 0)),
        }
    }

    /// Whether a policy with an evaluation interval is asked when a trial's clock reads `interval`.
    pub fn is_due(&self, interval: u32) -> bool {
        self.clock().is_some_and(|(every, delay)| interval.is_multiple_of(every) && interval >= delay)
    }

    /// Everything wrong with the declaration. `compat`: Azure's reading of zeros.
    pub fn check(&self, compat: bool) -> Vec<Issue> {
        let mut issues = Vec::new();
        match *self {
            Self::Bandit { slack_factor, slack_amount, .. } => match (slack_factor, slack_amount) {
                (Some(_), Some(_)) => {
                    let message = "slack_factor or slack_amount: both are given, remove one";
                    issues.push(Issue::error("", "slack_amount", "ExactlyOne", message.to_owned()));
                }
                (None, None) => {
                    let message = "slack_factor or slack_amount: one is required";
                    issues.push(Issue::error("", "", "ExactlyOne", message.to_owned()));
                }
                (Some(slack), None) => issues.extend(check_slack("slack_factor", slack, compat)),
                (None, Some(slack)) => issues.extend(check_slack("slack_amount", slack, compat)),
            },
            Self::TruncationSelection { truncation_percentage: percentage, .. } => {
                if !(1..=99).contains(&percentage) {
                    let message = format!("truncation_percentage {percentage} must be an integer in 1..=99");
                    issues.push(Issue::error("", "truncation_percentage", "BadPercentage", message));
                }
            }
            Self::None | Self::MedianStopping { .. } | Self::Pbt { .. } => {}
            Self::Asha { reduction_factor, min_resource, max_resource, .. }
            | Self::Hyperband { reduction_factor, min_resource, max_resource, .. } => {
                if reduction_factor < 2 {
                    let message = format!("reduction_factor {reduction_factor} must be an integer >= 2");
                    issues.push(Issue::error("", "reduction_factor", "OutOfRange", message));
                }
                issues.extend(check_resources(min_resource, max_resource));
            }
            Self::LearningCurve { min_resource, max_resource, share, hope, .. } => {
                issues.extend(check_resources(min_resource, max_resource));
                // Written so that NaN is refused too.
                if !(share > 0.0 && share <= 1.0) {
                    let message = format!("share {share} must be > 0 and <= 1, the part of the trials that goes on");
                    issues.push(Issue::error("", "share", "OutOfRange", message));
                }
                if !(hope >= 0.0 && hope.is_finite()) {
                    issues.push(Issue::error("", "hope", "OutOfRange", format!("hope {hope} must be finite and >= 0")));
                }
            }
        }
        let finish = self.finish_seconds();
        // Written so that NaN is refused too.
        if !(finish >= 0.0 && finish.is_finite()) {
            let message = format!("finish_seconds {finish} must be a finite number >= 0");
            issues.push(Issue::error("", "finish_seconds", "OutOfRange", message));
        }
        issues.extend(self.check_interval(compat));
        if let Self::Pbt { quantile, resample_probability, .. } = *self {
            issues.extend(check_population(quantile, resample_probability));
        }
        issues
    }

    fn check_interval(&self, compat: bool) -> Option<Issue> {
        let (field, every) = match *self {
            Self::Pbt { perturbation_interval, .. } => ("perturbation_interval", perturbation_interval),
            Self::None | Self::Asha { .. } | Self::Hyperband { .. } | Self::LearningCurve { .. } => return None,
            Self::Bandit { evaluation_interval, .. }
            | Self::MedianStopping { evaluation_interval, .. }
            | Self::TruncationSelection { evaluation_interval, .. } => ("evaluation_interval", evaluation_interval),
        };
        match (every, compat) {
            (0, true) => Some(Issue::warning("", field, "BadInterval", format!("{field} 0 is read as 1"))),
            (0, false) => Some(Issue::error("", field, "BadInterval", format!("{field} 0 must be >= 1"))),
            _ => None,
        }
    }
}

/// The first rung is at an interval that exists, and before the end.
fn check_resources(min: u32, max: u32) -> Option<Issue> {
    if min == 0 {
        let message = "min_resource 0 must be >= 1, the first interval of a trial".to_owned();
        return Some(Issue::error("", "min_resource", "OutOfRange", message));
    }
    (max <= min).then(|| {
        let message = format!("min_resource {min} must be < max_resource {max}, or no trial is ever judged");
        Issue::error("", "max_resource", "BadRange", message)
    })
}

/// Written so that NaN is refused too.
fn check_population(quantile: f64, resample_probability: f64) -> Vec<Issue> {
    let mut issues = Vec::new();
    if !(quantile > 0.0 && quantile <= 0.5) {
        let message = format!("quantile {quantile} must be > 0 and <= 0.5: who is behind follows one that is ahead");
        issues.push(Issue::error("", "quantile", "OutOfRange", message));
    }
    if !(0.0..=1.0).contains(&resample_probability) {
        let message = format!("resample_probability {resample_probability} must be in 0..=1");
        issues.push(Issue::error("", "resample_probability", "OutOfRange", message));
    }
    issues
}

fn check_slack(field: &'static str, slack: f64, compat: bool) -> Option<Issue> {
    if !slack.is_finite() {
        return Some(Issue::error("", field, "NotFinite", format!("{field} {slack} must be a finite number")));
    }
    if slack < 0.0 || (slack == 0.0 && !compat) {
        let bound = if compat { ">= 0" } else { "> 0" };
        return Some(Issue::error("", field, "BadSlack", format!("{field} {slack} must be {bound}")));
    }
    (slack == 0.0).then(|| {
        let message = format!("{field} 0 stops every trial that is behind the leader");
        Issue::warning("", field, "SlackZero", message)
    })
}
