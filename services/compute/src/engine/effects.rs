//! What a committed event means for agents and for the provider. Called with the fleet held, so that a connection
//! that is being set up sees an event either in the fleet or on its channel.

use vocabulary::NodeId;
use vocabulary::token::node_secret;

use super::parts::Engine;
use crate::cluster::{ClusterEvent, NodeState};
use crate::job::{JobEvent, micros};
use crate::orders;
use crate::providers::NodeOrder;
use crate::scheduler::{Fleet, Pool};
use crate::stream::{Change, ClusterName};

/// Takes up every node that exists again, after a start, and what nodes that do not have left.
pub(super) fn resume(engine: &Engine) {
    let left = engine.provider.left();
    let fleet = engine.fleet.lock();
    for (node_id, name, pool) in fleet.nodes() {
        tend(engine, node_id, name, pool);
    }
    for node_id in left.into_iter().filter(|node_id| fleet.node(*node_id).is_none()) {
        // Nobody waits for it: the jobs have gone on long ago.
        drop(engine.provider.collect(node_id, node_secret(&node_id.to_string(), &engine.signing_key)));
    }
}

/// What the state after the event calls for.
pub(super) fn after(engine: &Engine, fleet: &Fleet, change: &Change) {
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
        Change::Cluster(name, event) => of_cluster(engine, fleet, name, event),
        Change::Job(..) => {}
    }
}

fn of_cluster(engine: &Engine, fleet: &Fleet, name: &ClusterName, event: &ClusterEvent) {
    let Some(node_id) = event.node_id() else { return };
    let Some((_, pool, _)) = fleet.node(node_id) else {
        engine.agents.drop_connection(node_id);
        return;
    };
    match event {
        ClusterEvent::NodeRequested(_) => tend(engine, node_id, name, pool),
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

fn tend(engine: &Engine, node_id: NodeId, name: &ClusterName, pool: &Pool) {
    let Some(node) = pool.cluster.nodes.get(&node_id) else { return };
    if node.state == NodeState::Leaving {
        return;
    }
    let settings = pool.cluster.spec.provider.local();
    engine.provider.tend(NodeOrder {
        node_id,
        cluster: name.clone(),
        boot_us: node.requested_us.saturating_add(micros(settings.boot_seconds * settings.time_scale)),
        token: node_secret(&node_id.to_string(), &engine.signing_key),
    });
}
