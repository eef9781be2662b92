//! Reads runs: one, or a page of them, newest first.

use contracts::CallContext;
use contracts::runs as wire;
use strum::VariantNames;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, RunId, SweepId};

use super::{bad_token, metrics, run_in, run_named, status, to_wire};
use crate::metrics::standing;
use crate::run::{Objective, RunState};
use crate::service::Core;
use crate::views::{experiments, runs};

/// Runs below one that are listed: they are all looked at for each page.
const BELOW_MAX: usize = 20_000;

pub(super) async fn get_run(core: &Core, request: Request<wire::GetRunRequest>) -> Result<Response<wire::Run>, Status> {
    calls::at_least(&core.log, &CallContext::of(&request)).await?;
    let wire::GetRunRequest { workspace, run_id } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let found = runs::find(core.log.reader(), &workspace, run).await.map_err(calls::unreadable)?;
    let found = found.ok_or_else(|| status(Problem::not_found("run", &run_id, &workspace)))?;
    let objectives: Vec<_> = found.run.objective().map(|objective| (run, objective)).into_iter().collect();
    let mut runs = [to_wire::run(found.run_id, &found.run)];
    fill_in_values(core, &mut runs, &objectives).await?;
    let [run] = runs;
    Ok(Response::new(run))
}

/// Says of each run how it stands by its objective.
async fn fill_in_values(core: &Core, runs: &mut [wire::Run], objectives: &[(RunId, Objective)]) -> Result<(), Status> {
    let standings = standing::of(core.log.reader(), objectives).await.map_err(metrics::unreadable)?;
    for run in runs {
        let found = RunId::parse(&run.run_id).ok().and_then(|run| standings.get(&run));
        (run.best_value, run.last_value) = found.map(|found| (found.best, found.last)).unwrap_or_default();
    }
    Ok(())
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
    let (mut page, mut last, mut objectives) = (calls::Page::of(size), before, Vec::new());
    let mut take = |row: runs::Shown| {
        let is_taken = page.push(to_wire::run(row.run_id, &row.run));
        if is_taken {
            last = row.seq;
            objectives.extend(row.run.objective().map(|objective| (row.run_id, objective)));
        }
        is_taken
    };
    match RunId::parse(&filter.parent) {
        Ok(parent) if recursive => each_below(core, &filter.workspace, (parent, BELOW_MAX), before, take).await?,
        _ => runs::each(core.log.reader(), &filter, before, size + 1, &mut take).await.map_err(calls::unreadable)?,
    }
    let (mut runs, more) = page.finish();
    fill_in_values(core, &mut runs, &objectives).await?;
    let next_page_token = if more { last.to_string() } else { String::new() };
    Ok(Response::new(wire::ListRunsReply { runs, next_page_token }))
}

/// Hands over what is nested in a run, newest first, before the place `before`, until one is not taken; it is refused
/// where more than `most` are nested.
pub(super) async fn each_below(
    core: &Core,
    workspace: &str,
    (parent, most): (RunId, usize),
    before: i64,
    mut take: impl FnMut(runs::Shown) -> bool,
) -> Result<(), Status> {
    let reader = core.log.reader();
    let mut found = runs::below(reader, workspace, parent, most).await.map_err(calls::unreadable)?;
    if found.len() > most {
        let message = format!("more than {most} runs are nested in this one; list each level by itself");
        return Err(status(Problem::invalid("/recursive", "TooMany", message)));
    }
    found.retain(|child| child.seq < before);
    found.sort_unstable_by_key(|child| std::cmp::Reverse(child.seq));
    for child in found {
        let row = runs::find(reader, workspace, child.run).await.map_err(calls::unreadable)?;
        if row.is_some_and(|row| !take(row)) {
            break;
        }
    }
    Ok(())
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
