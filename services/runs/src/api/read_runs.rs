//! Reads runs: one, or a page of them, newest first.

use contracts::CallContext;
use contracts::runs as wire;
use strum::VariantNames;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, RunId, SweepId};

use super::{bad_token, run_in, run_named, status, to_wire};
use crate::run::RunState;
use crate::service::Core;
use crate::views::{experiments, runs};

/// Children that are read at once.
const CHILDREN_AT_ONCE: i32 = 1_000;
/// Runs below one that are listed: they are all looked at for each page.
const BELOW_MAX: usize = 20_000;

pub(super) async fn get_run(core: &Core, request: Request<wire::GetRunRequest>) -> Result<Response<wire::Run>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let wire::GetRunRequest { workspace, run_id } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let found = runs::find(core.log.reader(), &workspace, run).await.map_err(calls::unreadable)?;
    found
        .map(|found| Response::new(to_wire::run(found.run_id, &found.run)))
        .ok_or_else(|| status(Problem::not_found("run", &run_id, &workspace)))
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
    let recursive = request.recursive;
    let filter = filter(core, request).await?;
    let rows = match RunId::parse(&filter.parent) {
        Ok(parent) if recursive => below(core, &filter.workspace, parent, before, size + 1).await?,
        _ => runs::list(core.log.reader(), &filter, before, size + 1).await.map_err(calls::unreadable)?,
    };
    let places: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let (runs, more) = calls::Page::fill(size, rows.iter().map(|row| to_wire::run(row.run_id, &row.run)));
    let next_page_token = places[..runs.len()].last().filter(|_| more).map(i64::to_string).unwrap_or_default();
    Ok(Response::new(wire::ListRunsReply { runs, next_page_token }))
}

/// A page of all that is nested in a run, newest first, before the place `before`.
async fn below(
    core: &Core,
    workspace: &str,
    parent: RunId,
    before: i64,
    limit: i32,
) -> Result<Vec<runs::Shown>, Status> {
    let reader = core.log.reader();
    let (mut open, mut found) = (vec![parent], Vec::new());
    while let Some(parent) = open.pop() {
        let mut after = -1;
        loop {
            let page = runs::children(reader, workspace, parent, after, CHILDREN_AT_ONCE).await;
            let page = page.map_err(calls::unreadable)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            open.extend(page.iter().map(|child| child.run));
            found.extend(page.iter().map(|child| (child.seq, child.run)));
            if found.len() > BELOW_MAX {
                let message = format!("more than {BELOW_MAX} runs are nested in this one; list each level by itself");
                return Err(status(Problem::invalid("/recursive", "TooMany", message)));
            }
        }
    }
    found.retain(|(seq, _)| *seq < before);
    found.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    let mut rows = Vec::new();
    for (_, run) in found.into_iter().take(usize::try_from(limit).unwrap_or_default()) {
        rows.extend(runs::find(reader, workspace, run).await.map_err(calls::unreadable)?);
    }
    Ok(rows)
}

async fn filter(core: &Core, request: wire::ListRunsRequest) -> Result<runs::Filter, Status> {
    let wire::ListRunsRequest { workspace, experiment, parent, state, sweep_id, id_prefix, .. } = request;
    if !state.is_empty() && state.parse::<RunState>().is_err() {
        let message = documents::not_one_of("state", &state, RunState::VARIANTS);
        return Err(status(Problem::invalid("/state", "BadState", message)));
    }
    let experiment_id = match experiment.as_str() {
        "" => String::new(),
        named => {
            let found = experiments::find(core.log.reader(), &workspace, named).await.map_err(calls::unreadable)?;
            let absent = || status(Problem::not_found("experiment", named, &workspace));
            found.ok_or_else(absent)?.experiment_id.to_string()
        }
    };
    // Rows hold the canonical spelling; a sweep that is no id is left as it is and finds nothing.
    let parent = match parent.as_str() {
        "" => String::new(),
        named => run_in(core, &workspace, named).await?.to_string(),
    };
    let sweep_id = SweepId::parse(&sweep_id).map_or(sweep_id, |sweep| sweep.to_string());
    let ids = match id_prefix.as_str() {
        "" => None,
        prefix => Some(calls::begun(prefix, "run_").ok_or_else(|| {
            let message = format!("id_prefix {prefix:?}: the beginning of a run's id, e.g. run_01K7");
            status(Problem::invalid("/id_prefix", "BadRunId", message))
        })?),
    };
    Ok(runs::Filter { workspace, experiment_id, parent, state, sweep_id, ids })
}
