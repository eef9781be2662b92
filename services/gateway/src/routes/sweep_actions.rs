//! What can be done to a sweep that runs.

use actix_web::http::StatusCode;
use actix_web::post;
use contracts::sweeps::{
    ArchiveSweepRequest, CancelSweepRequest, ExtendSweepRequest, PauseSweepRequest, ResumeSweepRequest, Sweep,
    UnarchiveSweepRequest, VerifySweepRequest, WhatIfRequest,
};

use crate::door::{Call, Document, Refusal, Reply, Service, changed, json};

super::routes!(
    pause_sweep, resume_sweep, cancel_sweep, extend_sweep, archive_sweep, unarchive_sweep, verify_sweep, what_if,
);

/// Pauses a sweep: no new trials. Mode `drain` lets the running ones run on, `checkpoint` has them save their
/// checkpoints and wait without a node until the sweep is resumed.
#[utoipa::path(tag = "sweeps", request_body = PauseSweepRequest, responses((status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:pause")]
pub(crate) async fn pause_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = PauseSweepRequest { workspace, sweep, ..body.message().await? };
    let reply = call.peers().sweeps_client().pause_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Lets a paused sweep go on.
#[utoipa::path(tag = "sweeps", responses((status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:resume")]
pub(crate) async fn resume_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = ResumeSweepRequest { workspace, sweep };
    let reply = call.peers().sweeps_client().resume_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Cancels a sweep and its trials. 202 when this request did it, 200 when it had ended or was being canceled already.
#[utoipa::path(tag = "sweeps", responses((status = 202, body = Sweep), (status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:cancel")]
pub(crate) async fn cancel_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = CancelSweepRequest { workspace, sweep };
    let reply = call.peers().sweeps_client().cancel_sweep(call.writing(body.hash())?.attach(request)).await?;
    let status = if reply.get_ref().accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    changed(status, Service::Sweeps, reply.map(|cancelled| cancelled.sweep.unwrap_or_default()))
}

/// Gives a sweep more trials or more time. The numbers are new totals, not additions.
#[utoipa::path(tag = "sweeps", request_body = ExtendSweepRequest, responses((status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:extend")]
pub(crate) async fn extend_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = ExtendSweepRequest { workspace, sweep, ..body.message().await? };
    let reply = call.peers().sweeps_client().extend_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Puts a sweep that has ended out of the way: its name is free again, and lists pass it over. Its id still reads it.
#[utoipa::path(tag = "sweeps", responses((status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:archive")]
pub(crate) async fn archive_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = ArchiveSweepRequest { workspace, sweep };
    let reply = call.peers().sweeps_client().archive_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Takes an archived sweep back: it is listed again, under its name. 409 NameTaken when another has the name by now.
#[utoipa::path(tag = "sweeps", responses((status = 200, body = Sweep)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:unarchive")]
pub(crate) async fn unarchive_sweep(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let request = UnarchiveSweepRequest { workspace, sweep };
    let reply = call.peers().sweeps_client().unarchive_sweep(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Sweeps, reply)
}

/// Computes every proposal and decision of a sweep again from its log: `{checked, differences, log}`.
#[utoipa::path(tag = "sweeps", responses((status = 200, body = serde_json::Value)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:verify")]
pub(crate) async fn verify_sweep(call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let context = call.reading(Service::Sweeps)?;
    let request = VerifySweepRequest { workspace, sweep };
    let reply = call.peers().sweeps_client().verify_sweep(context.attach(request)).await?.into_inner();
    let mut shown = embedded(&reply.verification_json)?;
    if let Some(members) = shown.as_object_mut() {
        members.entry("difference_count").or_insert(reply.difference_count.into());
    }
    json(StatusCode::OK, &shown)
}

/// Replays other policies on a sweep's recorded curves: who would have been stopped when, what that would have saved,
/// and whether the best trial would have survived. The body names the policies as a sweep document does:
/// `{policies: [{type: asha, max_resource: 52}, ..]}`; with `workers` and `max_reports` the trials are run in turn by
/// so many workers instead of in the recorded order.
#[utoipa::path(tag = "sweeps", request_body = serde_json::Value, responses((status = 200, body = serde_json::Value)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:whatif")]
pub(crate) async fn what_if(body: Document, call: Call) -> Reply {
    let (workspace, sweep) = named(&call);
    let context = call.reading(Service::Sweeps)?;
    let request = WhatIfRequest { workspace, sweep, document: body.bytes.to_vec(), format: body.format_name() };
    let reply = call.peers().sweeps_client().what_if(context.attach(request)).await?.into_inner();
    json(StatusCode::OK, &embedded(&reply.what_if_json)?)
}

/// A JSON text in a message.
pub(crate) fn embedded(text: &str) -> Result<serde_json::Value, Refusal> {
    let read = serde_json::from_str(text);
    read.map_err(|error| Refusal(vocabulary::Problem::internal(format!("a service answered no JSON: {error}"))))
}

fn named(call: &Call) -> (String, String) {
    (call.workspace.clone(), call.path("sweep").to_owned())
}
