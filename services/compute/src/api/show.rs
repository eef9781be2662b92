//! How clusters, nodes and jobs are shown.

use std::collections::BTreeMap;

use contracts::compute as wire;
use vocabulary::NodeId;

use crate::cluster::{NodeState, Phase};
use crate::scheduler::{Fleet, Place, Pool};
use crate::sizes::Size;
use crate::time::shown;

/// Every state of a node; all of them are always counted.
const NODE_STATES: [&str; 6] = ["idle", "running", "preparing", "unusable", "leaving", "preempted"];
/// Local nodes are processes of this machine.
const LOCAL_IP: &str = "127.0.0.1";

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn node_state(pool: &Pool, node_id: NodeId, place: &Place) -> &'static str {
    if !place.trouble.is_empty() {
        return "unusable";
    }
    match pool.cluster.nodes.get(&node_id).map(|node| node.state) {
        None | Some(NodeState::Leaving | NodeState::Failing) => "leaving",
        Some(NodeState::Requested) => "preparing",
        Some(NodeState::Noticed { .. }) => "preempted",
        Some(NodeState::Ready) if place.removing => "leaving",
        Some(NodeState::Ready) if !place.connected => "unusable",
        Some(NodeState::Ready) if place.jobs.is_empty() => "idle",
        Some(NodeState::Ready) => "running",
    }
}

/// How many of a cluster's nodes are in each state; all states are there.
pub(crate) fn node_states(pool: &Pool) -> BTreeMap<&'static str, u32> {
    let mut counts: BTreeMap<_, u32> = NODE_STATES.iter().map(|state| (*state, 0)).collect();
    for (node_id, place) in &pool.places {
        *counts.entry(node_state(pool, *node_id, place)).or_default() += 1;
    }
    counts
}

/// A cluster.
pub(super) fn cluster(pool: &Pool) -> wire::Cluster {
    let cluster = &pool.cluster;
    let scale = cluster.spec.scale;
    let counts = node_states(pool).into_iter().map(|(state, count)| (state.to_owned(), count)).collect();
    wire::Cluster {
        workspace: cluster.workspace.clone(),
        name: cluster.name.clone(),
        vm_size: cluster.spec.vm_size.clone(),
        vm_priority: cluster.spec.vm_priority.to_string(),
        scale: Some(wire::Scale {
            min_nodes: scale.min_nodes,
            max_nodes: scale.max_nodes,
            idle_seconds_before_scaledown: scale.idle_seconds_before_scaledown,
        }),
        allocation_state: if cluster.is_resizing() { "Resizing" } else { "Steady" }.to_owned(),
        allocation_state_changed_at: shown(cluster.allocation_changed_us),
        provisioning_state: if cluster.phase == Phase::Deleting { "Deleting" } else { "Succeeded" }.to_owned(),
        current_node_count: count(pool.places.len()),
        target_node_count: match cluster.phase {
            Phase::Live => count(cluster.staying()).min(scale.max_nodes),
            Phase::Absent | Phase::Deleting => 0,
        },
        node_state_counts: counts,
        errors: cluster.errors.iter().cloned().chain(pool.troubles()).collect(),
        provider_json: serde_json::to_string(&cluster.spec.provider).unwrap_or_default(),
        created_at: shown(cluster.created_us),
        version: pool.version,
        os_type: cluster.spec.os_type.clone(),
        size: Some(size(cluster.size.clone())),
    }
}

/// A size.
pub(super) fn size(size: Size) -> wire::SizeFacts {
    wire::SizeFacts {
        name: size.name,
        vcpus: size.vcpus,
        memory_bytes: size.memory_bytes,
        gpus: size.gpus,
        family: size.family,
        price_per_hour_dedicated: size.price_per_hour_dedicated,
        price_per_hour_low_priority: size.price_per_hour_low_priority,
    }
}

/// A node.
pub(super) fn node(fleet: &Fleet, pool: &Pool, node_id: NodeId, place: &Place) -> wire::Node {
    let job = |(job_id, attempt): (&vocabulary::JobId, &u32)| wire::NodeJob {
        job_id: job_id.to_string(),
        run_id: fleet.job(*job_id).map(|entry| entry.job.key.run_id.clone()).unwrap_or_default(),
        attempt: *attempt,
    };
    wire::Node {
        node_id: node_id.to_string(),
        cluster: pool.cluster.name.clone(),
        node_state: node_state(pool, node_id, place).to_owned(),
        ip: LOCAL_IP.to_owned(),
        port: 0,
        jobs: place.jobs.iter().map(job).collect(),
        since: pool.cluster.nodes.get(&node_id).map(|node| shown(node.since_us)).unwrap_or_default(),
        vm_size: pool.cluster.spec.vm_size.clone(),
        vm_priority: pool.cluster.spec.vm_priority.to_string(),
    }
}
