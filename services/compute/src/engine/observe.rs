//! What an event of a provider means for the fleet. Pure: the simulation of the scheduler runs through here too.

use crate::cluster::{NodeEnd, NodeState};
use crate::providers::{FailureCause, NodeEvent};
use crate::scheduler::{Action, Fleet};

/// Takes the event in; answers what is to be done. Events of nodes that are gone, or go already, mean nothing.
pub(crate) fn react(fleet: &mut Fleet, event: NodeEvent, now_us: i64) -> Option<Action> {
    let node_id = match &event {
        NodeEvent::Ready { node_id }
        | NodeEvent::Notice { node_id, .. }
        | NodeEvent::Lost { node_id, .. }
        | NodeEvent::Failed { node_id, .. } => *node_id,
    };
    let (name, pool, place) = fleet.node(node_id)?;
    let (cluster, state) = (name.clone(), pool.cluster.nodes.get(&node_id)?.state);
    if place.removing {
        return None;
    }
    match event {
        NodeEvent::Ready { .. } => {
            fleet.came_up(node_id, now_us);
            None
        }
        NodeEvent::Notice { deadline_us, reason, .. } => match state {
            NodeState::Ready => Some(Action::Notice { cluster, node_id, deadline_us, reason }),
            // Its agent has not connected: there is nobody to tell, and nothing to save.
            NodeState::Requested => Some(Action::Remove { cluster, node_id, end: NodeEnd::Preempted, reason }),
            NodeState::Noticed { .. } | NodeState::Leaving => None,
        },
        NodeEvent::Lost { preempted, reason, .. } => {
            let was_told = matches!(state, NodeState::Noticed { .. });
            let end = if preempted || was_told { NodeEnd::Preempted } else { NodeEnd::Failed };
            Some(Action::Remove { cluster, node_id, end, reason })
        }
        NodeEvent::Failed { cause, reason, .. } => {
            let reason = match cause {
                FailureCause::Capacity => format!("no capacity: {reason}"),
                FailureCause::Broken => reason,
            };
            Some(Action::Remove { cluster, node_id, end: NodeEnd::Failed, reason })
        }
    }
}
