//! What a sweep document says once it is read: complete, with defaults filled in. It is stored in the sweep's
//! first event.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};
use tuning::{Goal, PolicySpec, SamplerSpec, SearchSpace};
use vocabulary::job::Requirements;

use super::template::{Argument, Template};

/// A sweep as it was asked for. It serializes to the same names that the document has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepSpec {
    /// The name in the workspace; absent: the sweep is known by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The experiment that the runs belong to.
    pub experiment: String,
    /// What people should know about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Who runs the trials.
    #[serde(default, skip_serializing_if = "Mode::is_managed")]
    pub mode: Mode,
    /// Where the trials run; empty in external mode.
    #[serde(default)]
    pub cluster: String,
    /// What is optimised.
    pub objective: Objective,
    /// The second and third objective, if the first is not the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further_objectives: Vec<Objective>,
    /// What other metrics must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// The parameters and their distributions.
    #[serde(rename = "search_space")]
    pub space: SearchSpace,
    /// How configurations are chosen.
    #[serde(rename = "sampling_algorithm")]
    pub sampler: SamplerSpec,
    /// The seed that was given; absent: one is drawn at submission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Which trials are stopped early.
    #[serde(rename = "early_termination", default)]
    pub policy: PolicySpec,
    /// How much may be run.
    pub limits: Limits,
    /// Whether decisions to keep a trial are recorded too.
    #[serde(default)]
    pub record_keeps: bool,
    /// Earlier sweeps whose trials are observations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_from: Option<ResumeFrom>,
    /// Trials of them that go on as the first trials of this sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume_trials: Vec<EarlierTrial>,
    /// What a trial runs; nothing in external mode.
    #[serde(default)]
    pub trial: TrialSpec,
}

/// Earlier sweeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeFrom {
    /// By id or name.
    pub sweeps: Vec<String>,
    /// How their spaces must be like this one.
    #[serde(default)]
    pub space: SpaceRule,
}

/// How the space of an earlier sweep must be like the new one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpaceRule {
    /// The same, where a model learns from it.
    #[default]
    Same,
    /// What they share counts: parameters of the same name and type.
    Intersect,
}

/// A trial of an earlier sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlierTrial {
    /// Its sweep, as `resume_from` names it.
    pub sweep: String,
    /// Its index there.
    pub trial: u32,
}

impl SweepSpec {
    /// The outputs that a trial is to leave and that are not among those that were uploaded.
    pub fn lacking(&self, uploaded: &[String]) -> Vec<String> {
        self.trial.outputs.keys().filter(|id| !uploaded.contains(id)).cloned().collect()
    }

    /// Whether the trials are asked for and told, and run by somebody else.
    pub fn is_external(&self) -> bool {
        self.mode == Mode::External
    }
}

/// Who runs the trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Trialog, as jobs on a cluster.
    #[default]
    Managed,
    /// Whoever asks for them and tells what they give.
    External,
}

impl Mode {
    fn is_managed(&self) -> bool {
        *self == Self::Managed
    }
}

/// The objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Whether larger or smaller is better.
    pub goal: Goal,
    /// The metric's key, matched exactly.
    pub primary_metric: String,
    /// What a NaN or infinite report of it does.
    #[serde(default)]
    pub on_non_finite: OnNonFinite,
    /// Whether the same configuration may give different values.
    #[serde(default)]
    pub noise: Noise,
    /// The value that is good enough: the sweep completes when a trial reports it or a better one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

/// What another metric than the objective must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// The metric's key, matched exactly.
    pub metric: String,
    /// On which side of the value it must be.
    #[serde(rename = "op")]
    pub operator: ConstraintOperator,
    /// The bound, itself allowed.
    pub value: f64,
}

/// On which side of a bound a metric must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
pub enum ConstraintOperator {
    /// At most the bound.
    #[serde(rename = "<=")]
    #[strum(serialize = "<=")]
    AtMost,
    /// At least the bound.
    #[serde(rename = ">=")]
    #[strum(serialize = ">=")]
    AtLeast,
}

/// Whether the same configuration may give different values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Not declared: a finished configuration is not tried again.
    #[default]
    None,
    /// It may.
    Declared,
}

/// What a non-finite report of the primary metric does to its trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNonFinite {
    /// It counts as an interval without a value.
    #[default]
    Ignore,
    /// The trial fails.
    Fail,
}

/// How much may be run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Proposals; a preempted trial stays one trial.
    pub max_total_trials: u32,
    /// Proposals of the sweep itself, whatever it has from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_new_trials: Option<u32>,
    /// Live trials.
    pub max_concurrent_trials: u32,
    /// Wall clock from the start, pauses included.
    pub timeout_seconds: f64,
    /// Running time of a trial, summed over attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_timeout_seconds: Option<f64>,
    /// So many failed trials fail the sweep.
    pub max_failed_trials: FailedTrials,
    /// New attempts after a failure; preemptions are free.
    pub max_retries: u32,
    /// So many ended trials in a row without a better leader complete the sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_trials_without_improvement: Option<u32>,
    /// When the sweep completes because its leader hardly gets better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convergence: Option<Convergence>,
}

/// How many failed trials fail a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailedTrials {
    /// So many in a row, while none has completed or reported a finite value.
    InARow(u32),
    /// This part of the ended ones, once there are some.
    Share(f64),
}

/// A sweep has converged when over so many ended trials its leader has improved by no more than a part of itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// Ended trials over which the improvement is measured.
    pub patience: u32,
    /// The improvement, as a part of the leader's value before, that is none.
    pub relative_improvement: f64,
}

/// What a trial runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialSpec {
    /// The words of the command, with references.
    pub command: Vec<Argument>,
    /// The packed code folder: `sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The interpreter that comes first on PATH.
    #[serde(default)]
    pub environment: Environment,
    /// Variables of the user, with references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment_variables: BTreeMap<String, Template>,
    /// Data by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
    /// Ids of the folders that are uploaded at the end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Output>,
    /// What a trial occupies.
    #[serde(default)]
    pub resources: Resources,
    /// Whether the command saves checkpoints and resumes from them.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// Words of a command that runs before, once an attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<String>,
}

impl TrialSpec {
    /// What remains as it was at the best value: `checkpoint` and `outputs/ID`.
    pub fn kept_at_best(&self) -> Vec<String> {
        let best = self.outputs.iter().filter(|(_, output)| output.keep == Keep::Best);
        let outputs = best.map(|(id, _)| format!("outputs/{id}"));
        let checkpoint = (self.checkpoint.keep() == Keep::Best).then(|| "checkpoint".to_owned());
        checkpoint.into_iter().chain(outputs).collect()
    }
}

/// The software that a trial runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// A Python interpreter: its absolute path, or a version that is found on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// What is installed into a virtual environment of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
}

/// An input of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Where the data is: a `file:///` URI.
    pub uri: String,
    /// Whether it is read in place or copied first.
    #[serde(default)]
    pub mode: InputMode,
}

/// How an input comes to the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum InputMode {
    /// Read in place.
    #[default]
    Mount,
    /// Copied to the node first.
    Download,
}

/// An output folder of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Which state of it is uploaded.
    #[serde(default, skip_serializing_if = "Keep::is_last")]
    pub keep: Keep,
}

/// Which state of a folder remains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// As it is at the end.
    #[default]
    Last,
    /// As it was at the best value of the objective.
    Best,
}

impl Keep {
    fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// Whether the command saves checkpoints, and which one remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Checkpoint {
    /// Whether it does; the last one remains.
    Saved(bool),
    /// It does, and another one remains.
    Kept {
        /// Which one.
        keep: Keep,
    },
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::Saved(false)
    }
}

impl Checkpoint {
    /// Whether the command saves checkpoints.
    pub fn is_saved(self) -> bool {
        self != Self::Saved(false)
    }

    /// Which one remains.
    pub fn keep(self) -> Keep {
        match self {
            Self::Saved(_) => Keep::Last,
            Self::Kept { keep } => keep,
        }
    }
}

/// What a trial occupies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Virtual CPUs, fractions allowed.
    pub cpu_count: f64,
    /// GPUs.
    pub gpu_count: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Nodes.
    pub node_count: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpu_count: 1.0, gpu_count: 0, memory_bytes: 1 << 30, node_count: 1 }
    }
}

/// What the server's settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Most proposals of a sweep.
    pub max_total_trials: u32,
    /// Most live trials of a sweep.
    pub max_concurrent_trials: u32,
}

/// External trials are rows of a log, not processes: far more of them are no burden.
const EXTERNAL: ServerLimits = ServerLimits { max_total_trials: tuning::TRIALS_MAX, max_concurrent_trials: 10_000 };

impl ServerLimits {
    /// What sweeps of a mode may ask for.
    pub fn of(&self, mode: Mode) -> Self {
        match mode {
            Mode::Managed => *self,
            Mode::External => EXTERNAL,
        }
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { max_total_trials: 1000, max_concurrent_trials: 100 }
    }
}

/// What was looked up about the cluster that a document names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Most nodes it grows to.
    pub max_nodes: u32,
    /// Virtual CPUs of a node.
    pub node_vcpus: u32,
    /// Memory of a node.
    pub node_memory_bytes: u64,
    /// GPUs of a node.
    pub node_gpus: u32,
}

impl ClusterFacts {
    /// How many trials with these resources run at once when the cluster is full; 0 when one does not even fit a node.
    pub fn trials_at_once(&self, resources: &Resources) -> u32 {
        let by_cpu = (f64::from(self.node_vcpus) / resources.cpu_count).floor();
        let by_memory = self.node_memory_bytes.checked_div(resources.memory_bytes).unwrap_or(u64::MAX);
        let by_gpu = self.node_gpus.checked_div(resources.gpu_count).unwrap_or(u32::MAX);
        let on_a_node = by_gpu.min(u32::try_from(by_memory).unwrap_or(u32::MAX)).min(by_cpu as u32);
        on_a_node.saturating_mul(self.max_nodes / resources.node_count.max(1))
    }
}
