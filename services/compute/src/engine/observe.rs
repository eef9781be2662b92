//! What an event of a provider means for the fleet. Pure: the simulation of the scheduler runs through here too.

use vocabulary::NodeId;

use crate::cluster::{NodeEnd, NodeState};
use crate::providers::{FailureCause, NodeEvent};
use crate::scheduler::{Action, Fleet};
use crate::stream::ClusterName;

/// Takes the event in; answers what is to be done. Events of nodes that are gone, or go already, mean nothing.
pub(crate) fn react(fleet: &mut Fleet, event: NodeEvent, now_us: i64) -> Option<Action> {
    let node_id = event.node_id();
    let (name, pool, place) = fleet.node(node_id)?;
    let (cluster, state) = (name.clone(), pool.cluster.nodes.get(&node_id)?.state);
    if place.removing {
        return None;
    }
    // What does not begin with a recorded intent must not begin at all: a server that starts again in between would
    // take the node for one that stays, and place jobs there.
    match event {
        NodeEvent::Ready { .. } => {
            fleet.came_up(node_id, now_us);
            None
        }
        NodeEvent::Notice { deadline_us, reason, .. } => match state {
            NodeState::Ready | NodeState::Requested => Some(Action::Notice { cluster, node_id, deadline_us, reason }),
            NodeState::Noticed { .. } | NodeState::Leaving | NodeState::Failing => None,
        },
        // It is taken away at the deadline, which is now.
        NodeEvent::Lost { preempted: true, reason, .. } if matches!(state, NodeState::Ready | NodeState::Requested) => {
            Some(Action::Notice { cluster, node_id, deadline_us: now_us, reason })
        }
        NodeEvent::Lost { reason, .. } => fails(cluster, node_id, state, reason),
        NodeEvent::Failed { cause: FailureCause::Capacity, reason, .. } => {
            fails(cluster, node_id, state, format!("no capacity: {reason}"))
        }
        NodeEvent::Failed { cause: FailureCause::Broken, reason, .. } => fails(cluster, node_id, state, reason),
    }
}

/// The node is not what it should be.
fn fails(cluster: ClusterName, node_id: NodeId, state: NodeState, reason: String) -> Option<Action> {
    match state {
        NodeState::Ready | NodeState::Requested => Some(Action::Fail { cluster, node_id, reason }),
        // It was told that it goes: however it went, its jobs were preempted.
        NodeState::Noticed { .. } => Some(Action::Remove { cluster, node_id, end: NodeEnd::Preempted, reason }),
        NodeState::Leaving | NodeState::Failing => None,
    }
}
