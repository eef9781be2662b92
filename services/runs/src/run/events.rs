//! What can happen to a run, as it is stored. To change a released event raise its schema number and upcast.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vocabulary::RunId;
use vocabulary::job::{Goal, JobEnd, JobSpec, RequeueCause, StopBy, upcast_end, upcast_spec};

use super::RunState;

/// Whose run it is. In each event, because a fact is made of one event alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The workspace.
    pub workspace: String,
    /// The sweep whose trial it is; empty in a plain run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sweep_id: String,
    /// The trial's index in the sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_index: Option<u32>,
}

/// The metric that a run is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// Its key.
    pub metric: String,
    /// Which way it is better; `None` when nobody has said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
}

/// The run exists. With a job it is Proposed, without one its client drives it and it is Running.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunCreated {
    /// Whose run it is.
    pub subject: Subject,
    /// Its id.
    pub run_id: RunId,
    /// Decimal text.
    pub experiment_id: String,
    /// The experiment's name.
    pub experiment: String,
    /// The run's name.
    pub name: String,
    /// The run that this one is nested in; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parent_run_id: String,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// What compute is to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// What a trial without a job is about; a job says it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// A user changed what users may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunUpdated {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Parameters added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Tags added or replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Tags taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_tags: Vec<String>,
}

/// The run's job has come to another state: Queued, Starting, Preparing, Running or Finalizing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStateChanged {
    /// Whose run it is.
    pub subject: Subject,
    /// The state.
    pub state: RunState,
    /// The attempt that is in this state.
    pub attempt: u32,
    /// The attempt's node, when it has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// An attempt ended and another one follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptEnded {
    /// Whose run it is.
    pub subject: Subject,
    /// The attempt.
    pub attempt: u32,
    /// Why.
    pub cause: RequeueCause,
    /// How it ended.
    pub end: JobEnd,
    /// Its node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node_id: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// Compute is to end the run's job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStopRequested {
    /// Whose run it is.
    pub subject: Subject,
    /// SWEEP@position of a policy's decision, else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub decision: String,
    /// Who or what; rung and pause: it is only held.
    pub by: StopBy,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// Compute is to let the run's job go on, which it was to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReleased {
    /// Whose run it is.
    pub subject: Subject,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The run is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnded {
    /// Whose run it is.
    pub subject: Subject,
    /// The last attempt.
    pub attempt: u32,
    /// Terminal.
    pub state: RunState,
    /// How its last attempt ended.
    pub end: JobEnd,
    /// Keys that were logged, at most 20; only of runs with a watched key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metric_names: Vec<String>,
    /// Ids of the outputs that it has left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// The run ended with its trial: sweeps need not be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_trial: bool,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// A policy's stop reached a run that had just ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRelabelled {
    /// Whose run it is.
    pub subject: Subject,
    /// EarlyStopped.
    pub state: RunState,
    /// SWEEP@position.
    pub decision: String,
}

/// It is gone with all that it had measured, said and left; its history stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDeleted {
    /// Whose run it was.
    pub subject: Subject,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// A point of a watched key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The key.
    pub name: String,
    /// The point's name on the x axis.
    pub step: i64,
    /// May be NaN or infinite.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// Points of watched keys were accepted; one event a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricReported {
    /// Whose run it is.
    pub subject: Subject,
    /// The attempt that reported.
    pub attempt: u32,
    /// In order of arrival.
    pub points: Vec<Point>,
}

/// A key that is not watched was logged for the first time in a run that has a watched one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricNameSeen {
    /// Whose run it is.
    pub subject: Subject,
    /// The key.
    pub name: String,
}

/// Artifacts of the run are in the object store and in its list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArtifactsRecorded {
    /// Whose run it is.
    pub subject: Subject,
    /// The attempt that made them.
    pub attempt: u32,
    /// How many.
    pub count: u32,
    /// Ids of the outputs that have some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
}

vocabulary::stored_events! {
    /// What can happen to a run.
    pub enum RunEvent {
        RunCreated: 2 upcast created, RunUpdated: 1, RunStateChanged: 1, AttemptEnded: 2 upcast ended,
        RunStopRequested: 1, RunReleased: 1, RunEnded: 2 upcast ended, RunRelabelled: 1, MetricReported: 1,
        MetricNameSeen: 1, ArtifactsRecorded: 1, RunDeleted: 1,
    }
}

/// Until schema 2 the job was a protobuf message as JSON, and texts could be left out.
fn created(event: &mut Value, _schema: i16) -> Result<(), String> {
    for name in ["params", "tags"] {
        if event.get(name).is_none() {
            event[name] = json!({});
        }
    }
    event.get_mut("job").filter(|job| !job.is_null()).map_or(Ok(()), upcast_spec)
}

/// Until schema 2 the end was a protobuf message as JSON.
fn ended(event: &mut Value, _schema: i16) -> Result<(), String> {
    event.get_mut("end").map_or(Ok(()), upcast_end)
}
