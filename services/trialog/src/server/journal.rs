//! What changes, as a line of the log: who did it, in which stream, by which request. What a change says in full stays
//! in the event, since it may be anything.

use eventlog::{EventLog, RecordedEvent};
use runtime::{Shutdown, Task};
use serde_json::Value;

/// Events that are read at once.
const PAGE_EVENTS: u32 = 256;
/// The changes that an operator follows: sweeps, clusters and nodes, endpoints, models, workspaces and tokens. Those of
/// single trials and runs are for the event streams.
const FOLLOWED: [&str; 14] = [
    "Alias",
    "Cluster",
    "Deployment",
    "Endpoint",
    "LimitsChanged",
    "Node",
    "Replica",
    "Revision",
    "Scale",
    "Sweep",
    "Token",
    "Traffic",
    "Version",
    "Workspace",
];

/// Follows a service's log from now on.
pub fn task(service: &'static str, log: &EventLog, shutdown: &Shutdown) -> Task {
    let (log, shutdown) = (log.clone(), shutdown.clone());
    Task::new("journal", move || follow(service, log.clone(), shutdown.clone())).of(service)
}

async fn follow(service: &'static str, log: EventLog, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut head = log.head();
    let mut at = *head.borrow_and_update();
    loop {
        let goes_on = tokio::select! {
            changed = head.changed() => changed.is_ok(),
            () = shutdown.requested() => false,
        };
        loop {
            let page = log.read(at, PAGE_EVENTS).await?;
            let Some(last) = page.last() else { break };
            at = last.position;
            page.iter().for_each(|event| tell(service, event));
        }
        if !goes_on {
            return Ok(());
        }
    }
}

fn tell(service: &str, event: &RecordedEvent) {
    let RecordedEvent { position, stream, kind, .. } = event;
    let failure = failure(event);
    if failure.is_none() && !FOLLOWED.iter().any(|prefix| kind.starts_with(prefix)) {
        return;
    }
    let meta: Value = serde_json::from_str(&event.meta).unwrap_or_default();
    let (by, request_id) = (text(&meta, "actor"), text(&meta, "request_id"));
    match failure {
        None => tracing::info!(service, stream, position, by, request_id, "{kind}"),
        Some((run_id, outcome, reason)) => {
            tracing::info!(service, stream, position, by, request_id, run_id, outcome, reason, "{kind}");
        }
    }
}

/// A job's end or return that nobody wanted: of which run, how, and why in a word.
fn failure(event: &RecordedEvent) -> Option<(String, String, String)> {
    if event.kind != "JobEnded" && event.kind != "JobRequeued" {
        return None;
    }
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    let outcome = text(&data["end"], "outcome");
    let is_failure = ["failed", "lost", "preempted"].contains(&outcome);
    is_failure
        .then(|| (text(&data["job"], "run_id").to_owned(), outcome.to_owned(), text(&data["end"], "reason").to_owned()))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_is_shown_and_one_that_did_what_it_should_is_not() {
        let event = |kind: &str, data: &str| RecordedEvent {
            position: 1,
            stream: "job-1".to_owned(),
            version: 1,
            event_id: uuid::Uuid::nil(),
            kind: kind.to_owned(),
            schema: 1,
            command_id: uuid::Uuid::nil(),
            recorded_at_us: 0,
            data: data.to_owned(),
            meta: "{}".to_owned(),
        };
        let ended = |outcome: &str| {
            let data = serde_json::json!({"job": {"run_id": "run_1"}, "end": {"outcome": outcome, "reason": "signal"}});
            failure(&event("JobEnded", &data.to_string()))
        };
        assert_eq!(ended("failed"), Some(("run_1".to_owned(), "failed".to_owned(), "signal".to_owned())));
        assert_eq!((ended("completed"), ended("canceled")), (None, None));
        assert_eq!(failure(&event("SweepFailed", "{}")), None);
    }
}
