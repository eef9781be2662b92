//! What a job is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// What compute is to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Where it runs.
    pub cluster: String,
    /// argv, rendered; `${{inputs.ID}}` and `${{outputs.ID}}` are left for the node's agent, which knows the paths.
    pub command: Vec<String>,
    /// The user's variables.
    pub environment_variables: BTreeMap<String, String>,
    /// SHA-256 in lower-case hex of the packed code folder (a sorted tar).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_sha256: Option<String>,
    /// The interpreter whose folder is put first on PATH: its absolute path, or a version that is found on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// What is installed into a virtual environment of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// What it reads.
    pub inputs: Vec<JobInput>,
    /// Ids of output folders, uploaded when the command has ended well.
    pub outputs: Vec<String>,
    /// What remains as it was at the best value of the primary metric: `outputs/ID` and `checkpoint`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_best: Vec<String>,
    /// What it claims.
    pub resources: Resources,
    /// Whether it keeps a checkpoint folder over its attempts.
    pub checkpoint: bool,
    /// A run whose last checkpoint the first attempt begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_from: Option<String>,
    /// Run on the node before the command, once an attempt.
    pub prepare: Vec<String>,
    /// Failures that are tried again.
    pub max_retries: u32,
    /// Running time over all attempts; more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
    /// Between the wish that it ends and its end by force; more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<f64>,
    /// Higher goes first.
    pub priority: i32,
    /// The sweep whose trial it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sweep_id: Option<String>,
    /// The trial's index in the sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_index: Option<u32>,
    /// The experiment's name.
    pub experiment: String,
    /// The active parameters with their types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Map<String, serde_json::Value>>,
    /// The metric that its sweep optimizes, or that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_metric: Option<String>,
    /// Which way it is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// A u64 as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// TRIALOG_PARAM_* and the like, ready made.
    pub contract_variables: BTreeMap<String, String>,
    /// Metrics that are watched beside the primary one.
    pub watched_metrics: Vec<String>,
    /// Set in the job of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
}

/// What pip installs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Requirements {
    /// A requirements file of the code.
    File(String),
    /// The lines of one.
    Lines(Vec<String>),
}

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Goal {
    /// Less is better.
    Minimize,
    /// More is better.
    Maximize,
}

/// How a job gets an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum InputMode {
    /// It reads it where it is.
    Mount,
    /// It gets a copy.
    Download,
}

/// An input of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInput {
    /// The id that the command names.
    pub id: String,
    /// Where it is.
    pub uri: String,
    /// How it gets there.
    pub mode: InputMode,
}

/// What a job claims of a node; 0 is no claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// CPUs.
    pub cpu_count: f64,
    /// GPUs.
    pub gpu_count: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// Nodes that it runs on.
    pub node_count: u32,
}

/// What a replica serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The workspace.
    pub workspace: String,
    /// The endpoint.
    pub endpoint: String,
    /// The deployment.
    pub deployment: String,
    /// The deployment's revision.
    pub revision: i64,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: i64,
    /// The model's folder, fetched from the object store by content.
    pub files: Vec<ModelFile>,
    /// How long the model may load.
    pub start_timeout_seconds: f64,
}

/// A file of a model, named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Relative to the model's folder.
    pub path: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size_bytes: u64,
}
