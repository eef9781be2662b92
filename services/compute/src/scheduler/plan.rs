//! What is to be done now, and when to look again.

use std::collections::BTreeSet;
use std::time::Duration;

use vocabulary::job::{JobEnd, Outcome, StopBy};
use vocabulary::{JobId, NodeId};

use super::pack::{Packing, Placed, pack};
use super::{Fleet, Place, Pool};
use crate::cluster::{NodeEnd, NodeState, Phase};
use crate::job::{failed_end, micros};
use crate::stream::ClusterName;

/// How long a connected node may be silent; it has sent a sign of life each second.
pub const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a node's agent may take to connect once the node is up: far more than a busy machine needs.
pub const BOOT_GRACE: Duration = Duration::from_secs(60);
/// The longest wait before another node is asked for after some have failed to come up.
const BOOT_RETRY_MAX_SECONDS: u32 = 64;
/// Actions of one look; the rest comes with the next.
const ACTIONS_MAX: usize = 1024;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put a job on a node.
    Place {
        /// The job.
        job_id: JobId,
        /// Its attempt.
        attempt: u32,
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
    },
    /// An attempt has ended with its node.
    EndAttempt {
        /// The job.
        job_id: JobId,
        /// Its attempt.
        attempt: u32,
        /// The node that was.
        node_id: NodeId,
        /// How it ended.
        end: JobEnd,
    },
    /// A waiting job can never run.
    GiveUp {
        /// The job.
        job_id: JobId,
        /// How it ends.
        end: JobEnd,
    },
    /// A job is to end.
    Stop {
        /// The job.
        job_id: JobId,
        /// Who wants it.
        by: StopBy,
    },
    /// One more node is needed.
    RequestNode {
        /// The cluster.
        cluster: ClusterName,
        /// Why.
        reason: String,
    },
    /// The provider has said that it takes a node away.
    Notice {
        /// The cluster.
        cluster: ClusterName,
        /// The node.
        node_id: NodeId,
        /// When it goes.
        deadline_us: i64,
        /// Why.
        reason: String,
    },
    /// A node is not needed any more.
    Leave {
        /// The cluster.
        cluster: ClusterName,
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
    },
    /// A node does not do what it should: it is to be cleared away.
    Fail {
        /// The cluster.
        cluster: ClusterName,
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
    },
    /// The provider is to take a node away now. Invariant: an event says before that it goes, and how that is called.
    Remove {
        /// The cluster.
        cluster: ClusterName,
        /// The node.
        node_id: NodeId,
        /// How that is called.
        end: NodeEnd,
        /// Why.
        reason: String,
    },
    /// A cluster that goes is empty.
    FinishDelete {
        /// The cluster.
        cluster: ClusterName,
    },
}

/// What is to be done now, and when to look again if nothing happens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// To do, all at the same time.
    pub actions: Vec<Action>,
    /// Microseconds since 1970.
    pub next_us: Option<i64>,
}

impl Plan {
    /// Whether the time has come; if not, it is looked at again then.
    fn is_due(&mut self, at_us: i64, now_us: i64) -> bool {
        if at_us > now_us {
            self.next_us = Some(self.next_us.map_or(at_us, |next| next.min(at_us)));
        }
        at_us <= now_us
    }
}

/// What is to be done with the fleet at this time. Doing it and taking the events in leads to an empty plan.
pub fn plan(fleet: &Fleet, now_us: i64) -> Plan {
    let mut plan = Plan::default();
    plan_jobs(fleet, now_us, &mut plan);
    for (name, pool) in &fleet.pools {
        match pool.cluster.phase {
            Phase::Absent => {}
            Phase::Live => {
                plan_nodes(name, pool, now_us, &mut plan);
                plan_queue(fleet, name, pool, now_us, &mut plan);
            }
            Phase::Deleting => {
                plan_nodes(name, pool, now_us, &mut plan);
                plan_end(fleet, name, pool, &mut plan);
            }
        }
    }
    plan.actions.truncate(ACTIONS_MAX);
    plan
}

fn plan_jobs(fleet: &Fleet, now_us: i64, plan: &mut Plan) {
    for (job_id, how) in &fleet.stranded {
        if let Some((node_id, attempt)) = fleet.jobs.get(job_id).and_then(|entry| entry.job.live()) {
            let outcome = if *how == NodeEnd::Preempted { Outcome::Preempted } else { Outcome::Lost };
            let end = JobEnd { reason: outcome.to_string(), ..JobEnd::new(outcome) };
            plan.actions.push(Action::EndAttempt { job_id: *job_id, attempt, node_id, end });
        }
    }
    for (job_id, (reason, detail)) in &fleet.unschedulable {
        plan.actions.push(Action::GiveUp { job_id: *job_id, end: failed_end(reason, detail.clone()) });
    }
    for (due_us, job_id) in &fleet.timeouts {
        if !plan.is_due(*due_us, now_us) {
            break;
        }
        if fleet.jobs.get(job_id).is_some_and(|entry| entry.job.stop.is_none()) {
            plan.actions.push(Action::Stop { job_id: *job_id, by: StopBy::TrialTimeout });
        }
    }
}

fn plan_nodes(name: &ClusterName, pool: &Pool, now_us: i64, plan: &mut Plan) {
    for (node_id, place) in pool.places.iter().filter(|(_, place)| !place.removing) {
        let Some(node) = pool.cluster.nodes.get(node_id) else { continue };
        let remove =
            |end: NodeEnd, reason: String| Action::Remove { cluster: name.clone(), node_id: *node_id, end, reason };
        match node.state {
            NodeState::Requested => {
                // Its provider has until then to bring it up, and its agent a while more to connect; after a restart of
                // the server both may have waited for it.
                let awaited_us = place.up_by_us.max(place.awaited_us);
                if pool.cluster.phase == Phase::Deleting {
                    let reason = "the cluster is deleted".to_owned();
                    plan.actions.push(Action::Leave { cluster: name.clone(), node_id: *node_id, reason });
                } else if plan.is_due(awaited_us.saturating_add(micros(BOOT_GRACE.as_secs_f64())), now_us) {
                    let waited = BOOT_GRACE.as_secs();
                    let reason = format!("its agent has not connected within {waited} s of its start");
                    plan.actions.push(Action::Fail { cluster: name.clone(), node_id: *node_id, reason });
                }
            }
            NodeState::Ready => {
                let action = ready_node(name, pool, (*node_id, place), now_us, plan);
                plan.actions.extend(action);
            }
            NodeState::Noticed { deadline_us } => {
                if place.is_empty() || plan.is_due(deadline_us, now_us) {
                    plan.actions.push(remove(NodeEnd::Preempted, node.reason.clone()));
                }
            }
            NodeState::Leaving => plan.actions.push(remove(NodeEnd::Released, node.reason.clone())),
            NodeState::Failing => plan.actions.push(remove(NodeEnd::Failed, node.reason.clone())),
        }
    }
}

fn ready_node(
    name: &ClusterName,
    pool: &Pool,
    (node_id, place): (NodeId, &Place),
    now_us: i64,
    plan: &mut Plan,
) -> Option<Action> {
    let cluster = name.clone();
    if plan.is_due(place.last_contact_us.saturating_add(micros(SILENCE_MAX.as_secs_f64())), now_us) {
        let reason = format!("no sign of life for {} s", SILENCE_MAX.as_secs());
        return Some(Action::Fail { cluster, node_id, reason });
    }
    if pool.cluster.phase == Phase::Deleting {
        let reason = "the cluster is deleted".to_owned();
        return place.may_go(pool.cluster.phase).then_some(Action::Leave { cluster, node_id, reason });
    }
    None
}

/// Ends what a deleted cluster still has.
fn plan_end(fleet: &Fleet, name: &ClusterName, pool: &Pool, plan: &mut Plan) {
    for (_, _, job_id) in pool.queue.values().flatten() {
        let detail = format!("cluster '{}' was deleted", name.name);
        let end = failed_end("cluster_deleted", detail);
        let end = JobEnd { outcome: Outcome::Canceled, by: Some(StopBy::Cluster), ..end };
        plan.actions.push(Action::GiveUp { job_id: *job_id, end });
    }
    for job_id in pool.places.values().flat_map(|place| place.jobs.keys()) {
        if fleet.jobs.get(job_id).is_some_and(|entry| entry.job.stop.is_none()) {
            plan.actions.push(Action::Stop { job_id: *job_id, by: StopBy::Cluster });
        }
    }
    if pool.places.is_empty() && pool.queue.is_empty() {
        plan.actions.push(Action::FinishDelete { cluster: name.clone() });
    }
}

fn plan_queue(fleet: &Fleet, name: &ClusterName, pool: &Pool, now_us: i64, plan: &mut Plan) {
    let scale = pool.cluster.spec.scale;
    let room = (scale.max_nodes as usize).saturating_sub(pool.cluster.nodes.len());
    let surplus = pool.surplus();
    let packing = pack(fleet, pool, &surplus, room);
    let queued = pool.queued();
    for placed in &packing.placed {
        if let Some(entry) = fleet.jobs.get(&placed.job_id) {
            plan.actions.push(Action::Place {
                job_id: placed.job_id,
                attempt: entry.job.attempt,
                node_id: placed.node_id,
                reason: why_placed(pool, placed, queued),
            });
        }
    }
    plan_growth(name, pool, &packing, room, now_us, plan);
    plan_surplus(name, pool, &surplus, plan);
    if surplus.is_empty() {
        plan_shrinkage(name, pool, &packing, now_us, plan);
    }
}

pub(super) fn why_placed(pool: &Pool, placed: &Placed, queued: usize) -> String {
    let open = pool.places.iter().filter(|(node, place)| Fleet::is_open(pool, **node, place)).count();
    format!(
        "claims {}; the node had {} free, the least of {open} ready nodes that suffices; {queued} queued, by priority, \
         then in the order they came",
        placed.shape, placed.free
    )
}

fn plan_growth(name: &ClusterName, pool: &Pool, packing: &Packing, room: usize, now_us: i64, plan: &mut Plan) {
    let least = (pool.cluster.spec.scale.min_nodes as usize).saturating_sub(pool.cluster.staying());
    let wanted = if packing.cut_short { least } else { least.max(packing.new_nodes) }.min(room);
    if wanted == 0 {
        return;
    }
    if pool.cluster.boot_failures > 0 {
        let seconds = 2u32.saturating_pow(pool.cluster.boot_failures - 1).min(BOOT_RETRY_MAX_SECONDS);
        let again_us = pool.cluster.boot_failed_us.saturating_add(micros(f64::from(seconds)));
        if !plan.is_due(again_us, now_us) {
            return;
        }
    }
    let reason = if packing.new_nodes > 0 {
        format!("{} queued jobs do not fit on the {} nodes there are", packing.waiting, pool.cluster.nodes.len())
    } else {
        format!("scale.min_nodes is {}", pool.cluster.spec.scale.min_nodes)
    };
    for _ in 0..wanted {
        plan.actions.push(Action::RequestNode { cluster: name.clone(), reason: reason.clone() });
    }
}

/// Gives the nodes beyond the maximum back as soon as they are empty.
fn plan_surplus(name: &ClusterName, pool: &Pool, surplus: &BTreeSet<NodeId>, plan: &mut Plan) {
    // What lives on a node that has come up is known once its agent has said it.
    let is_known = |node_id: &NodeId, place: &Place| {
        place.connected || pool.cluster.nodes.get(node_id).is_none_or(|node| node.state == NodeState::Requested)
    };
    let empty = |node_id: &&NodeId| {
        pool.places.get(*node_id).is_some_and(|place| place.is_empty() && !place.removing && is_known(node_id, place))
    };
    for node_id in surplus.iter().filter(empty) {
        let reason = format!("scale.max_nodes is {}", pool.cluster.spec.scale.max_nodes);
        plan.actions.push(Action::Leave { cluster: name.clone(), node_id: *node_id, reason });
    }
}

/// Gives idle nodes back when they have idled long enough, never below the minimum.
fn plan_shrinkage(name: &ClusterName, pool: &Pool, packing: &Packing, now_us: i64, plan: &mut Plan) {
    let scale = pool.cluster.spec.scale;
    let mut staying = pool.cluster.staying();
    let mut idle: Vec<_> = pool
        .places
        .iter()
        .filter(|(node, place)| Fleet::is_open(pool, **node, place) && place.is_empty())
        .filter(|(node, _)| !packing.placed.iter().any(|placed| placed.node_id == **node))
        .map(|(node, place)| (place.idle_since_us, *node))
        .collect();
    idle.sort_unstable();
    for (since_us, node_id) in idle {
        if staying <= scale.min_nodes as usize {
            return;
        }
        if !plan.is_due(since_us.saturating_add(micros(scale.idle_seconds_before_scaledown)), now_us) {
            continue;
        }
        let reason = format!("idle for {} s", scale.idle_seconds_before_scaledown);
        staying -= 1;
        plan.actions.push(Action::Leave { cluster: name.clone(), node_id, reason });
    }
}
