//! Private events to public facts: the only file that knows both. At most one fact an event.

use contracts::compute as facts;
use contracts::job::Word;
use eventlog::RecordedEvent;
use feed::{Publication, Publish};
use vocabulary::StoredEvent;

use crate::cluster::ClusterEvent;
use crate::job::{self, JobEvent, JobKey};
use crate::stream::ClusterName;

/// The facts of compute.
pub struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        if let Some(job_id) = job::of_stream(&event.stream) {
            let decoded = JobEvent::decode(&event.kind, event.schema, &event.data)?;
            return Ok(of_job(job_id.to_string(), decoded));
        }
        if let Some(name) = ClusterName::of_stream(&event.stream) {
            let decoded = ClusterEvent::decode(&event.kind, event.schema, &event.data)?;
            return Ok(of_cluster(name, decoded));
        }
        if event.stream.starts_with(crate::views::endpoints::PREFIX) {
            return crate::publish_endpoints::publish(event);
        }
        Err(format!("unknown stream {}", event.stream))
    }
}

fn of_job(job_id: String, event: JobEvent) -> Option<Publication> {
    Some(match event {
        JobEvent::JobQueued(event) => {
            let JobKey { workspace, run_id, cluster } = event.job;
            let placed = event.placed;
            Publication::new("JobQueued", &facts::JobQueued { workspace, job_id, run_id, cluster, attempt: 1, placed })
        }
        JobEvent::JobPlaced(event) => {
            let fact = facts::JobPlaced {
                workspace: event.job.workspace,
                job_id,
                run_id: event.job.run_id,
                attempt: event.attempt,
                node_id: event.node_id.to_string(),
                reason: event.reason,
            };
            Publication::new("JobPlaced", &fact)
        }
        JobEvent::JobPhaseChanged(event) => {
            let fact = facts::JobPhaseChanged {
                workspace: event.job.workspace,
                job_id,
                run_id: event.job.run_id,
                attempt: event.attempt,
                phase: event.phase.to_string(),
                node_id: event.node_id.to_string(),
                phase_kind: event.phase.kind(),
            };
            Publication::new("JobPhaseChanged", &fact)
        }
        JobEvent::JobRequeued(event) => {
            let fact = facts::JobRequeued {
                workspace: event.job.workspace,
                job_id,
                run_id: event.job.run_id,
                attempt: event.attempt,
                next_attempt: event.next_attempt,
                cause: event.cause.to_string(),
                end: Some(event.end.into()),
                node_id: event.node_id.to_string(),
                cause_kind: event.cause.kind(),
            };
            Publication::new("JobRequeued", &fact)
        }
        JobEvent::JobHeld(event) => {
            let fact = facts::JobHeld {
                workspace: event.job.workspace,
                job_id,
                run_id: event.job.run_id,
                attempt: event.attempt,
                end: Some(event.end.into()),
                node_id: event.node_id.to_string(),
            };
            Publication::new("JobHeld", &fact)
        }
        JobEvent::JobEnded(event) => {
            let fact = facts::JobEnded {
                workspace: event.job.workspace,
                job_id,
                run_id: event.job.run_id,
                attempt: event.attempt,
                end: Some(event.end.into()),
                node_id: event.node_id.map(|node| node.to_string()).unwrap_or_default(),
            };
            Publication::new("JobEnded", &fact)
        }
        // Who asked knows it; what comes of it is told by JobEnded.
        JobEvent::StopRequested(_) | JobEvent::JobReleased(_) => return None,
    })
}

fn of_cluster(name: ClusterName, event: ClusterEvent) -> Option<Publication> {
    let node_id = event.node_id();
    let (change, reason) = match event {
        ClusterEvent::ClusterCreated(_) | ClusterEvent::ScaleChanged(_) => return Some(cluster_is(name, "Succeeded")),
        ClusterEvent::ClusterDeleting(_) => return Some(cluster_is(name, "Deleting")),
        ClusterEvent::ClusterDeleted(_) => return Some(cluster_is(name, "Deleted")),
        ClusterEvent::NodeRequested(event) => ("requested", event.reason),
        ClusterEvent::NodeReady(_) => ("ready", String::new()),
        ClusterEvent::NodeNoticed(event) => ("noticed", event.reason),
        ClusterEvent::NodePreempted(event) => ("preempted", event.reason),
        ClusterEvent::NodeReleased(event) => ("released", event.reason),
        ClusterEvent::NodeFailed(event) => ("failed", event.reason),
        // Nobody else acts on it; its end is told by NodeReleased or NodeFailed.
        ClusterEvent::NodeLeaving(_) | ClusterEvent::NodeFailing(_) => return None,
    };
    let fact = facts::NodeChanged {
        workspace: name.workspace,
        cluster: name.name,
        node_id: node_id.map(|node| node.to_string()).unwrap_or_default(),
        change: change.to_owned(),
        reason,
    };
    Some(Publication::new("NodeChanged", &fact))
}

fn cluster_is(name: ClusterName, state: &str) -> Publication {
    let ClusterName { workspace, name } = name;
    Publication::new("ClusterChanged", &facts::ClusterChanged { workspace, name, provisioning_state: state.to_owned() })
}
