//! What providers and agents have said of nodes, kept until what follows from it is recorded: it is said once, and a
//! preemption that nobody has recorded would count as a failure. What it means is decided elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vocabulary::NodeId;

use crate::providers::NodeEvent;

/// In the order in which it was said of each node. Invariant: of each kind at most one waits for a node, so that there
/// is an end to it while nothing can be recorded.
#[derive(Default)]
pub(crate) struct NodeEvents {
    waiting: Mutex<BTreeMap<NodeId, VecDeque<NodeEvent>>>,
}

impl NodeEvents {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<NodeId, VecDeque<NodeEvent>>> {
        // Whole after every statement that changes it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is said; what waits already and is said again changes nothing.
    pub fn put(&self, event: NodeEvent) {
        let mut waiting = self.waiting();
        let of_node = waiting.entry(event.node_id()).or_default();
        if of_node.iter().all(|known| discriminant(known) != discriminant(&event)) {
            of_node.push_back(event);
        }
    }

    /// What was said first of each node.
    pub fn first(&self) -> Vec<NodeEvent> {
        self.waiting().values().filter_map(|of_node| of_node.front().cloned()).collect()
    }

    /// What was said first of a node is recorded, or means nothing.
    pub fn done(&self, node_id: NodeId) {
        let mut waiting = self.waiting();
        let Some(of_node) = waiting.get_mut(&node_id) else { return };
        of_node.pop_front();
        if of_node.is_empty() {
            waiting.remove(&node_id);
        }
    }

    /// Whether something waits that was said of a node.
    pub fn has(&self, node_id: NodeId) -> bool {
        self.waiting().contains_key(&node_id)
    }
}
