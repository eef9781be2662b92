//! Events: what happens, as it happens.

use actix_web::get;
use contracts::runs::GetRunRequest;
use contracts::sweeps::GetSweepRequest;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::door::{Query, Call, Reply, Service};
use crate::stream::{Begin, EventsOf, follow};

super::routes!(stream_events, stream_sweep_events, stream_run_events);

/// Where to begin.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct FromQuery {
    /// The last positions seen, e.g. `sweeps=1234,runs=99`, or the id of an event; 0 is the beginning. 412 beyond what
    /// has happened, and for an id from a log that was made anew since.
    /// Last-Event-ID takes precedence. When absent: from now on, or from the beginning of the sweep or run.
    #[serde(default)]
    from: String,
}

/// Streams a workspace's events as server-sent events `{position, type, stream, time, data}`.
#[utoipa::path(tag = "events", params(FromQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/events")]
pub(crate) async fn stream_events(call: Call, query: Query<FromQuery>) -> Reply {
    let services = &[Service::Compute, Service::Models, Service::Runs, Service::Sweeps];
    let (workspace, begin) = (call.workspace.clone(), Begin::Now);
    let events = EventsOf { services, workspace, sweep_id: String::new(), run_id: String::new(), begin };
    follow(&call, &query.from, events).await
}

/// Streams the events of a sweep and of its trials' runs.
#[utoipa::path(tag = "events", params(FromQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep}/events")]
pub(crate) async fn stream_sweep_events(call: Call, query: Query<FromQuery>) -> Reply {
    let context = call.reading(Service::Sweeps)?;
    let (workspace, sweep) = (call.workspace.clone(), call.path("sweep").to_owned());
    let request = GetSweepRequest { workspace, sweep, ..GetSweepRequest::default() };
    let sweep = call.peers().sweeps_client().get_sweep(context.attach(request)).await?.into_inner();
    let (services, begin) = (&[Service::Runs, Service::Sweeps], beginning(&sweep.created_at));
    let workspace = call.workspace.clone();
    let events = EventsOf { services, workspace, sweep_id: sweep.sweep_id, run_id: String::new(), begin };
    follow(&call, &query.from, events).await
}

/// Streams the events of a run and of its job.
#[utoipa::path(tag = "events", params(FromQuery),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/events")]
pub(crate) async fn stream_run_events(call: Call, query: Query<FromQuery>) -> Reply {
    let context = call.reading(Service::Runs)?;
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let run = call.peers().runs_client().get_run(context.attach(request)).await?.into_inner();
    let (services, begin) = (&[Service::Compute, Service::Runs], beginning(&run.created_at));
    let workspace = call.workspace.clone();
    let events = EventsOf { services, workspace, sweep_id: String::new(), run_id: run.run_id, begin };
    follow(&call, &query.from, events).await
}

/// The beginning of what was created then; the log's own for a time that cannot be read.
fn beginning(created_at: &str) -> Begin {
    Begin::Since(created_at.parse().map_or(0, |at: Timestamp| at.as_microsecond()))
}
