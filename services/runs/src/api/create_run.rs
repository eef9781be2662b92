//! Creates a run, and its experiment when the name is new.

use std::collections::BTreeMap;

use contracts::CallContext;
use contracts::compute::{JobSpec as WireJob, Resources};
use contracts::runs as wire;
use eventlog::ExecuteError;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::job::JobSpec;
use vocabulary::{FieldError, Problem, RunId};

use super::texts::{check_experiment_name, check_run_name, check_texts};
use super::{command, references, run_in, status};
use crate::experiments::find_or_make;
use crate::run::{Command, RunCreated, Subject, name_of};
use crate::service::Core;
use crate::views;

/// What a job gets that names no memory: 1 GiB.
const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

pub(super) async fn create_run(
    core: &Core,
    request: Request<wire::CreateRunRequest>,
) -> Result<Response<wire::Run>, Status> {
    let call = CallContext::of(&request);
    let mut request = request.into_inner();
    check(&request).map_err(status)?;
    let parent_run_id = match request.parent_run_id.as_str() {
        "" => String::new(),
        parent => run_in(core, &request.workspace, parent).await?.to_string(),
    };
    if let Some(job) = request.job.take() {
        request.job = Some(references::resolve(core, &request.workspace, job).await?);
    }
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
            check_experiment_name(&request.experiment, "/experiment").map_err(status)?;
            let command_id = call.command_id.map(|id| Uuid::new_v5(&id, b"experiment"));
            let call = CallContext { command_id, expected_version: None, ..call.clone() };
            let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
            find_or_make(core, &request.workspace, &request.experiment, context).await.map_err(status)
        }
    }
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

fn check_job(job: &WireJob) -> Result<(), Problem> {
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
fn complete_job(job: &WireJob, params: &BTreeMap<String, String>, experiment: &str) -> Result<JobSpec, Problem> {
    let given = job.resources.unwrap_or_default();
    let resources = Resources {
        cpu_count: if given.cpu_count == 0.0 { 1.0 } else { given.cpu_count },
        gpu_count: given.gpu_count,
        memory_bytes: if given.memory_bytes == 0 { MEMORY_BYTES_DEFAULT } else { given.memory_bytes },
        node_count: given.node_count.max(1),
    };
    let mut job = WireJob {
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
    JobSpec::try_from(job).map_err(|error| Problem::invalid("/job", "BadJob", format!("job.{error}")))
}

/// Whether a param can be a variable of the environment: the rule for parameters of sweeps. Others are in the params
/// file only.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
