//! What a committed event means for agents and for the provider. Called with the fleet held, so that a connection
//! that is being set up sees an event either in the fleet or on its channel.

use vocabulary::NodeId;
use vocabulary::token::node_secret;

use super::parts::Engine;
use crate::cluster::{ClusterEvent, NodeState};
use crate::job::{JobEvent, micros};
use crate::orders;
use crate::providers::{Capabilities, NodeOrder, OrderedNode};
use crate::scheduler::Fleet;
use crate::stream::Change;

/// Takes up every node that exists again, and what nodes that do not have left: after a start, or when events of the
/// provider were missed.
pub(super) fn resume(engine: &Engine) {
    let left = engine.provider.left();
    let mut fleet = engine.fleet.lock();
    let nodes: Vec<NodeId> = fleet.nodes().map(|(node_id, ..)| node_id).collect();
    let orders: Vec<NodeOrder> = nodes.into_iter().filter_map(|node_id| order(engine, &mut fleet, node_id)).collect();
    engine.provider.adopt(orders);
    for (node_id, _, pool) in fleet.nodes() {
        if let Some(node) = pool.cluster.nodes.get(&node_id).filter(|node| node.ready_us > 0) {
            engine.provider.connected(node_id, node.ready_us);
        }
    }
    if fleet.has_unreadable_clusters() {
        return;
    }
    for node_id in left.into_iter().filter(|node_id| fleet.node(*node_id).is_none()) {
        // Nobody waits for it: the jobs have gone on long ago.
        drop(engine.provider.collect(node_id, secret(engine, node_id)));
    }
}

/// What a node's agent connects with.
fn secret(engine: &Engine, node_id: NodeId) -> String {
    node_secret(&node_id.to_string(), &engine.signing_key)
}

/// What the state after the event calls for.
pub(super) fn after(engine: &Engine, fleet: &mut Fleet, change: &Change) {
    match change {
        Change::Job(job_id, JobEvent::JobPlaced(_) | JobEvent::StopRequested(_)) => {
            if let Some(entry) = fleet.job(*job_id)
                && let Some((node_id, _)) = entry.job.live()
            {
                let order = match change {
                    Change::Job(_, JobEvent::JobPlaced(_)) => Some(engine.orders.start(*job_id, &entry.job)),
                    _ => orders::stop(*job_id, &entry.job),
                };
                if let Some(order) = order {
                    engine.agents.send(node_id, order);
                }
            }
        }
        Change::Cluster(_, event) => of_cluster(engine, fleet, event),
        Change::Job(..) => {}
    }
}

fn of_cluster(engine: &Engine, fleet: &mut Fleet, event: &ClusterEvent) {
    let Some(node_id) = event.node_id() else { return };
    let Some((_, pool, _)) = fleet.node(node_id) else {
        engine.agents.drop_connection(node_id);
        return;
    };
    match event {
        ClusterEvent::NodeRequested(_) => {
            if let Some(order) = order(engine, fleet, node_id) {
                engine.provider.provision(order);
            }
        }
        ClusterEvent::NodeReady(ready) => engine.provider.connected(node_id, ready.at_us),
        ClusterEvent::NodeNoticed(_) => {
            if let Some(order) =
                pool.cluster.nodes.get(&node_id).and_then(|node| orders::notice(node, engine.commands.clock.now_us()))
            {
                engine.agents.send(node_id, order);
            }
        }
        _ => {}
    }
}

/// The order for a node that is to be there, which is an intent of its own.
fn order(engine: &Engine, fleet: &mut Fleet, node_id: NodeId) -> Option<NodeOrder> {
    let (name, pool, _) = fleet.node(node_id)?;
    let (spec, node) = (&pool.cluster.spec, pool.cluster.nodes.get(&node_id)?);
    if matches!(node.state, NodeState::Leaving | NodeState::Failing) {
        return None;
    }
    let order = NodeOrder {
        intent: node_id,
        cluster: name.clone(),
        size: pool.cluster.size.clone(),
        tier: spec.vm_priority,
        settings: spec.provider.clone(),
        requested_us: node.requested_us,
        nodes: vec![OrderedNode { node_id, ordinal: node.ordinal, secret: secret(engine, node_id) }],
    };
    let Capabilities { up_within, nodes_per_order_max, .. } = engine.provider.capabilities(&order.settings);
    debug_assert!(order.nodes.len() <= nodes_per_order_max, "each node is an intent of its own");
    fleet.expect_up(node_id, order.requested_us.saturating_add(micros(up_within.as_secs_f64())));
    Some(order)
}
