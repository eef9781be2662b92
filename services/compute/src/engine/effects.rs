//! What a committed event means for agents and for the provider. Called with the fleet held, so that a connection
//! that is being set up sees an event either in the fleet or on its channel.

use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::{NodeNotice, StartAttempt, StopAttempt};
use contracts::job::Word;
use vocabulary::job::StopBy;
use vocabulary::token::{RunToken, node_secret};
use vocabulary::{JobId, NodeId};

use crate::cluster::{ClusterEvent, Node, NodeState};
use crate::core::Core;
use crate::job::{Job, JobEvent, micros};
use crate::providers::NodeOrder;
use crate::scheduler::{Fleet, Pool};
use crate::stream::{Change, ClusterName};
use crate::time::shown;

/// Time between SIGTERM and SIGKILL when the job names none.
const GRACE_SECONDS_DEFAULT: f64 = 10.0;

/// Takes up every node that exists again, after a start, and what nodes that do not have left.
pub(super) fn resume(core: &Core) {
    let left = core.provider.left();
    let fleet = core.fleet();
    for (node_id, name, pool) in fleet.nodes() {
        tend(core, node_id, name, pool);
    }
    for node_id in left.into_iter().filter(|node_id| fleet.node(*node_id).is_none()) {
        // Nobody waits for it: the jobs have gone on long ago.
        drop(core.provider.collect(node_id, node_secret(&node_id.to_string(), &core.wiring.signing_key)));
    }
}

/// What the state after the event calls for.
pub(super) fn after(core: &Core, fleet: &Fleet, change: &Change) {
    match change {
        Change::Job(job_id, JobEvent::JobPlaced(_) | JobEvent::StopRequested(_)) => {
            if let Some(entry) = fleet.job(*job_id)
                && let Some((node_id, _)) = entry.job.live()
            {
                let order = match change {
                    Change::Job(_, JobEvent::JobPlaced(_)) => Some(start(core, *job_id, &entry.job)),
                    _ => stop(*job_id, &entry.job),
                };
                if let Some(order) = order {
                    core.agents.send(node_id, order);
                }
            }
        }
        Change::Cluster(name, event) => of_cluster(core, fleet, name, event),
        Change::Job(..) => {}
    }
}

fn of_cluster(core: &Core, fleet: &Fleet, name: &ClusterName, event: &ClusterEvent) {
    let Some(node_id) = event.node_id() else { return };
    let Some((_, pool, _)) = fleet.node(node_id) else {
        core.agents.drop_connection(node_id);
        return;
    };
    match event {
        ClusterEvent::NodeRequested(_) => tend(core, node_id, name, pool),
        ClusterEvent::NodeNoticed(_) => {
            if let Some(order) = pool.cluster.nodes.get(&node_id).and_then(|node| notice(node, core.clock.now_us())) {
                core.agents.send(node_id, order);
            }
        }
        _ => {}
    }
}

fn tend(core: &Core, node_id: NodeId, name: &ClusterName, pool: &Pool) {
    let Some(node) = pool.cluster.nodes.get(&node_id) else { return };
    if node.state == NodeState::Leaving {
        return;
    }
    let settings = pool.cluster.spec.provider.local();
    core.provider.tend(NodeOrder {
        node_id,
        cluster: name.clone(),
        boot_us: node.requested_us.saturating_add(micros(settings.boot_seconds * settings.time_scale)),
        token: node_secret(&node_id.to_string(), &core.wiring.signing_key),
    });
}

/// The order to start a job's attempt.
pub(crate) fn start(core: &Core, job_id: JobId, job: &Job) -> Order {
    let (workspace, run_id) = (&job.key.workspace, &job.key.run_id);
    // A service job has no run; its token is of the job, and good for nothing that belongs to a run.
    let subject = if run_id.is_empty() { job_id.to_string() } else { run_id.clone() };
    let checkpoint = core.data.join("checkpoints").join(&subject);
    let token = RunToken { workspace: workspace.clone(), run_id: subject, attempt: job.attempt };
    Order::Start(StartAttempt {
        job_id: job_id.to_string(),
        attempt: job.attempt,
        workspace: workspace.clone(),
        run_id: run_id.clone(),
        spec: Some(job.spec.as_ref().clone().into()),
        run_token: token.mint(&core.wiring.signing_key),
        checkpoint_folder: if job.spec.checkpoint { checkpoint.display().to_string() } else { String::new() },
    })
}

/// The order to stop a job's attempt; `None` when nobody wants it.
pub(crate) fn stop(job_id: JobId, job: &Job) -> Option<Order> {
    let stop = job.stop.as_ref()?;
    Some(Order::Stop(StopAttempt {
        job_id: job_id.to_string(),
        attempt: job.attempt,
        grace_seconds: job.spec.grace_seconds.unwrap_or(GRACE_SECONDS_DEFAULT),
        reason: if stop.by == StopBy::Policy { "stopped" } else { "canceled" }.to_owned(),
        by: stop.by.to_string(),
        decision: stop.decision.clone(),
        by_kind: stop.by.kind(),
    }))
}

/// The notice of a node that will go; `None` when it may stay.
pub(crate) fn notice(node: &Node, now_us: i64) -> Option<Order> {
    let NodeState::Noticed { deadline_us } = node.state else { return None };
    let seconds_left = Duration::from_micros((deadline_us - now_us).max(0).unsigned_abs()).as_secs_f64();
    Some(Order::Notice(NodeNotice { deadline: shown(deadline_us), reason: node.reason.clone(), seconds_left }))
}
