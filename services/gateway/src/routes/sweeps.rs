//! Sweeps: submitting, listing, showing, changing.

use actix_web::http::StatusCode;
use actix_web::{delete, get, patch, post};
use contracts::compute::{Cluster, GetClusterRequest};
use contracts::models::{ListModelsRequest, ListVersionsRequest};
use contracts::runs::HeadObjectRequest;
use contracts::sweeps::{
    ClusterFacts, DeleteSweepRequest, GetSweepRequest, ListSweepsReply, ListSweepsRequest, Resolved, SubmitSweepReply,
    SubmitSweepRequest, Sweep, UpdateSweepRequest,
};
use documents::{Node, Tree};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::door::{Call, Document, Query, Refusal, Reply, Service, WaitQuery, changed, found, json};

super::routes!(submit_sweep, list_sweeps, get_sweep, update_sweep, delete_sweep);

/// How a sweep is submitted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SubmitQuery {
    /// Only check and plan; nothing is written.
    #[serde(default)]
    dry_run: bool,
    /// Refuse where only a warning would be given.
    #[serde(default)]
    strict: bool,
}

/// Which sweeps to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SweepsQuery {
    /// Only sweeps in this state.
    #[serde(default)]
    state: String,
    /// `active` (default), `archived` or `all`.
    #[serde(default)]
    view: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
}

/// Submits a sweep document. All its errors are answered at once; what is probably not meant comes as warnings.
#[utoipa::path(tag = "sweeps", params(SubmitQuery),
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml"))),
    responses((status = 201, body = SubmitSweepReply),
        (status = 200, description = "The plan of a dry run", body = SubmitSweepReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps")]
pub(crate) async fn submit_sweep(body: Document, call: Call, query: Query<SubmitQuery>) -> Reply {
    let tree = body.tree().await?;
    let resolved = resolve(&call, &tree).await?;
    let request = SubmitSweepRequest {
        workspace: call.workspace.clone(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
        dry_run: query.dry_run,
        strict: query.strict,
        resolved: Some(resolved),
    };
    let reply = call.peers().sweeps_client().submit_sweep(call.writing(body.hash())?.attach(request)).await?;
    if !query.dry_run {
        return changed(StatusCode::CREATED, Service::Sweeps, reply);
    }
    let mut shown = serde_json::to_value(reply.get_ref()).unwrap_or_default();
    // Nothing was made: no id, state or version to speak of.
    if let Some(members) = shown.as_object_mut() {
        members.retain(|member, _| member == "plan" || member == "warnings");
    }
    json(StatusCode::OK, &shown)
}

/// What the document refers to: absent when it does not exist, which sweeps answers with all other errors.
async fn resolve(call: &Call, tree: &Node) -> Result<Resolved, Refusal> {
    let cluster = match text_of(tree.get("cluster")) {
        Some(name) => find_cluster(call, name).await?,
        None => None,
    };
    let code = text_of(tree.get("trial").and_then(|trial| trial.get("code"))).unwrap_or_default();
    let code_present = match code.strip_prefix("sha256:") {
        Some(hash) => has_object(call, hash).await?,
        None => false,
    };
    Ok(Resolved { cluster, code_present })
}

fn text_of(node: Option<&Node>) -> Option<&str> {
    match &node?.value {
        Tree::Text(text) => Some(text),
        _ => None,
    }
}

async fn find_cluster(call: &Call, name: &str) -> Result<Option<ClusterFacts>, Refusal> {
    Ok(cluster_named(call, name).await?.map(|cluster| {
        let size = cluster.size.unwrap_or_default();
        ClusterFacts {
            name: cluster.name,
            max_nodes: cluster.scale.map(|scale| scale.max_nodes).unwrap_or_default(),
            node_vcpus: size.vcpus,
            node_memory_bytes: size.memory_bytes,
            node_gpus: size.gpus,
            provisioning_state: cluster.provisioning_state,
        }
    }))
}

/// A cluster of the call's workspace, if it is there.
pub(crate) async fn cluster_named(call: &Call, name: &str) -> Result<Option<Cluster>, Refusal> {
    let request =
        GetClusterRequest { workspace: call.workspace.clone(), name: name.to_owned(), ..GetClusterRequest::default() };
    let context = call.reading(Service::Compute)?;
    absent_is_none(call.peers().compute_client().get_cluster(context.attach(request)).await)
}

async fn has_object(call: &Call, hash: &str) -> Result<bool, Refusal> {
    let context = call.reading(Service::Runs)?;
    let request = HeadObjectRequest { sha256: hash.to_owned(), workspace: call.workspace.clone() };
    Ok(absent_is_none(call.peers().runs_client().head_object(context.attach(request)).await)?.is_some())
}

/// What a service found; a name that it does not take as one is not there either.
pub(crate) fn absent_is_none<M>(reply: Result<tonic::Response<M>, tonic::Status>) -> Result<Option<M>, Refusal> {
    match reply {
        Ok(response) => Ok(Some(response.into_inner())),
        Err(status) => match contracts::problem_of(&status) {
            problem if problem.status == 404 || problem.status == 422 => Ok(None),
            problem => Err(Refusal(problem)),
        },
    }
}

/// Lists sweeps, the newest first.
#[utoipa::path(tag = "sweeps", params(SweepsQuery), responses((status = 200, body = ListSweepsReply)))]
#[get("/api/v1/workspaces/{workspace}/sweeps")]
pub(crate) async fn list_sweeps(call: Call, query: Query<SweepsQuery>) -> Reply {
    let SweepsQuery { state, view, page_size, page_token } = query.into_inner();
    let request = ListSweepsRequest { workspace: call.workspace.clone(), state, view, page_size, page_token };
    let context = call.reading(Service::Sweeps)?;
    let reply = call.peers().sweeps_client().list_sweeps(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Shows a sweep by its id or name; with `wait`, once it has changed.
#[utoipa::path(tag = "sweeps", params(WaitQuery), responses((status = 200, body = Sweep)))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}")]
pub(crate) async fn get_sweep(call: Call, wait: Query<WaitQuery>) -> Reply {
    let waiting = wait.of(&call.request)?;
    let request = GetSweepRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        wait_seconds: waiting.seconds,
        after_version: waiting.after_version,
        deleted: false,
    };
    let context = call.reading(Service::Sweeps)?;
    found(call.peers().sweeps_client().get_sweep(context.attach(request)).await?, waiting)
}

/// Changes a sweep's limits, description or tags; all else of it is fixed.
#[utoipa::path(tag = "sweeps",
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml"))),
    responses((status = 200, body = Sweep)))]
#[patch("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}")]
pub(crate) async fn update_sweep(body: Document, call: Call) -> Reply {
    body.tree().await?;
    let request = UpdateSweepRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
    };
    let reply = call.peers().sweeps_client().update_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// What goes with a sweep.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct DeleteQuery {
    /// Also the runs of its trials, with their metrics, logs and artifacts.
    runs: bool,
}

/// Deletes a sweep that has ended. 409 InUse while a version of a model comes from it, or a sweep that has not ended
/// began with what it has. Its name is free again; lineage still tells of it.
#[utoipa::path(tag = "sweeps", params(DeleteQuery), responses((status = 200, body = Sweep)))]
#[delete("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}")]
pub(crate) async fn delete_sweep(body: Document, call: Call, query: Query<DeleteQuery>) -> Reply {
    let (workspace, sweep) = (call.workspace.clone(), call.path("sweep").to_owned());
    let request = GetSweepRequest { workspace, sweep, deleted: true, ..GetSweepRequest::default() };
    let context = call.reading(Service::Sweeps)?;
    let sweep = call.peers().sweeps_client().get_sweep(context.attach(request)).await?.into_inner().sweep_id;
    let used_by = versions_of(&call, &sweep).await?;
    let request = DeleteSweepRequest { workspace: call.workspace.clone(), sweep, runs: query.runs, used_by };
    let reply = call.peers().sweeps_client().delete_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Versions of models that come from a sweep; what is deployed is one of them.
async fn versions_of(call: &Call, sweep_id: &str) -> Result<Vec<String>, Refusal> {
    let mut found = Vec::new();
    let mut client = call.peers().models_client();
    let (mut models, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListModelsRequest { workspace: call.workspace.clone(), page_token, ..Default::default() };
        let page = client.list_models(call.reading(Service::Models)?.attach(request)).await?.into_inner();
        models.extend(page.models.into_iter().map(|model| model.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for model in models {
        let (mut page_token, view) = (String::new(), "all".to_owned());
        loop {
            let (workspace, model, view) = (call.workspace.clone(), model.clone(), view.clone());
            let request = ListVersionsRequest { workspace, model, view, page_token, ..Default::default() };
            let page = client.list_versions(call.reading(Service::Models)?.attach(request)).await?.into_inner();
            let of_it = page.versions.iter().filter(|version| version.sweep_id == sweep_id);
            found.extend(of_it.map(|version| format!("version {} of model {}", version.version, version.model)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
    }
    Ok(found)
}
