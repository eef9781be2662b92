//! Artifacts of a run: names for objects of the store.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{get, post, put, route};
use contracts::runs::{
    Artifact, HeadObjectRequest, ListArtifactsReply, ListArtifactsRequest, RecordArtifactsReply, RecordArtifactsRequest,
};
use serde::Deserialize;
use utoipa::IntoParams;
use vocabulary::Problem;

use super::metric_points::attempt_of;
use super::objects::send;
use crate::door::{Query, Call, Document, Refusal, Reply, Service, json, written};
use crate::stream;

super::routes!(list_artifacts, record_artifacts, get_artifact, put_artifact);

/// Artifacts of one path that are looked at: one an attempt.
const SAME_PATH_PAGE: i32 = 1000;

/// Which artifacts to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ArtifactsQuery {
    /// A path or a folder; all when absent.
    #[serde(default)]
    prefix: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
    /// The files of earlier attempts at whose path a later attempt has one, instead of the newest at each path.
    #[serde(default)]
    superseded: bool,
}

/// The attempt that writes.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AttemptQuery {
    /// The attempt; a run without a job has only one.
    #[serde(default)]
    attempt: u32,
}

/// Lists a run's artifacts.
#[utoipa::path(tag = "artifacts", params(ArtifactsQuery), responses((status = 200, body = ListArtifactsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/artifacts")]
pub(crate) async fn list_artifacts(call: Call, query: Query<ArtifactsQuery>) -> Reply {
    let ArtifactsQuery { prefix, page_size, page_token, superseded } = query.into_inner();
    let (workspace, run_id) = (call.workspace.clone(), call.run_id()?);
    let context = call.reading(Service::Runs)?;
    let request = ListArtifactsRequest { workspace, run_id, prefix, page_size, page_token, superseded };
    let reply = call.peers().runs_client().list_artifacts(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Names objects of the store as artifacts of a run.
#[utoipa::path(tag = "artifacts", request_body = RecordArtifactsRequest,
    responses((status = 201, body = RecordArtifactsReply)))]
#[post("/api/v1/workspaces/{workspace}/runs/{run}/artifacts")]
pub(crate) async fn record_artifacts(body: Document, call: Call) -> Reply {
    let (workspace, run_id) = (call.workspace.clone(), call.run_id()?);
    let mut request = RecordArtifactsRequest { workspace, run_id, ..body.message().await? };
    request.attempt = attempt_of(&call, request.attempt)?;
    let reply = call.peers().runs_client().record_artifacts(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::CREATED, Service::Runs, reply)
}

/// Reads an artifact; `Range` takes a part of it.
#[utoipa::path(tag = "artifacts", responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
#[route("/api/v1/workspaces/{workspace}/runs/{run}/artifacts/{path:.+}", method = "GET", method = "HEAD")]
pub(crate) async fn get_artifact(call: Call) -> Reply {
    let path = call.path("path").to_owned();
    let artifact = find(&call, &path).await?;
    let request = HeadObjectRequest { sha256: artifact.sha256.clone(), workspace: call.workspace.clone() };
    let context = call.reading(Service::Runs)?;
    let kept = call.peers().runs_client().head_object(context.attach(request)).await?.into_inner().size_bytes;
    if kept != artifact.size_bytes {
        let (sha256, size) = (&artifact.sha256, artifact.size_bytes);
        let detail = format!("object sha256:{sha256} is damaged where it is kept: {kept} bytes instead of {size}");
        return Err(Problem::new(500, "ObjectDamaged", detail).into());
    }
    send(&call, &artifact.sha256, artifact.size_bytes, &path).await
}

/// The newest artifact of this very path.
async fn find(call: &Call, path: &str) -> Result<Artifact, Refusal> {
    let (workspace, run_id) = (call.workspace.clone(), call.run_id()?);
    let context = call.reading(Service::Runs)?;
    let prefix = path.to_owned();
    let page_size = SAME_PATH_PAGE;
    let request = ListArtifactsRequest { workspace, run_id, prefix, page_size, ..Default::default() };
    let listed = call.peers().runs_client().list_artifacts(context.attach(request)).await?.into_inner();
    let same = listed.artifacts.into_iter().filter(|artifact| artifact.path == path);
    let newest = same.max_by_key(|artifact| artifact.attempt);
    newest.ok_or_else(|| {
        Refusal(Problem::new(404, "NotFound", format!("artifact '{path}' of run '{}'", call.path("run"))))
    })
}

/// Stores the body and names it as an artifact of a run, in one request.
#[utoipa::path(tag = "artifacts", params(AttemptQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Artifact)))]
#[put("/api/v1/workspaces/{workspace}/runs/{run}/artifacts/{path:.+}")]
pub(crate) async fn put_artifact(call: Call, body: Payload, query: Query<AttemptQuery>) -> Reply {
    let (workspace, run_id, attempt) = (call.workspace.clone(), call.run_id()?, attempt_of(&call, query.attempt)?);
    let stored = stream::store(&call, call.reading(Service::Runs)?, "", body).await?.into_inner();
    let path = call.path("path").to_owned();
    let (sha256, size_bytes) = (stored.sha256, stored.size_bytes);
    let artifact = Artifact { path, attempt, sha256, size_bytes, superseded: false };
    let request = RecordArtifactsRequest { workspace, run_id, attempt, artifacts: vec![artifact.clone()] };
    // What was asked is known by its content.
    let hash = hex::decode(&artifact.sha256).ok().and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    let reply = call.peers().runs_client().record_artifacts(call.writing(hash)?.attach(request)).await?;
    written(StatusCode::CREATED, Service::Runs, reply.map(|_| artifact))
}
