//! Runs: with a job that the platform executes, or driven by their client.

use actix_web::http::StatusCode;
use actix_web::web::Query;
use actix_web::{get, patch, post};
use contracts::compute::Cluster;
use contracts::runs::{
    CancelRunRequest, CreateRunRequest, GetRunRequest, JobCluster, ListRunsReply, ListRunsRequest, ResolvedJob, Run,
    UpdateRunRequest,
};
use serde::Deserialize;
use utoipa::IntoParams;
use vocabulary::{FieldError, Problem};

use super::page::PageQuery;
use super::sweeps::cluster_named;
use crate::door::{Call, Document, Reply, Service, Waiting, changed, found, json};

super::routes!(create_run, list_runs, get_run, update_run, cancel_run, list_children);

/// Which runs to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct RunsQuery {
    /// Only runs of this experiment, by id or name.
    experiment: String,
    /// Only children of this run.
    parent: String,
    /// Only runs in this state.
    state: String,
    /// Only runs of this sweep's trials.
    sweep: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    page_size: i32,
    /// `next_page_token` of the page before.
    page_token: String,
}

/// Creates a run. With a job the platform executes it on a cluster; without, its client drives it.
#[utoipa::path(tag = "runs", request_body = CreateRunRequest, responses((status = 201, body = Run)))]
#[post("/api/v1/workspaces/{workspace}/runs")]
pub(crate) async fn create_run(body: Document, call: Call) -> Reply {
    let mut request = CreateRunRequest { workspace: call.workspace.clone(), ..body.message().await? };
    check_job(&request)?;
    if let Some(job) = request.job.as_ref().filter(|job| !job.cluster.is_empty()) {
        let cluster = cluster_named(&call, &job.cluster).await?.map(job_cluster);
        request.resolved = Some(ResolvedJob { cluster });
    }
    let reply = call.peers().runs_client().create_run(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::CREATED, Service::Runs, reply)
}

fn job_cluster(cluster: Cluster) -> JobCluster {
    let size = cluster.size.unwrap_or_default();
    JobCluster {
        max_nodes: cluster.scale.map(|scale| scale.max_nodes).unwrap_or_default(),
        node_vcpus: size.vcpus,
        node_memory_bytes: size.memory_bytes,
        node_gpus: size.gpus,
        provisioning_state: cluster.provisioning_state,
    }
}

/// Fields of a job that only the platform may fill: with them a plain run could pass for a trial or a replica.
fn check_job(request: &CreateRunRequest) -> Result<(), Problem> {
    let Some(job) = &request.job else { return Ok(()) };
    let filled = [
        ("service", job.service.is_some()),
        ("sweep_id", !job.sweep_id.is_empty()),
        ("trial_index", job.trial_index.is_some()),
        ("contract_variables", !job.contract_variables.is_empty()),
    ];
    let errors = filled.into_iter().filter(|(_, filled)| *filled).map(|(field, _)| {
        FieldError::new(format!("/job/{field}"), "ReadOnly", format!("job.{field}: set by the platform; leave it out"))
    });
    let errors: Vec<_> = errors.collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(422, errors)) }
}

/// Lists runs, the newest first.
#[utoipa::path(tag = "runs", responses((status = 200, body = ListRunsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs")]
pub(crate) async fn list_runs(call: Call, query: Query<RunsQuery>) -> Reply {
    let RunsQuery { experiment, parent, state, sweep, page_size, page_token } = query.into_inner();
    let workspace = call.workspace.clone();
    let request = ListRunsRequest { workspace, experiment, parent, state, sweep_id: sweep, page_size, page_token };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_runs(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Shows a run.
#[utoipa::path(tag = "runs", responses((status = 200, body = Run)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}")]
pub(crate) async fn get_run(call: Call) -> Reply {
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let context = call.reading(Service::Runs)?;
    found(call.peers().runs_client().get_run(context.attach(request)).await?, Waiting::default())
}

/// Renames a run, adds params and tags, or ends a run that its client drives.
#[utoipa::path(tag = "runs", request_body = UpdateRunRequest, responses((status = 200, body = Run)))]
#[patch("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}")]
pub(crate) async fn update_run(body: Document, call: Call) -> Reply {
    let request =
        UpdateRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()?, ..body.message().await? };
    let reply = call.peers().runs_client().update_run(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Runs, reply)
}

/// Cancels a run and what is nested in it: jobs are told, and killed when they do not end in time.
#[utoipa::path(tag = "runs", responses((status = 202, body = Run)))]
#[post("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}:cancel")]
pub(crate) async fn cancel_run(body: Document, call: Call) -> Reply {
    let request = CancelRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let reply = call.peers().runs_client().cancel_run(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::ACCEPTED, Service::Runs, reply)
}

/// Lists a run's children.
#[utoipa::path(tag = "runs", responses((status = 200, body = ListRunsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/children")]
pub(crate) async fn list_children(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, parent) = (call.workspace.clone(), call.run_id()?);
    let request = ListRunsRequest { workspace, parent, page_size, page_token, ..ListRunsRequest::default() };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_runs(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}
