//! Reads runs: one, or a page of them, newest first.

use contracts::CallContext;
use contracts::runs as wire;
use strum::VariantNames;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, SweepId};

use super::{bad_token, run_in, run_named, status};
use crate::run::RunState;
use crate::service::Core;
use crate::views::{experiments, runs};

pub(super) async fn get_run(core: &Core, request: Request<wire::GetRunRequest>) -> Result<Response<wire::Run>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let wire::GetRunRequest { workspace, run_id } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let found = runs::find(core.log.reader(), &workspace, run).await.map_err(calls::unreadable)?;
    found.map(Response::new).ok_or_else(|| status(Problem::not_found("run", &run_id, &workspace)))
}

pub(super) async fn list_runs(
    core: &Core,
    request: Request<wire::ListRunsRequest>,
) -> Result<Response<wire::ListRunsReply>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let request = request.into_inner();
    let (size, token) = calls::page(request.page_size, &request.page_token)?;
    let before = match token {
        None => i64::MAX,
        Some(token) => token.parse().map_err(|_| bad_token(&token))?,
    };
    let filter = filter(core, request).await?;
    let mut rows = runs::list(core.log.reader(), &filter, before, size + 1).await.map_err(calls::unreadable)?;
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next_page_token = rows.last().filter(|_| more).map(|(seq, _)| seq.to_string()).unwrap_or_default();
    let runs = rows.into_iter().map(|(_, run)| run).collect();
    Ok(Response::new(wire::ListRunsReply { runs, next_page_token }))
}

async fn filter(core: &Core, request: wire::ListRunsRequest) -> Result<runs::Filter, Status> {
    let wire::ListRunsRequest { workspace, experiment, parent, state, sweep_id, .. } = request;
    if !state.is_empty() && state.parse::<RunState>().is_err() {
        let message = format!("state {state:?}: one of {}", RunState::VARIANTS.join(", "));
        return Err(status(Problem::invalid("/state", "BadState", message)));
    }
    let experiment_id = match experiment.as_str() {
        "" => String::new(),
        named => {
            let found = experiments::find(core.log.reader(), &workspace, named).await.map_err(calls::unreadable)?;
            let absent = || status(Problem::not_found("experiment", named, &workspace));
            found.ok_or_else(absent)?.experiment_id
        }
    };
    // Rows hold the canonical spelling; a sweep that is no id is left as it is and finds nothing.
    let parent = match parent.as_str() {
        "" => String::new(),
        named => run_in(core, &workspace, named).await?.to_string(),
    };
    let sweep_id = SweepId::parse(&sweep_id).map_or(sweep_id, |sweep| sweep.to_string());
    Ok(runs::Filter { workspace, experiment_id, parent, state, sweep_id })
}
