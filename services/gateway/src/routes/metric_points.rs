//! Metric points of a run.

use actix_web::http::StatusCode;
use actix_web::{get, post};
use contracts::runs::{
    GetMetricHistoryReply, GetMetricHistoryRequest, ListMetricsReply, ListMetricsRequest, RecordMetricsReply,
    RecordMetricsRequest,
};
use vocabulary::Problem;

use super::page::PageQuery;
use crate::access::Principal;
use crate::door::{Query, Call, MetricsBody, Reply, Service, json, written};
use crate::points;

super::routes!(record_metrics, list_metrics, get_metric_history);

/// Records up to 10,000 points. With `writer` and `sequence` a repeated batch is accepted once. A value is a number or
/// the text "NaN", "Infinity" or "-Infinity".
#[utoipa::path(tag = "metrics", request_body = RecordMetricsRequest,
    responses((status = 200, body = RecordMetricsReply)))]
#[post("/api/v1/workspaces/{workspace}/runs/{run}/metrics")]
pub(crate) async fn record_metrics(body: MetricsBody, call: Call) -> Reply {
    let mut request = body.read(|bytes, _| points::read(bytes)).await??;
    request.workspace = call.workspace.clone();
    request.run_id = call.run_id()?;
    request.attempt = attempt_of(&call, request.attempt)?;
    let context = call.writing(body.hash_if_keyed(&call.request))?;
    let reply = call.peers().runs_client().record_metrics(context.attach(request)).await?;
    written(StatusCode::OK, Service::Runs, reply)
}

/// The attempt that writes: a run token speaks for its own only.
pub(crate) fn attempt_of(call: &Call, named: u32) -> Result<u32, Problem> {
    match &call.principal {
        Principal::Run(token) if named != 0 && named != token.attempt => {
            let detail = format!("the token is for attempt {}, not for attempt {named}", token.attempt);
            Err(Problem::new(403, "Forbidden", detail))
        }
        Principal::Run(token) => Ok(token.attempt),
        Principal::User(_) => Ok(named),
    }
}

/// Lists a run's metrics with their last values, by name.
#[utoipa::path(tag = "metrics", params(PageQuery), responses((status = 200, body = ListMetricsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/metrics")]
pub(crate) async fn list_metrics(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, run_id) = (call.workspace.clone(), call.run_id()?);
    let request = ListMetricsRequest { workspace, run_id, page_size, page_token };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_metrics(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Lists all points of a metric. Names with slashes are written as they are.
#[utoipa::path(tag = "metrics", params(PageQuery), responses((status = 200, body = GetMetricHistoryReply)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/metrics/{name:.+}")]
pub(crate) async fn get_metric_history(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, run_id, name) = (call.workspace.clone(), call.run_id()?, call.path("name").to_owned());
    let context = call.reading(Service::Runs)?;
    let request = GetMetricHistoryRequest { workspace, run_id, name, page_size, page_token };
    let reply = call.peers().runs_client().get_metric_history(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}
