//! A run's logs.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post};
use bytes::Bytes;
use contracts::runs::{AppendLogsReply, AppendLogsRequest, ReadLogsRequest};
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use utoipa::IntoParams;

use super::metric_points::attempt_of;
use crate::door::{Query, Call, RawBody, Refusal, Reply, Service, written};

super::routes!(read_logs, append_logs);

/// Which part of the logs to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Go on until the run has ended.
    #[serde(default)]
    follow: bool,
    /// Only this attempt; all of them, in order, when absent.
    #[serde(default)]
    attempt: u32,
    /// `stdout`, `stderr` or `trialog`; all when absent.
    #[serde(default)]
    stream: String,
    /// Only the last so many bytes.
    #[serde(default)]
    tail_bytes: u64,
    /// Without the first so many bytes of the same answer: whoever was cut off goes on from there. Not with
    /// `tail_bytes`.
    #[serde(default)]
    offset: u64,
}

/// Where logs are appended.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AppendQuery {
    /// The attempt that writes.
    #[serde(default)]
    attempt: u32,
    /// `stdout`, `stderr` or `trialog`; stdout when absent.
    #[serde(default)]
    stream: String,
    /// Position of the first byte in the attempt's stream; what is there already is skipped. At the end when absent.
    offset: Option<u64>,
}

/// Reads a run's logs as plain text; with `follow` they go on until the run has ended.
#[utoipa::path(tag = "runs", params(LogsQuery),
    responses((status = 200, body = String, content_type = "text/plain")))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/logs")]
pub(crate) async fn read_logs(call: Call, query: Query<LogsQuery>) -> Reply {
    let LogsQuery { follow, attempt, stream, tail_bytes, offset } = query.into_inner();
    let (workspace, run_id) = (call.workspace.clone(), call.run_id()?);
    let context = call.reading(Service::Runs)?;
    let request = ReadLogsRequest { workspace, run_id, attempt, stream, follow, tail_bytes, offset };
    let chunks = call.peers().runs_client().read_logs(context.attach(request)).await?.into_inner();
    let (shutdown, token_end) = (call.gateway().shutdown().clone(), call.gateway().token_end(&call.principal));
    let over = async move {
        tokio::select! { () = shutdown.requested() => {}, () = token_end => {} }
    };
    let text = chunks
        .map_ok(|chunk| Bytes::from(chunk.data))
        .map_err(|status| actix_web::Error::from(Refusal::from(status)))
        .take_until(Box::pin(over));
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header(("x-accel-buffering", "no"))
        .streaming(text))
}

/// Appends to a run's logs. The body is the text itself, at most 4 MiB.
#[utoipa::path(tag = "runs", params(AppendQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = AppendLogsReply)))]
#[post("/api/v1/workspaces/{workspace}/runs/{run}/logs")]
pub(crate) async fn append_logs(body: RawBody, call: Call, query: Query<AppendQuery>) -> Reply {
    let AppendQuery { attempt, mut stream, offset } = query.into_inner();
    if stream.is_empty() {
        stream = "stdout".to_owned();
    }
    let (workspace, run_id, attempt) = (call.workspace.clone(), call.run_id()?, attempt_of(&call, attempt)?);
    let (at_end, offset) = (offset.is_none(), offset.unwrap_or_default());
    let data = body.bytes.to_vec();
    let request = AppendLogsRequest { workspace, run_id, attempt, stream, offset, data, at_end };
    let reply = call.peers().runs_client().append_logs(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::OK, Service::Runs, reply)
}
