//! Trials of a sweep, and why each is as it is.

use actix_web::get;
use actix_web::http::StatusCode;
use contracts::compute::{GetJobRequest, Job};
use contracts::runs::ListMetricsRequest;
use contracts::sweeps::{ExplainTrialRequest, GetTrialRequest, ListTrialsReply, ListTrialsRequest, Trial};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::sweep_actions::embedded;
use super::sweeps::absent_is_none;
use crate::door::{self, Query, Call, Refusal, Reply, Service};

super::routes!(list_trials, get_trial, explain_trial);

/// Which trials to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TrialsQuery {
    /// Only trials in this state.
    #[serde(default)]
    state: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
}

/// Lists a sweep's trials by index; of the first 100 that are queued also why they wait.
#[utoipa::path(tag = "trials", params(TrialsQuery), responses((status = 200, body = ListTrialsReply)))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials")]
pub(crate) async fn list_trials(call: Call, query: Query<TrialsQuery>) -> Reply {
    let TrialsQuery { state, page_size, page_token } = query.into_inner();
    let (workspace, sweep) = (call.workspace.clone(), call.path("sweep").to_owned());
    let request = ListTrialsRequest { workspace, sweep, state, page_size, page_token };
    let context = call.reading(Service::Sweeps)?;
    let mut reply = call.peers().sweeps_client().list_trials(context.attach(request)).await?.into_inner();
    explain_waiting(&call, &mut reply.trials).await;
    door::json(StatusCode::OK, &reply)
}

/// Shows a trial; of one that has not ended also what it waits for, and what is wrong with its node.
#[utoipa::path(tag = "trials", responses((status = 200, body = Trial)))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials/{index:[^/:]+}")]
pub(crate) async fn get_trial(call: Call) -> Reply {
    let (workspace, sweep, index) = (call.workspace.clone(), call.path("sweep").to_owned(), call.number("index")?);
    let context = call.reading(Service::Sweeps)?;
    let request = GetTrialRequest { workspace, sweep, index, deleted: false };
    let mut trial = call.peers().sweeps_client().get_trial(context.attach(request)).await?.into_inner();
    if trial.ended_at.is_empty() && trial.reason.is_empty() {
        trial.reason = waiting_of(&call, &trial).await;
    }
    door::json(StatusCode::OK, &trial)
}

/// The states of a trial or run whose job waits for a node, or has not begun on it.
pub(super) const NOT_BEGUN: [&str; 3] = ["Queued", "Starting", "Preparing"];
/// Trials of one page whose jobs are asked why they wait: a page may have a thousand.
const EXPLAINED_MAX: usize = 100;

/// Says of trials that have not begun why they wait. They are worth showing even when compute does not answer.
async fn explain_waiting(call: &Call, trials: &mut [Trial]) {
    let is_waiting = |trial: &&mut Trial| NOT_BEGUN.contains(&trial.state.as_str()) && trial.reason.is_empty();
    let asked = trials.iter_mut().filter(is_waiting).take(EXPLAINED_MAX).map(|trial| async move {
        trial.reason = waiting_of(call, trial).await;
    });
    futures_util::future::join_all(asked).await;
}

async fn waiting_of(call: &Call, trial: &Trial) -> String {
    job_of(call, &trial.run_id).await.ok().flatten().map(waits_for).unwrap_or_default()
}

/// What a job waits for: a node, or for its node to be well again; empty when it waits for nothing.
pub(super) fn waits_for(job: Job) -> String {
    match (job.state.as_str(), job.node_trouble.as_str()) {
        (WAITING, _) => job.reason,
        (_, "") => String::new(),
        (_, trouble) => format!("{} has trouble: {trouble}", job.node_id),
    }
}

/// Says why a trial has its parameters, ran where it ran and ended as it did: `{trial, proposal, decisions,
/// placements, attempts}`, and `reported`, the metrics of one that never reported its own.
#[utoipa::path(tag = "trials", responses((status = 200, body = serde_json::Value)))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep}/trials/{index:[^/:]+}/why")]
pub(crate) async fn explain_trial(call: Call) -> Reply {
    let explanation = explain(&call, call.path("sweep"), call.number("index")?, false).await?;
    door::json(StatusCode::OK, &explanation)
}

/// What sweeps says of the trial, with what compute says of its run's job; with `deleted` also of a sweep that is gone.
pub(crate) async fn explain(call: &Call, sweep: &str, index: u32, deleted: bool) -> Result<Value, Refusal> {
    let context = call.reading(Service::Sweeps)?;
    let request = ExplainTrialRequest { workspace: call.workspace.clone(), sweep: sweep.to_owned(), index, deleted };
    let reply = call.peers().sweeps_client().explain_trial(context.attach(request)).await?.into_inner();
    let mut explanation = embedded(&reply.explanation_json)?;
    let job = job_of(call, &reply.run_id).await?.unwrap_or_default();
    let reported = reported_instead(call, &explanation, &reply.run_id).await;
    if let Some(members) = explanation.as_object_mut() {
        members.extend(reported.map(|names| ("reported".to_owned(), names.into())));
        members.insert("placements".to_owned(), placements(&job).into());
        let reason = waits_for(job);
        if !reason.is_empty() {
            members.insert("reason".to_owned(), reason.into());
        }
        members.entry("run_id").or_insert(reply.run_id.into());
    }
    Ok(explanation)
}

/// The metrics that a trial reported which never reported the one that counts; nothing for any other trial.
async fn reported_instead(call: &Call, explanation: &Value, run_id: &str) -> Option<Vec<String>> {
    let trial = explanation.get("trial")?;
    if trial.get("reason")? != NO_OBJECTIVE || trial.get("non_finite_reports")? != 0 || run_id.is_empty() {
        return None;
    }
    let context = call.reading(Service::Runs).ok()?;
    let request =
        ListMetricsRequest { workspace: call.workspace.clone(), run_id: run_id.to_owned(), ..Default::default() };
    // The rest of the answer is worth having also when the run is gone.
    let reply = call.peers().runs_client().list_metrics(context.attach(request)).await.ok()?;
    Some(reply.into_inner().metrics.into_iter().map(|metric| metric.name).collect())
}

/// Why a trial has ended that has no value.
const NO_OBJECTIVE: &str = "no_objective";
/// The state of a job that has no node.
const WAITING: &str = "queued";

/// The job of a run; nothing while compute does not know it yet.
pub(super) async fn job_of(call: &Call, run_id: &str) -> Result<Option<Job>, Refusal> {
    if run_id.is_empty() {
        return Ok(None);
    }
    let context = call.reading(Service::Compute)?;
    let request = GetJobRequest { workspace: call.workspace.clone(), id: run_id.to_owned() };
    absent_is_none(call.peers().compute_client().get_job(context.attach(request)).await)
}

/// Where a job was placed.
pub(super) fn placements(job: &Job) -> Vec<Value> {
    let shown = job.placements.iter().map(|placement| {
        json!({
            "position": placement.position,
            "attempt": placement.attempt,
            "node": placement.node_id,
            "reason": placement.reason,
            "placed_at": placement.placed_at,
        })
    });
    shown.collect()
}
