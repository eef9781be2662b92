//! Clusters, their nodes, and the sizes that nodes may have.

use actix_web::http::StatusCode;
use actix_web::{delete, get, patch, post, put};
use contracts::sweeps::ListSweepsRequest;
use contracts::compute::{
    Cluster, GetClusterRequest, ListClustersReply, ListClustersRequest, ListNodesReply, ListNodesRequest,
    ListSizesReply, ListSizesRequest, Node, PreemptNodeRequest, PutClusterRequest,
};
use serde::Deserialize;
use utoipa::IntoParams;
use vocabulary::Problem;

use super::page::PageQuery;
use crate::access::Scope;
use crate::door::{
    self, Query, Call, Document, Refusal, Reply, Service, WaitQuery, Waiting, changed, found, json, removed, written,
};

super::routes!(
    list_vm_sizes,
    list_clusters,
    put_cluster,
    get_cluster,
    update_cluster,
    delete_cluster,
    list_nodes,
    preempt_node,
);

/// Lists the sizes of nodes, with their prices.
#[utoipa::path(tag = "clusters", responses((status = 200, body = ListSizesReply)))]
#[get("/api/v1/workspaces/{workspace}/vm-sizes")]
pub(crate) async fn list_vm_sizes(call: Call) -> Reply {
    let context = call.reading(Service::Compute)?;
    let reply = call.peers().compute_client().list_sizes(context.attach(ListSizesRequest {})).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Lists clusters.
#[utoipa::path(tag = "clusters", params(PageQuery), responses((status = 200, body = ListClustersReply)))]
#[get("/api/v1/workspaces/{workspace}/clusters")]
pub(crate) async fn list_clusters(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let request = ListClustersRequest { workspace: call.workspace.clone(), page_size, page_token };
    let context = call.reading(Service::Compute)?;
    let reply = call.peers().compute_client().list_clusters(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Creates a cluster, or changes the scale of an existing one.
#[utoipa::path(tag = "clusters",
    request_body(content((Cluster = "application/json"), (Cluster = "application/yaml"))),
    responses((status = 200, body = Cluster), (status = 201, body = Cluster)))]
#[put("/api/v1/workspaces/{workspace}/clusters/{cluster}")]
pub(crate) async fn put_cluster(body: Document, call: Call) -> Reply {
    let request = document(&body, &call).await?;
    let reply = call.peers().compute_client().put_cluster(call.writing(body.hash())?.attach(request)).await?;
    changed(door::put(&reply), Service::Compute, reply)
}

/// Shows a cluster; with `wait`, once it has changed.
#[utoipa::path(tag = "clusters", params(WaitQuery), responses((status = 200, body = Cluster)))]
#[get("/api/v1/workspaces/{workspace}/clusters/{cluster}")]
pub(crate) async fn get_cluster(call: Call, wait: Query<WaitQuery>) -> Reply {
    let waiting = wait.of(&call.request)?;
    let context = call.reading(Service::Compute)?;
    found(call.peers().compute_client().get_cluster(context.attach(named(&call, waiting))).await?, waiting)
}

/// Changes a cluster's scale; nothing else of a cluster can change.
#[utoipa::path(tag = "clusters",
    request_body(content((Cluster = "application/json"), (Cluster = "application/yaml"))),
    responses((status = 200, body = Cluster)))]
#[patch("/api/v1/workspaces/{workspace}/clusters/{cluster}")]
pub(crate) async fn update_cluster(body: Document, call: Call) -> Reply {
    let request = document(&body, &call).await?;
    let reply = call.peers().compute_client().update_cluster(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Compute, reply)
}

/// What a deletion may take with it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ForceQuery {
    /// Delete the cluster although endpoints lose their replicas with it, and what runs there is canceled.
    #[serde(default)]
    force: bool,
}

/// Deletes a cluster: its nodes are released; 202 until they are. 409 while deployments, sweeps or runs use it, unless
/// `force` is set: then they end.
#[utoipa::path(tag = "clusters", params(ForceQuery),
    responses((status = 200, body = Cluster), (status = 202, body = Cluster)))]
#[delete("/api/v1/workspaces/{workspace}/clusters/{cluster}")]
pub(crate) async fn delete_cluster(body: Document, call: Call, query: Query<ForceQuery>) -> Reply {
    let used_by = if query.force { Vec::new() } else { sweeps_on(&call, call.path("cluster")).await? };
    let request = GetClusterRequest { force: query.force, used_by, ..named(&call, Waiting::default()) };
    let reply = call.peers().compute_client().delete_cluster(call.writing(body.hash())?.attach(request)).await?;
    let state = reply.get_ref().provisioning_state.clone();
    removed(&state, Service::Compute, reply)
}

/// The sweeps that have not ended and run their trials on a cluster, in words.
async fn sweeps_on(call: &Call, cluster: &str) -> Result<Vec<String>, Refusal> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListSweepsRequest { workspace: call.workspace.clone(), page_token, ..Default::default() };
        let context = call.reading(Service::Sweeps)?;
        let page = call.peers().sweeps_client().list_sweeps(context.attach(request)).await?.into_inner();
        let open = page.sweeps.iter().filter(|sweep| sweep.cluster == cluster && sweep.ended_at.is_empty());
        found.extend(open.map(|sweep| format!("sweep {} ({})", sweep.name, sweep.state)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Lists a cluster's nodes and what runs on them.
#[utoipa::path(tag = "clusters", params(PageQuery), responses((status = 200, body = ListNodesReply)))]
#[get("/api/v1/workspaces/{workspace}/clusters/{cluster}/nodes")]
pub(crate) async fn list_nodes(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, name) = (call.workspace.clone(), call.path("cluster").to_owned());
    let context = call.reading(Service::Compute)?;
    let request = ListNodesRequest { workspace, name, page_size, page_token };
    let reply = call.peers().compute_client().list_nodes(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Preempts a low-priority node as its provider would: a notice, then the end. What ran there is queued again with its
/// checkpoint. An administrator empties a dedicated node too, with `drain`.
#[utoipa::path(tag = "clusters", request_body = PreemptNodeRequest, responses((status = 202, body = Node)))]
#[post("/api/v1/workspaces/{workspace}/clusters/{cluster}/nodes/{node:[^/:]+}:preempt")]
pub(crate) async fn preempt_node(body: Document, call: Call) -> Reply {
    let (workspace, cluster, node_id) =
        (call.workspace.clone(), call.path("cluster").to_owned(), call.path("node").to_owned());
    let request = PreemptNodeRequest { workspace, cluster, node_id, ..body.message().await? };
    if request.drain {
        call.principal.require(Scope::Admin)?;
    }
    let reply = call.peers().compute_client().preempt_node(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::ACCEPTED, Service::Compute, reply)
}

fn named(call: &Call, waiting: Waiting) -> GetClusterRequest {
    GetClusterRequest {
        workspace: call.workspace.clone(),
        name: call.path("cluster").to_owned(),
        wait_seconds: waiting.seconds,
        after_version: waiting.after_version,
        force: false,
        used_by: Vec::new(),
    }
}

async fn document(body: &Document, call: &Call) -> Result<PutClusterRequest, Problem> {
    body.tree().await?;
    Ok(PutClusterRequest {
        workspace: call.workspace.clone(),
        name: call.path("cluster").to_owned(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
    })
}
