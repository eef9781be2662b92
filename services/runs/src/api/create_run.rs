//! Creates a run, and its experiment when the name is new.

use std::collections::BTreeMap;

use contracts::CallContext;
use contracts::compute::{JobSpec, Resources};
use contracts::runs as wire;
use eventlog::{Context, ExecuteError};
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::{FieldError, Problem, RunId};

use super::{command, experiments, run_in, status};
use crate::experiment::{self, DEFAULT_NAME, Experiments};
use crate::run::{Command, RunCreated, Subject};
use crate::service::Core;
use crate::views;

/// Params or tags of a run.
const TEXTS_MAX: usize = 2_000;
/// Characters of a param's or tag's name.
const KEY_LENGTH_MAX: usize = 255;
/// Bytes of a param's or tag's value: a note fits, a file does not.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Characters of a run's name.
const NAME_LENGTH_MAX: usize = 255;
/// What a job gets that names no memory: 1 GiB.
const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

pub(super) async fn create_run(
    core: &Core,
    request: Request<wire::CreateRunRequest>,
) -> Result<Response<wire::Run>, Status> {
    let call = CallContext::of(&request);
    let request = request.into_inner();
    check(&request).map_err(status)?;
    let parent_run_id = match request.parent_run_id.as_str() {
        "" => String::new(),
        parent => run_in(core, &request.workspace, parent).await?.to_string(),
    };
    let experiment = resolve_experiment(core, &call, &request).await?;
    let created = |run: RunId| created(core, &request, &parent_run_id, &experiment, run);
    // The id belongs to the command: a repeat must come to the same stream.
    let earlier = created_earlier(core, &call).await?;
    let run = earlier.unwrap_or_else(|| RunId::new(core.entropy.uuid()));
    let context = || calls::context(&call, core.entropy.as_ref(), Vec::new());
    let (run, committed) = match command::decide(&core.log, run, created(run).map_err(status)?, context()).await {
        // The same request at the same time got there first, with an id of its own.
        Err(ExecuteError::KeyReuse) if earlier.is_none() => {
            let run = created_earlier(core, &call).await?.unwrap_or(run);
            (run, command::decide(&core.log, run, created(run).map_err(status)?, context()).await)
        }
        decided => (run, decided),
    };
    command::answer(core, run, &committed.map_err(calls::refused)?)
}

async fn created_earlier(core: &Core, call: &CallContext) -> Result<Option<RunId>, Status> {
    match call.command_id {
        Some(command) => views::runs::created_by(core.log.reader(), command).await.map_err(calls::unreadable),
        None => Ok(None),
    }
}

fn created(
    core: &Core,
    request: &wire::CreateRunRequest,
    parent_run_id: &str,
    experiment: &wire::Experiment,
    run: RunId,
) -> Result<Command, Problem> {
    let job = request.job.as_ref().map(|job| complete_job(job, &request.params, &experiment.name)).transpose()?;
    let name = if request.name.is_empty() { name_of(run) } else { request.name.clone() };
    Ok(Command::Create(Box::new(RunCreated {
        subject: Subject { workspace: request.workspace.clone(), ..Subject::default() },
        run_id: run,
        experiment_id: experiment.experiment_id.clone(),
        experiment: experiment.name.clone(),
        name,
        parent_run_id: parent_run_id.to_owned(),
        params: request.params.clone(),
        tags: request.tags.clone(),
        job,
        at_us: core.clock.now_us(),
    })))
}

/// A name for a run that was given none: the end of its id, which differs between runs of one moment.
pub(crate) fn name_of(run: RunId) -> String {
    let hex = run.hex();
    format!("run-{}", &hex[hex.len() - 8..])
}

async fn resolve_experiment(
    core: &Core,
    call: &CallContext,
    request: &wire::CreateRunRequest,
) -> Result<wire::Experiment, Status> {
    let found = views::experiments::find(core.log.reader(), &request.workspace, &request.experiment).await;
    match found.map_err(calls::unreadable)? {
        Some(found) => Ok(found),
        None if request.experiment.is_empty() => Ok(views::experiments::default_of(&request.workspace)),
        None => {
            experiments::check_name(&request.experiment, "/experiment")?;
            let command_id = call.command_id.map(|id| Uuid::new_v5(&id, b"experiment"));
            let call = CallContext { command_id, expected_version: None, ..call.clone() };
            let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
            experiment_of(core, &request.workspace, &request.experiment, context).await.map_err(status)
        }
    }
}

/// The experiment with an id or a name; a new name gets an id.
///
/// # Errors
/// When the log cannot be read or written.
pub(crate) async fn experiment_of(
    core: &Core,
    workspace: &str,
    id_or_name: &str,
    context: Context,
) -> Result<wire::Experiment, Problem> {
    let name = if id_or_name.is_empty() { DEFAULT_NAME } else { id_or_name };
    if let Some(known) = core.experiments.get(workspace, name) {
        return Ok(known);
    }
    let found = found_or_made(core, workspace, name, context).await?;
    core.experiments.put(workspace, name, found.clone());
    Ok(found)
}

async fn found_or_made(
    core: &Core,
    workspace: &str,
    name: &str,
    context: Context,
) -> Result<wire::Experiment, Problem> {
    let find = || views::experiments::find(core.log.reader(), workspace, name);
    if let Some(found) = find().await.map_err(|error| error.problem())? {
        return Ok(found);
    }
    let command = experiment::Command::Create {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        tags: BTreeMap::new(),
        must_be_new: false,
        at_us: core.clock.now_us(),
    };
    let made = core.log.execute::<Experiments>(&experiment::stream(workspace), command, context).await;
    made.map_err(calls::problem)?;
    let found = find().await.map_err(|error| error.problem())?;
    found.ok_or_else(|| Problem::internal(format!("experiment '{name}' was created and is not there")))
}

fn check(request: &wire::CreateRunRequest) -> Result<(), Problem> {
    check_run_name(&request.name)?;
    check_texts(&request.params, "params")?;
    check_texts(&request.tags, "tags")?;
    match &request.job {
        Some(job) => check_job(job),
        None => Ok(()),
    }
}

pub(super) fn check_run_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        let message = format!("name: {length} characters; at most {NAME_LENGTH_MAX}, none of them a control character");
        return Err(Problem::invalid("/name", "BadName", message));
    }
    Ok(())
}

/// Checks params or tags.
pub(super) fn check_texts(texts: &BTreeMap<String, String>, field: &str) -> Result<(), Problem> {
    if texts.len() > TEXTS_MAX {
        let message = format!("{field} has {} entries, limit {TEXTS_MAX}", texts.len());
        return Err(Problem::invalid(&format!("/{field}"), "TooLarge", message));
    }
    let mut errors = Vec::new();
    for (key, value) in texts {
        let pointer = format!("/{field}/{}", key.replace('~', "~0").replace('/', "~1"));
        let length = key.chars().count();
        if !(1..=KEY_LENGTH_MAX).contains(&length) || key.chars().any(char::is_control) {
            let message = format!("{field}: name {key:?}: 1 to {KEY_LENGTH_MAX} characters without control characters");
            errors.push(FieldError::new(pointer, "BadName", message));
        } else if value.len() > VALUE_BYTES_MAX {
            let message =
                format!("{field}.{key} has {} bytes, limit {VALUE_BYTES_MAX}; record a file instead", value.len());
            errors.push(FieldError::new(pointer, "TooLarge", message));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(422, errors)) }
}

fn check_job(job: &JobSpec) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if job.cluster.is_empty() {
        errors.push(FieldError::new("/job/cluster", "Required", "job.cluster: required"));
    }
    if job.command.first().is_none_or(String::is_empty) {
        let message = "job.command: required: at least the program";
        errors.push(FieldError::new("/job/command", "Required", message));
    }
    for name in job.environment_variables.keys().filter(|name| name.starts_with("TRIALOG_")) {
        let pointer = format!("/job/environment_variables/{name}");
        let message = format!("job.environment_variables.{name}: names starting with TRIALOG_ are Trialog's own");
        errors.push(FieldError::new(pointer, "ReservedName", message));
    }
    let numbers = [
        ("timeout_seconds", job.timeout_seconds),
        ("grace_seconds", job.grace_seconds),
        ("resources/cpu_count", job.resources.as_ref().map_or(0.0, |resources| resources.cpu_count)),
    ];
    for (field, number) in numbers.into_iter().filter(|(_, number)| !number.is_finite() || *number < 0.0) {
        let message = format!("job.{field} {number} must be a finite number, 0 or more");
        errors.push(FieldError::new(format!("/job/{field}"), "OutOfRange", message));
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(422, errors)) }
}

/// Fills in what a plain run's job leaves out. What the attempt's node decides is left to its agent.
fn complete_job(job: &JobSpec, params: &BTreeMap<String, String>, experiment: &str) -> Result<JobSpec, Problem> {
    let given = job.resources.unwrap_or_default();
    let resources = Resources {
        cpu_count: if given.cpu_count == 0.0 { 1.0 } else { given.cpu_count },
        gpu_count: given.gpu_count,
        memory_bytes: if given.memory_bytes == 0 { MEMORY_BYTES_DEFAULT } else { given.memory_bytes },
        node_count: given.node_count.max(1),
    };
    let mut job = JobSpec {
        resources: Some(resources),
        sweep_id: String::new(),
        trial_index: None,
        service: None,
        experiment: experiment.to_owned(),
        ..job.clone()
    };
    if job.parameters_json.is_empty() {
        job.parameters_json = serde_json::to_string(params).unwrap_or_default();
    }
    for (name, value) in params.iter().filter(|(name, _)| is_variable_name(name)) {
        let name = format!("TRIALOG_PARAM_{}", name.to_uppercase().replace(['.', '-'], "_"));
        job.contract_variables.entry(name).or_insert_with(|| value.clone());
    }
    stored_form(&job)
}

/// Whether a param can be a variable of the environment: the rule for parameters of sweeps. Others are in the params
/// file only.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// The job as it comes back from the log, so that a run in memory is the same as one that was read.
pub(crate) fn stored_form(job: &JobSpec) -> Result<JobSpec, Problem> {
    let text = serde_json::to_string(job);
    text.and_then(|text| serde_json::from_str(&text)).map_err(|error| {
        Problem::invalid("/job", "BadJob", format!("job: it has no JSON form: {error}; is 'parameters' an object?"))
    })
}
