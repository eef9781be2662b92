//! Everything that a node needs to run a trial, rendered from the spec and the trial's parameters.

use std::collections::BTreeMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use tuning::{Draw, Goal, trial_seed};
use vocabulary::job::Requirements;
use vocabulary::{RunId, SweepId};

use crate::document::{
    Filling, Input, Limits, Resources, SweepSpec, parameter_variables, render_command, render_environment_variables,
};

/// A trial as compute and its node see it. Stored with the proposal, so that it is what it was even if rendering
/// changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialJob {
    /// Where it runs.
    pub cluster: String,
    /// The experiment of its run.
    pub experiment: String,
    /// The name of its run.
    pub run_name: String,
    /// argv; placeholders of inputs and outputs stay for the node.
    pub command: Vec<String>,
    /// The user's variables.
    pub environment_variables: BTreeMap<String, String>,
    /// Variables of the contract between Trialog and a trial's program, as far as sweeps knows them.
    pub contract_variables: BTreeMap<String, String>,
    /// Hexadecimal SHA-256 of the packed code; empty without code.
    pub code_sha256: String,
    /// The interpreter that comes first on PATH; empty for none.
    pub python: String,
    /// What is installed into a virtual environment of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requirements: Option<Requirements>,
    /// Data by id.
    pub inputs: BTreeMap<String, Input>,
    /// Ids of the output folders.
    pub outputs: Vec<String>,
    /// What remains as it was at the best value: `outputs/ID` and `checkpoint`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_best: Vec<String>,
    /// What it occupies.
    pub resources: Resources,
    /// Whether it saves checkpoints.
    pub checkpoint: bool,
    /// An earlier run with whose last checkpoint it begins; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub checkpoint_from: String,
    /// What runs before it, once an attempt.
    pub prepare: Vec<String>,
    /// New attempts after a failure.
    pub max_retries: u32,
    /// Running time over all attempts; 0 = no limit.
    pub timeout_seconds: f64,
    /// The watched metric.
    pub primary_metric: String,
    /// Others that are watched, with several objectives or constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched_metrics: Vec<String>,
    /// Whether larger or smaller is better.
    pub goal: Goal,
    /// The trial's seed, a u64 as text.
    pub seed: String,
}

/// The report behind which nothing counts, for those that keep something at their best value.
const MAX_RESOURCE: &str = "TRIALOG_MAX_RESOURCE";

/// What a job is rendered from beside the trial's own parameters.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Whose it is.
    pub workspace: &'a str,
    /// The sweep.
    pub sweep_id: SweepId,
    /// The sweep's name.
    pub name: &'a str,
    /// What was asked for.
    pub spec: &'a SweepSpec,
    /// The limits in force.
    pub limits: &'a Limits,
    /// The seed in force.
    pub seed: u64,
}

impl TrialJob {
    /// Renders the job of a trial.
    pub fn render(source: Source<'_>, trial: u32, run_id: RunId, draws: &[Draw]) -> Self {
        let Source { workspace, sweep_id, name, spec, limits, seed } = source;
        let parameters = draws.iter().map(|draw| (draw.name.clone(), draw.value.clone())).collect();
        let sweep = sweep_id.to_string();
        let filling = Filling { parameters: &parameters, trial_index: trial, sweep_id: &sweep };
        let seed = trial_seed(seed, u64::from(trial)).to_string();
        let goal = spec.objective.goal;
        let mut contract_variables = parameter_variables(&parameters);
        let fixed = [
            ("TRIALOG_WORKSPACE", workspace.to_owned()),
            ("TRIALOG_EXPERIMENT", spec.experiment.clone()),
            ("TRIALOG_SWEEP_ID", sweep.clone()),
            ("TRIALOG_RUN_ID", run_id.to_string()),
            ("TRIALOG_TRIAL_INDEX", trial.to_string()),
            ("TRIALOG_PRIMARY_METRIC", spec.objective.primary_metric.clone()),
            ("TRIALOG_GOAL", goal.to_string()),
            ("TRIALOG_SEED", seed.clone()),
            // For the day when there is a server that knows it; until then agents pass it over.
            ("MLFLOW_RUN_ID", run_id.hex()),
        ];
        contract_variables.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        let wanted = &spec.trial;
        // What is reported behind it counts for nothing: its node keeps nothing of that.
        if let Some(most) = spec.policy.max_resource().filter(|_| !wanted.kept_at_best().is_empty()) {
            contract_variables.insert(MAX_RESOURCE.to_owned(), most.to_string());
        }
        Self {
            cluster: spec.cluster.clone(),
            experiment: spec.experiment.clone(),
            run_name: format!("{name}-{trial}"),
            command: render_command(spec, &filling),
            environment_variables: render_environment_variables(spec, &filling),
            contract_variables,
            code_sha256: wanted.code.as_deref().map_or("", |code| code.trim_start_matches("sha256:")).to_owned(),
            python: wanted.environment.python.clone().unwrap_or_default(),
            requirements: wanted.environment.requirements.clone(),
            inputs: wanted.inputs.clone(),
            outputs: wanted.outputs.keys().cloned().collect(),
            keep_best: wanted.kept_at_best(),
            resources: wanted.resources.clone(),
            checkpoint: wanted.checkpoint.is_saved(),
            checkpoint_from: String::new(),
            prepare: wanted.prepare.clone(),
            max_retries: limits.max_retries,
            timeout_seconds: limits.trial_timeout_seconds.unwrap_or(0.0),
            primary_metric: spec.objective.primary_metric.clone(),
            watched_metrics: spec.watched().into_iter().skip(1).map(str::to_owned).collect(),
            goal,
            seed,
        }
    }
}

/// The active parameters as a JSON object, in written order.
pub fn parameters_json(draws: &[Draw]) -> String {
    struct InOrder<'a>(&'a [Draw]);
    impl Serialize for InOrder<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.0.len()))?;
            for draw in self.0 {
                map.serialize_entry(&draw.name, &draw.value)?;
            }
            map.end()
        }
    }
    // Texts, booleans and finite numbers always have a JSON form.
    serde_json::to_string(&InOrder(draws)).unwrap_or_default()
}
