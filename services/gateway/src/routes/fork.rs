//! Forks of sweeps.

use actix_web::http::StatusCode;
use actix_web::post;
use contracts::sweeps::{ForkSweepRequest, SubmitSweepReply};

use crate::door::{Call, Document, Reply, Service, changed};

super::routes!(fork_sweep);

/// Forks a sweep at a position of the log: `{at, name, seed, early_termination, limits, search_space}`; all but `at`
/// may be absent and are then as in the sweep. Trials that had ended there are trials of the fork from its beginning,
/// without new runs, and count for its limit and its policy; those that had not ended are not copied.
#[utoipa::path(tag = "sweeps",
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml"))),
    responses((status = 201, body = SubmitSweepReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:fork")]
pub(crate) async fn fork_sweep(body: Document, call: Call) -> Reply {
    body.tree().await?;
    let request = ForkSweepRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
    };
    let reply = call.peers().sweeps_client().fork_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::CREATED, Service::Sweeps, reply)
}
