//! Creates a run, and its experiment when the name is new.

use contracts::CallContext;
use contracts::runs as wire;
use documents::{Findings, texts};
use eventlog::ExecuteError;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::{Problem, RunId};

use super::texts::{check_experiment_name, check_run_name};
use super::{command, job, run_in, status};
use crate::experiment::ExperimentCreated;
use crate::experiments::find_or_make;
use crate::run::{Command, RunCreated, Subject, name_of};
use crate::service::Core;
use crate::views;

pub(super) async fn create_run(
    core: &Core,
    request: Request<wire::CreateRunRequest>,
) -> Result<Response<wire::Run>, Status> {
    let call = CallContext::of(&request);
    let mut request = request.into_inner();
    // The id belongs to the command: a repeat must come to the same stream, whatever has become of the cluster since.
    let earlier = created_earlier(core, &call).await?;
    let resolved = request.resolved.take().filter(|_| earlier.is_none());
    let findings = check(&request, resolved.as_ref(), earlier.is_none()).map_err(status)?;
    let mut faults = job::Faults::new();
    let parent = match request.parent_run_id.as_str() {
        "" => None,
        parent => match run_in(core, &request.workspace, parent).await {
            Ok(parent) => Some(parent),
            Err(status) => {
                faults.push(("/parent_run_id", job::fault(status)?));
                None
            }
        },
    };
    let _naming = core.naming.read().await;
    if let Some(job) = request.job.take() {
        let (job, of_job) = job::resolve(core, &request.workspace, job, resolved.as_ref()).await?;
        request.job = Some(job);
        faults.extend(of_job);
    }
    let known = views::experiments::find(core.log.reader(), &request.workspace, &request.experiment).await;
    let known = known.map_err(calls::unreadable)?;
    if known.is_none() && !request.experiment.is_empty() {
        faults.extend(check_experiment_name(&request.experiment, "/experiment").err().map(|fault| ("", fault)));
    }
    answered(findings, faults)?;
    if request.check_only {
        return Ok(Response::new(wire::Run::default()));
    }
    let experiment = resolve_experiment(core, &call, &request, known).await?;
    let decide = async |run: RunId| {
        let command = created(core, &request, parent, &experiment, run).map_err(status)?;
        let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
        Ok::<_, Status>(match parent {
            None => command::decide(&core.log, run, command, context).await,
            Some(parent) => command::decide_below(&core.log, parent, run, command, context).await,
        })
    };
    let run = earlier.unwrap_or_else(|| RunId::new(core.entropy.uuid()));
    let (run, committed) = match decide(run).await? {
        // The same request at the same time got there first, with an id of its own.
        Err(ExecuteError::KeyReuse) if earlier.is_none() => {
            let run = created_earlier(core, &call).await?.unwrap_or(run);
            (run, decide(run).await?)
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
    parent: Option<RunId>,
    experiment: &ExperimentCreated,
    run: RunId,
) -> Result<Command, Problem> {
    let job = request.job.as_ref().map(|job| job::complete(job, &request.params, &experiment.name)).transpose()?;
    let name = if request.name.is_empty() { name_of(run) } else { request.name.clone() };
    Ok(Command::Create(Box::new(RunCreated {
        subject: Subject { workspace: request.workspace.clone(), ..Subject::default() },
        run_id: run,
        experiment_id: experiment.experiment_id.to_string(),
        experiment: experiment.name.clone(),
        name,
        parent_run_id: parent.map(|parent| parent.to_string()).unwrap_or_default(),
        params: request.params.clone(),
        tags: request.tags.clone(),
        job,
        objective: None,
        at_us: core.clock.now_us(),
    })))
}

async fn resolve_experiment(
    core: &Core,
    call: &CallContext,
    request: &wire::CreateRunRequest,
    known: Option<ExperimentCreated>,
) -> Result<ExperimentCreated, Status> {
    match known {
        Some(known) => Ok(known),
        None if request.experiment.is_empty() => Ok(views::experiments::default_of(&request.workspace)),
        None => {
            let command_id = call.command_id.map(|id| Uuid::new_v5(&id, b"experiment"));
            let call = CallContext { command_id, expected_version: None, ..call.clone() };
            let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
            find_or_make(core, &request.workspace, &request.experiment, context).await.map_err(status)
        }
    }
}

/// What is wrong in the request itself. A job that was taken before is not checked again.
fn check(
    request: &wire::CreateRunRequest,
    resolved: Option<&wire::ResolvedJob>,
    is_new: bool,
) -> Result<Findings, Problem> {
    let findings = Findings::new();
    let texts = [texts::check(&request.params, "params"), texts::check(&request.tags, "tags")];
    for problem in texts.into_iter().chain([check_run_name(&request.name)]).filter_map(Result::err) {
        findings.add_problem("", problem);
    }
    if let Some(job) = request.job.as_ref().filter(|_| is_new) {
        job::check(job, resolved, &findings)?;
    }
    Ok(findings)
}

/// Nothing, or all that is wrong.
fn answered(findings: Findings, faults: job::Faults) -> Result<(), Status> {
    for (pointer, fault) in faults {
        // Of a reference that could not be read there is nothing to say beyond that.
        if !findings.pointers().iter().any(|known| known == pointer) {
            findings.add_problem(pointer, fault);
        }
    }
    findings.finish(Some(())).map(|_| ()).map_err(status)
}
