//! Endpoints and the split of their traffic.

use actix_web::http::StatusCode;
use actix_web::{delete, get, put};
use contracts::compute::{
    Endpoint, GetEndpointRequest, ListEndpointsReply, ListEndpointsRequest, PutEndpointRequest, PutTrafficRequest,
};

use super::page::PageQuery;
use crate::door::{self, Query, Call, Document, Reply, Service, WaitQuery, Waiting, changed, found, json, removed};

super::routes!(list_endpoints, put_endpoint, get_endpoint, delete_endpoint, put_traffic);

/// Lists endpoints.
#[utoipa::path(tag = "endpoints", params(PageQuery), responses((status = 200, body = ListEndpointsReply)))]
#[get("/api/v1/workspaces/{workspace}/endpoints")]
pub(crate) async fn list_endpoints(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let request = ListEndpointsRequest { workspace: call.workspace.clone(), page_size, page_token };
    let context = call.reading(Service::Compute)?;
    let mut reply = call.peers().compute_client().list_endpoints(context.attach(request)).await?.into_inner();
    reply.endpoints.iter_mut().for_each(|endpoint| *endpoint = addressed(&call, std::mem::take(endpoint)));
    json(StatusCode::OK, &reply)
}

/// Creates an endpoint, or changes its description, tags and auth.
#[utoipa::path(tag = "endpoints",
    request_body(content((Endpoint = "application/json"), (Endpoint = "application/yaml"))),
    responses((status = 200, body = Endpoint), (status = 201, body = Endpoint)))]
#[put("/api/v1/workspaces/{workspace}/endpoints/{endpoint}")]
pub(crate) async fn put_endpoint(body: Document, call: Call) -> Reply {
    if !body.bytes.is_empty() {
        body.tree().await?;
    }
    let request = PutEndpointRequest {
        workspace: call.workspace.clone(),
        name: call.path("endpoint").to_owned(),
        // An endpoint needs no settings: no body is an empty document.
        document: if body.bytes.is_empty() { b"{}".to_vec() } else { body.bytes.to_vec() },
        format: body.format_name(),
    };
    let reply = call.peers().compute_client().put_endpoint(call.writing(body.hash())?.attach(request)).await?;
    let status = door::put(&reply);
    changed(status, Service::Compute, reply.map(|endpoint| addressed(&call, endpoint)))
}

/// Shows an endpoint; with `wait`, once it has changed.
#[utoipa::path(tag = "endpoints", params(WaitQuery), responses((status = 200, body = Endpoint)))]
#[get("/api/v1/workspaces/{workspace}/endpoints/{endpoint}")]
pub(crate) async fn get_endpoint(call: Call, wait: Query<WaitQuery>) -> Reply {
    let waiting = wait.of(&call.request)?;
    let context = call.reading(Service::Compute)?;
    let reply = call.peers().compute_client().get_endpoint(context.attach(named(&call, waiting))).await?;
    found(reply.map(|endpoint| addressed(&call, endpoint)), waiting)
}

/// Deletes an endpoint.
#[utoipa::path(tag = "endpoints", responses((status = 200, body = Endpoint), (status = 202, body = Endpoint)))]
#[delete("/api/v1/workspaces/{workspace}/endpoints/{endpoint}")]
pub(crate) async fn delete_endpoint(body: Document, call: Call) -> Reply {
    let request = named(&call, Waiting::default());
    let reply = call.peers().compute_client().delete_endpoint(call.writing(body.hash())?.attach(request)).await?;
    let state = reply.get_ref().provisioning_state.clone();
    removed(&state, Service::Compute, reply.map(|endpoint| addressed(&call, endpoint)))
}

/// Splits an endpoint's traffic over its deployments: percentages that sum to 100, or to 0 for none.
#[utoipa::path(tag = "endpoints", request_body = PutTrafficRequest, responses((status = 200, body = Endpoint)))]
#[put("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/traffic")]
pub(crate) async fn put_traffic(body: Document, call: Call) -> Reply {
    let (workspace, endpoint) = (call.workspace.clone(), call.path("endpoint").to_owned());
    let request = PutTrafficRequest { workspace, endpoint, ..body.message().await? };
    let reply = call.peers().compute_client().put_traffic(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Compute, reply.map(|endpoint| addressed(&call, endpoint)))
}

fn named(call: &Call, waiting: Waiting) -> GetEndpointRequest {
    GetEndpointRequest {
        workspace: call.workspace.clone(),
        name: call.path("endpoint").to_owned(),
        wait_seconds: waiting.seconds,
        after_version: waiting.after_version,
    }
}

/// Only the door knows the address under which users reach it.
fn addressed(call: &Call, endpoint: Endpoint) -> Endpoint {
    let base = call.gateway().public_url();
    let scoring_uri = if endpoint.scoring_uri.contains("://") {
        endpoint.scoring_uri
    } else {
        format!("{base}/endpoints/{}/{}/score", endpoint.workspace, endpoint.name)
    };
    Endpoint { scoring_uri, ..endpoint }
}
