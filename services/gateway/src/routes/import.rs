//! Sweeps of trials that have ended elsewhere.

use actix_web::http::StatusCode;
use actix_web::post;
use contracts::sweeps::{ImportSweepRequest, SubmitSweepReply};

use crate::door::{Call, ImportBody, Reply, Service, changed};

super::routes!(import_sweep);

/// Imports finished trials as a sweep in external mode that is Completed with reason `imported`: `{name, experiment,
/// objective, search_space, trials: [{parameters, state: completed|failed|pruned, value, intermediate: [{step,
/// value}]}]}`, at most 20,000 trials and 7 MiB. A parameter that a trial does not have is inactive in it. The trials
/// have no runs. All bad rows are answered at once.
#[utoipa::path(tag = "sweeps",
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml"))),
    responses((status = 201, body = SubmitSweepReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps:import")]
pub(crate) async fn import_sweep(body: ImportBody, call: Call) -> Reply {
    let request = ImportSweepRequest {
        workspace: call.workspace.clone(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
    };
    let reply = call.peers().sweeps_client().import_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::CREATED, Service::Sweeps, reply)
}
