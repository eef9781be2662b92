//! What can happen to an endpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::Display;
pub use vocabulary::job::ModelFile;
use vocabulary::job::{RequeueCause, Requirements};

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Auth {
    /// A key that does not expire.
    #[default]
    Key,
    /// A token of the workspace.
    Token,
}

/// What a user says about an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// Free text.
    pub description: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// How callers prove who they are.
    pub auth: Auth,
}

/// Limits of the requests of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestSettings {
    /// For an answer.
    pub request_timeout_seconds: f64,
    /// At a replica.
    pub max_concurrent_requests_per_instance: u32,
    /// For a replica.
    pub max_queue_wait_seconds: f64,
    /// Whether a request may be sent a second time when its replica went away without an answer.
    #[serde(default = "yes")]
    pub idempotent: bool,
}

fn yes() -> bool {
    true
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            request_timeout_seconds: 5.0,
            max_concurrent_requests_per_instance: 1,
            max_queue_wait_seconds: 0.5,
            idempotent: true,
        }
    }
}

/// What a user says about a deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    /// Where its replicas run.
    pub cluster: String,
    /// How many replicas.
    pub instance_count: u32,
    /// The interpreter; empty = the node's.
    pub python: String,
    /// What is installed into a virtual environment of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// The code that a requirements file is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_sha256: Option<String>,
    /// For the model's code.
    pub environment_variables: BTreeMap<String, String>,
    /// Limits of its requests.
    pub request_settings: RequestSettings,
    /// Of a replica.
    pub cpu_count: f64,
    /// Of a replica; 0 = no claim.
    pub memory_bytes: u64,
}

/// The model version that a revision serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServedModel {
    /// Its name.
    pub model: String,
    /// Its number.
    pub version: i64,
    /// `ver_…`.
    pub version_id: String,
    /// The run that made it.
    pub run_id: String,
    /// The alias that the document named; empty when it named the version.
    pub alias: String,
    /// What a replica fetches.
    pub files: Vec<ModelFile>,
}

/// The endpoint was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointCreated {
    /// The workspace.
    pub workspace: String,
    /// The endpoint's name.
    pub name: String,
    /// As the user wants it.
    pub spec: EndpointSpec,
    /// When.
    pub at: jiff::Timestamp,
}

/// Its description, tags or auth have changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointChanged {
    /// As the user wants it now.
    pub spec: EndpointSpec,
    /// When.
    pub at: jiff::Timestamp,
}

/// A deployment is wanted, for the first time or otherwise than before. Request ids carry this event's position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentRevised {
    /// The workspace.
    pub workspace: String,
    /// The endpoint.
    pub endpoint: String,
    /// The deployment.
    pub deployment: String,
    /// From 1, dense in the deployment.
    pub revision: i64,
    /// What it serves.
    pub model: ServedModel,
    /// How.
    pub spec: DeploymentSpec,
    /// When.
    pub at: jiff::Timestamp,
}

/// A replica is to run as the job named here; the job itself is queued after this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaRequested {
    /// The deployment.
    pub deployment: String,
    /// Which revision it serves.
    pub revision: i64,
    /// Its place among the deployment's replicas, from 0.
    pub ordinal: u32,
    /// `job_…`.
    pub job_id: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// A replica has loaded its model and listens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaReady {
    /// Its job.
    pub job_id: String,
    /// Of the job.
    pub attempt: u32,
    /// `unix:PATH` or `tcp:HOST:PORT`.
    pub address: String,
    /// Where it runs.
    pub node_id: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// All replicas of a revision are ready: requests go there from now on, older replicas are drained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevisionWentLive {
    /// The deployment.
    pub deployment: String,
    /// Which revision.
    pub revision: i64,
    /// When.
    pub at: jiff::Timestamp,
}

/// The node of a replica has gone; its job waits for another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaLost {
    /// Its job.
    pub job_id: String,
    /// The attempt that was lost.
    pub attempt: u32,
    /// Why it is queued again.
    pub cause: RequeueCause,
    /// When.
    pub at: jiff::Timestamp,
}

/// The node of a replica will be taken away: another one is started in its place, and this one serves until that is
/// ready, or until shortly before the deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaNoticed {
    /// Its job.
    pub job_id: String,
    /// When its node goes.
    pub deadline: jiff::Timestamp,
    /// When.
    pub at: jiff::Timestamp,
}

/// A replica whose node goes gets no requests any more, and ends once it has answered those that it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaDraining {
    /// Its job.
    pub job_id: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// The job of a replica has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaEnded {
    /// Its job.
    pub job_id: String,
    /// How, in words.
    pub reason: String,
    /// Last lines of its log.
    pub log_tail: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// The replicas of a revision do not come up; no more are tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentFailed {
    /// The deployment.
    pub deployment: String,
    /// Which revision.
    pub revision: i64,
    /// Why, with the last lines of the log.
    pub reason: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// The configured shares; all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficSet {
    /// Percent by deployment; sums to 0 or 100.
    pub traffic: BTreeMap<String, u32>,
    /// When.
    pub at: jiff::Timestamp,
}

/// A deployment is to go: its replicas are drained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentDeleting {
    /// The deployment.
    pub deployment: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// A deployment has gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentDeleted {
    /// The deployment.
    pub deployment: String,
    /// When.
    pub at: jiff::Timestamp,
}

/// The endpoint is to go with all its deployments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointDeleting {
    /// When.
    pub at: jiff::Timestamp,
}

/// The endpoint has gone; its name is free.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointDeleted {
    /// When.
    pub at: jiff::Timestamp,
}

vocabulary::stored_events! {
    /// What can happen to an endpoint.
    pub enum EndpointEvent {
        EndpointCreated: 1,
        EndpointChanged: 1,
        DeploymentRevised: 1,
        ReplicaRequested: 1,
        ReplicaReady: 1,
        RevisionWentLive: 1,
        ReplicaLost: 1,
        ReplicaNoticed: 1,
        ReplicaDraining: 1,
        ReplicaEnded: 1,
        DeploymentFailed: 1,
        TrafficSet: 1,
        DeploymentDeleting: 1,
        DeploymentDeleted: 1,
        EndpointDeleting: 1,
        EndpointDeleted: 1,
    }
}
