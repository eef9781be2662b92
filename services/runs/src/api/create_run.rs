//! Creates a run, and its experiment when the name is new.

use contracts::CallContext;
use contracts::runs as wire;
use documents::texts;
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
    check(&request).map_err(status)?;
    // The id belongs to the command: a repeat must come to the same stream, whatever has become of the cluster since.
    let earlier = created_earlier(core, &call).await?;
    let resolved = request.resolved.take();
    if let Some(job) = request.job.as_ref().filter(|_| earlier.is_none()) {
        job::check(job, resolved.as_ref()).map_err(status)?;
    }
    let parent = match request.parent_run_id.as_str() {
        "" => None,
        parent => Some(run_in(core, &request.workspace, parent).await?),
    };
    let _naming = core.naming.read().await;
    if let Some(job) = request.job.take() {
        let resolved = resolved.filter(|_| earlier.is_none());
        request.job = Some(job::resolve(core, &request.workspace, job, resolved.as_ref()).await?);
    }
    let experiment = resolve_experiment(core, &call, &request).await?;
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
) -> Result<ExperimentCreated, Status> {
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
    texts::check(&request.params, "params")?;
    texts::check(&request.tags, "tags")
}
