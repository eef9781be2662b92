//! Experiments: create, get, list.

use contracts::CallContext;
use contracts::runs as wire;
use documents::texts;
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::texts::check_experiment_name;
use super::{bad_token, command, status};
use crate::experiment::{Command, ExperimentCreated, ExperimentEvent, Experiments, stream};
use crate::run::shown_time;
use crate::service::Core;
use crate::views::experiments as view;

pub(super) async fn create(
    core: &Core,
    request: Request<wire::CreateExperimentRequest>,
) -> Result<Response<wire::Experiment>, Status> {
    let call = CallContext::of(&request);
    let wire::CreateExperimentRequest { workspace, name, tags } = request.into_inner();
    check_experiment_name(&name, "/name").map_err(status)?;
    texts::check(&tags, "tags").map_err(status)?;
    let at_us = core.clock.now_us();
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let stream = stream(&workspace);
    let command = Command::Create { workspace, name, tags, must_be_new: true, at_us };
    let created = core.log.execute_answering::<Experiments>(&stream, command, context, |_, events| {
        let first = events.first().map(|ExperimentEvent::ExperimentCreated(created)| shown(created));
        first.map(|shown| shown.encode_to_vec()).unwrap_or_default()
    });
    let committed = created.await.map_err(calls::refused)?;
    Ok(contracts::with_position(command::reply(&committed)?, committed.position))
}

fn shown(created: &ExperimentCreated) -> wire::Experiment {
    wire::Experiment {
        workspace: created.workspace.clone(),
        experiment_id: created.experiment_id.to_string(),
        name: created.name.clone(),
        tags: created.tags.clone(),
        // Nobody has created Default.
        created_at: if created.experiment_id == 0 { String::new() } else { shown_time(created.at_us) },
    }
}

pub(super) async fn get(
    core: &Core,
    request: Request<wire::GetExperimentRequest>,
) -> Result<Response<wire::Experiment>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let wire::GetExperimentRequest { workspace, experiment } = request.into_inner();
    let found = view::find(core.log.reader(), &workspace, &experiment).await.map_err(calls::unreadable)?;
    let absent = || status(Problem::not_found("experiment", &experiment, &workspace));
    found.map(|found| Response::new(shown(&found))).ok_or_else(absent)
}

pub(super) async fn list(
    core: &Core,
    request: Request<wire::ListExperimentsRequest>,
) -> Result<Response<wire::ListExperimentsReply>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let request = request.into_inner();
    let (size, token) = calls::page(request.page_size, &request.page_token)?;
    // Default has the id 0 and no row.
    let (mut found, after) = match token {
        None => (vec![view::default_of(&request.workspace)], 0),
        Some(token) => (Vec::new(), token.parse().map_err(|_| bad_token(&token))?),
    };
    let room = size - found.len() as i32;
    let more = view::list(core.log.reader(), &request.workspace, after, room + 1).await.map_err(calls::unreadable)?;
    found.extend(more);
    let (experiments, more) = calls::Page::fill(size, found.iter().map(shown));
    let last = experiments.last().filter(|_| more);
    let next_page_token = last.map(|last| last.experiment_id.clone()).unwrap_or_default();
    Ok(Response::new(wire::ListExperimentsReply { experiments, next_page_token }))
}
