//! The environment of a job: PATH, HOME, LANG, then the user's variables, then the contract's. Nothing of the agent's
//! own leaks in.

use std::collections::BTreeMap;
use std::path::Path;

use contracts::compute::{JobSpec, StartAttempt};

use super::best;
use super::places::Places;
use crate::folder;
use crate::process;
use crate::record::Plan;

/// For an agent that has no PATH itself.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// UTF-8 without a country, on every Linux.
const LANG_DEFAULT: &str = "C.UTF-8";
const GPUS: &str = "CUDA_VISIBLE_DEVICES";

/// What the variables are made of.
pub(super) struct Given<'a> {
    pub order: &'a StartAttempt,
    pub spec: &'a JobSpec,
    pub places: &'a Places,
    /// The interpreter; empty for none.
    pub python: &'a str,
    pub api_url: &'a str,
    /// TRIALOG_CA_FILE; empty: none.
    pub ca_file: &'a str,
    pub gpus: &'a [u32],
}

/// The GPUs that a plan gives.
pub(super) fn gpus(plan: &Plan) -> Vec<u32> {
    let value = plan.environment.iter().find(|(name, _)| name == GPUS).map_or("", |(_, value)| value);
    value.split(',').filter_map(|gpu| gpu.parse().ok()).collect()
}

fn own(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Where the node's own programs are.
pub(super) fn path() -> String {
    own("PATH", PATH_DEFAULT)
}

/// The whole environment, sorted by name.
pub(super) fn of(node_id: &str, given: &Given<'_>) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    all.insert("PATH".to_owned(), path());
    all.insert("HOME".to_owned(), own("HOME", "/"));
    all.insert("LANG".to_owned(), own("LANG", LANG_DEFAULT));
    // What a script prints is in the log when it prints it, not when its buffer is full.
    all.insert("PYTHONUNBUFFERED".to_owned(), "1".to_owned());
    for (name, value) in &given.spec.environment_variables {
        all.insert(name.clone(), given.places.render(value));
    }
    if let Some(folder) = Path::new(given.python).parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let path = all.entry("PATH".to_owned()).or_default();
        *path = format!("{}:{path}", folder.display());
    }
    // There is no MLflow server here yet that would know the run: such a script logs where it would without us.
    let contract = given.spec.contract_variables.iter().filter(|(name, _)| !name.starts_with("MLFLOW_"));
    all.extend(contract.map(|(name, value)| (name.clone(), value.clone())));
    let mut set = |name: &str, value: String| {
        all.insert(name.to_owned(), value);
    };
    identity(node_id, given, &mut set);
    files(given, &mut set);
    service(given, &mut set);
    if !given.gpus.is_empty() {
        set(GPUS, given.gpus.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
    }
    all.into_iter().collect()
}

/// Who the job is and whom it reports to.
fn identity(node_id: &str, given: &Given<'_>, set: &mut impl FnMut(&str, String)) {
    let Given { order, spec, api_url, ca_file, .. } = given;
    let run = process::run_name(&order.run_id, &order.job_id);
    set("TRIALOG_NODE_ID", node_id.to_owned());
    set("TRIALOG_WORKSPACE", order.workspace.clone());
    set("TRIALOG_RUN_ID", run.to_owned());
    set("TRIALOG_ATTEMPT", order.attempt.to_string());
    set("TRIALOG_API_URL", (*api_url).to_owned());
    set("TRIALOG_TOKEN", order.run_token.clone());
    let optional = [
        ("TRIALOG_EXPERIMENT", spec.experiment.clone()),
        ("TRIALOG_SWEEP_ID", spec.sweep_id.clone()),
        ("TRIALOG_TRIAL_INDEX", spec.trial_index.map(|index| index.to_string()).unwrap_or_default()),
        ("TRIALOG_PRIMARY_METRIC", spec.primary_metric.clone()),
        ("TRIALOG_GOAL", spec.goal.clone()),
        ("TRIALOG_SEED", spec.seed.clone()),
        ("TRIALOG_CA_FILE", (*ca_file).to_owned()),
    ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        set(name, value);
    }
}

/// Where its files are.
fn files(given: &Given<'_>, set: &mut impl FnMut(&str, String)) {
    let places = given.places;
    let shown = |path: &Path| path.display().to_string();
    set("TRIALOG_PARAMS_FILE", shown(&places.attempt.join(folder::PARAMS)));
    set("TRIALOG_PREEMPT_FILE", shown(&places.attempt.join(folder::PREEMPT)));
    for (id, path) in &places.inputs {
        set(&format!("TRIALOG_INPUT_{}", upper(id)), shown(path));
    }
    for (id, path) in &places.outputs {
        set(&format!("TRIALOG_OUTPUT_{}", upper(id)), shown(path));
    }
    if let Some(kept) = best::kept_file(given.order, &places.attempt) {
        set("TRIALOG_KEPT_FILE", shown(&kept));
    }
    let checkpoint = &given.order.checkpoint_folder;
    let holds_one = std::fs::read_dir(checkpoint).is_ok_and(|mut entries| entries.next().is_some());
    if !checkpoint.is_empty() {
        set("TRIALOG_CHECKPOINT_DIR", checkpoint.clone());
    }
    set("TRIALOG_RESUME", u8::from(holds_one).to_string());
}

fn service(given: &Given<'_>, set: &mut impl FnMut(&str, String)) {
    if given.spec.service.is_some() {
        let model = given.places.model.display().to_string();
        set("TRIALOG_MODEL_DIR", model.clone());
        set("AZUREML_MODEL_DIR", model);
    }
}

/// The name of an id in the environment: upper case, each of `.` and `-` becomes `_`.
fn upper(id: &str) -> String {
    id.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// `python` means the interpreter that the job names, by its own path: a virtual environment is found by that.
/// Where the job names none and the machine has only `python3`, that is meant.
pub(super) fn program(word: &str, python: &str, path: &str) -> String {
    if !matches!(word, "python" | "python3") {
        return word.to_owned();
    }
    if !python.is_empty() {
        return python.to_owned();
    }
    let is_there = |name: &str| path.split(':').any(|folder| Path::new(folder).join(name).is_file());
    if word == "python" && !is_there("python") && is_there("python3") { "python3".to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_interpreters() {
        // A script that asks for TRIALOG_INPUT_TRAIN_SET must find it, and `python` must be the environment's own.
        assert_eq!(upper("train-set.v1"), "TRAIN_SET_V1");
        assert_eq!(program("python", "/venv/bin/python3.11", "/usr/bin"), "/venv/bin/python3.11");
        assert_eq!(program("sh", "/venv/bin/python3.11", "/usr/bin"), "sh");
        assert_eq!(program("python3", "", ""), "python3");
    }
}
