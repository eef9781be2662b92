//! What commands carry, where it is more than a few values: proposals, reports, endings. The commands are in `decide`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tuning::{Draw, Proposal};
use vocabulary::RunId;

use super::TrialState;
use super::model::{Made, Suggested};
use super::point::{NamedValue, Point};
use super::trial_end::{AttemptEnd, TrialEnd};
use crate::document::Limits;

/// A proposal on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrial {
    /// The id that its run is to have.
    pub run_id: RunId,
    /// What the sampler said.
    pub proposal: Proposal,
    /// How it came about, when a model made it.
    pub made: Option<Made>,
    /// It is to follow a donor. Which one, and with which parameters, is then said by the state that takes it: others
    /// may have reported since.
    pub child: bool,
}

/// A reported value of some metric.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPoint {
    /// The metric's name.
    pub name: String,
    /// What was reported.
    pub point: Point,
}

/// Reports of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// In order of arrival. Those of other metrics than the watched one are passed over.
    pub points: Vec<NamedPoint>,
    /// When.
    pub at: Timestamp,
}

/// That a trial's run has moved on.
#[derive(Clone, Debug, PartialEq)]
pub struct RunMove {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The state that it is in now.
    pub state: TrialState,
    /// Where it runs, if it does.
    pub node: String,
    /// How the attempt ended, if it did.
    pub end: Option<AttemptEnd>,
    /// When.
    pub at: Timestamp,
}

/// That a trial's run has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// How.
    pub end: AttemptEnd,
    /// SWEEP@position of the decision to stop it, if a policy decided so.
    pub decision: String,
    /// Names of metrics that it logged.
    pub metric_names: Vec<String>,
    /// Ids of the outputs that were uploaded; `None` where nothing is uploaded.
    pub outputs: Option<Vec<String>>,
    /// When.
    pub at: Timestamp,
}

/// What is to change on a sweep; absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The new limits.
    pub limits: Option<Limits>,
    /// The new description.
    pub description: Option<String>,
    /// The new tags.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A trial that has ended elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedTrial {
    /// The parameters that it had, in written order.
    pub draws: Vec<Draw>,
    /// What it reported, in order; its value is the last one.
    pub points: Vec<Point>,
    /// The values of the other watched metrics.
    pub others: Vec<NamedValue>,
    /// How it ended.
    pub end: TrialEnd,
}

/// Somebody wants trials to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Whose sweep it must be.
    pub workspace: String,
    /// As it calls itself.
    pub worker: String,
    /// How long it may be silent.
    pub lease_seconds: f64,
    /// A run for each trial that is wanted: as many may come, fewer will if there are not so many.
    pub run_ids: Vec<RunId>,
    /// What the sweep's model suggests, in order; empty without a model.
    pub suggested: Vec<Suggested>,
    /// The number for which the model has nothing to suggest, nor after it.
    pub exhausted: Option<u32>,
    /// Since when the holders of leases could be heard.
    pub listening_since: Timestamp,
    /// Now.
    pub at: Timestamp,
}

/// What is told of a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum TellContent {
    /// A value of the watched metric.
    Value {
        /// Its name; the last one + 1 when absent.
        step: Option<i64>,
        /// May be NaN or infinite.
        value: f64,
        /// There will be no more.
        last: bool,
    },
    /// Values of several watched metrics at once.
    Values {
        /// See `Value`.
        step: Option<i64>,
        /// By metric.
        values: BTreeMap<String, f64>,
        /// See `Value`.
        last: bool,
    },
    /// It could not be evaluated.
    Failed {
        /// Why, in the caller's words.
        reason: String,
    },
}

/// Whoever holds a trial tells what it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Tell {
    /// Whose sweep it must be.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// As which attempt.
    pub attempt: u32,
    /// What.
    pub content: TellContent,
    /// Now.
    pub at: Timestamp,
}

/// Whoever holds a trial is still at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Whose sweep it must be.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// As which attempt.
    pub attempt: u32,
    /// Now.
    pub at: Timestamp,
}
