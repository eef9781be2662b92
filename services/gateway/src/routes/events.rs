//! Events: what happens, as it happens.

use actix_web::get;
use actix_web::web::Query;
use contracts::runs::GetRunRequest;
use contracts::sweeps::GetSweepRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::door::{Call, Reply, Service};
use crate::stream::{EventsOf, follow};

/// Where to begin.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct FromQuery {
    /// The last positions seen, e.g. `sweeps=1234,runs=99`; from the beginning when absent. Last-Event-ID takes
    /// precedence.
    from: String,
}

/// Streams a workspace's events as server-sent events `{position, type, stream, time, data}`.
#[utoipa::path(tag = "events", responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/events")]
pub(crate) async fn stream_events(call: Call, query: Query<FromQuery>) -> Reply {
    let services = &[Service::Compute, Service::Models, Service::Runs, Service::Sweeps];
    let events = EventsOf { services, workspace: call.workspace.clone(), only: None };
    follow(&call, &query.from, events).await
}

/// Streams the events of a sweep and of its trials' runs.
#[utoipa::path(tag = "events", responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep}/events")]
pub(crate) async fn stream_sweep_events(call: Call, query: Query<FromQuery>) -> Reply {
    let context = call.reading(Service::Sweeps)?;
    let (workspace, sweep) = (call.workspace.clone(), call.path("sweep").to_owned());
    let request = GetSweepRequest { workspace, sweep, ..GetSweepRequest::default() };
    let sweep = call.peers().sweeps_client().get_sweep(context.attach(request)).await?.into_inner();
    let only = Some(("sweep_id", sweep.sweep_id));
    let events = EventsOf { services: &[Service::Runs, Service::Sweeps], workspace: call.workspace.clone(), only };
    follow(&call, &query.from, events).await
}

/// Streams the events of a run and of its job.
#[utoipa::path(tag = "events", responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/events")]
pub(crate) async fn stream_run_events(call: Call, query: Query<FromQuery>) -> Reply {
    let context = call.reading(Service::Runs)?;
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let run = call.peers().runs_client().get_run(context.attach(request)).await?.into_inner();
    let only = Some(("run_id", run.run_id));
    let events = EventsOf { services: &[Service::Compute, Service::Runs], workspace: call.workspace.clone(), only };
    follow(&call, &query.from, events).await
}
