//! A cluster as its events have made it.

use std::collections::{BTreeMap, VecDeque};

use vocabulary::NodeId;

use super::{ClusterEvent, ClusterSpec, NodeRequested};
use crate::sizes::Size;

/// Nodes that are gone and still remembered: a crash between the end of a node and the end of its jobs needs to know
/// how it went.
const GONE_KEPT_MAX: usize = 256;
/// What is shown of errors.
const ERRORS_MAX: usize = 5;

/// Where a cluster stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It never was, or is deleted.
    #[default]
    Absent,
    /// It can be used.
    Live,
    /// It goes.
    Deleting,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Asked for, its agent has not connected yet.
    Requested,
    /// Its agent has connected.
    Ready,
    /// It will be taken away.
    Noticed {
        /// Microseconds since 1970.
        deadline_us: i64,
    },
    /// It is being given back.
    Leaving,
    /// It is being cleared away: it does not do what it should.
    Failing,
}

/// A node that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Counts the cluster's nodes.
    pub ordinal: u64,
    /// Where it stands.
    pub state: NodeState,
    /// Since when, in microseconds since 1970.
    pub since_us: i64,
    /// When it was asked for.
    pub requested_us: i64,
    /// When its agent connected first; 0 = not yet.
    pub ready_us: i64,
    /// SHA-256 of its secret.
    pub token_sha256: String,
    /// Why it stands there.
    pub reason: String,
}

/// How a node went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEnd {
    /// Given back.
    Released,
    /// Taken away.
    Preempted,
    /// Broken.
    Failed,
}

/// A node that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The node.
    pub node_id: NodeId,
    /// How it went.
    pub end: NodeEnd,
}

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Where it stands.
    pub phase: Phase,
    /// The workspace.
    pub workspace: String,
    /// The name.
    pub name: String,
    /// What it is to be.
    pub spec: ClusterSpec,
    /// What a node has.
    pub size: Size,
    /// When it was created.
    pub created_us: i64,
    /// When `is_resizing` changed last.
    pub allocation_changed_us: i64,
    /// The nodes that exist.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Nodes asked for so far, over all clusters of the name.
    pub next_ordinal: u64,
    /// The last nodes that went.
    pub gone: VecDeque<Gone>,
    /// The last errors, the newest last.
    pub errors: VecDeque<String>,
    /// Nodes in a row that failed, or were taken away, before they were ready.
    pub boot_failures: u32,
    /// When the last of them went.
    pub boot_failed_us: i64,
}

impl Cluster {
    /// Whether nodes come or go, or would have to: a lowered maximum waits for the nodes beyond it to become empty.
    pub fn is_resizing(&self) -> bool {
        self.phase == Phase::Deleting
            || self.nodes.len() > self.spec.scale.max_nodes as usize
            || self.nodes.values().any(|node| node.state != NodeState::Ready)
    }

    /// Nodes that are there to stay.
    pub fn staying(&self) -> usize {
        self.nodes.values().filter(|node| matches!(node.state, NodeState::Requested | NodeState::Ready)).count()
    }

    /// How a node went that is not there any more.
    pub fn end_of(&self, node_id: NodeId) -> Option<NodeEnd> {
        self.gone.iter().rev().find(|gone| gone.node_id == node_id).map(|gone| gone.end)
    }

    fn stand(&mut self, node_id: NodeId, state: NodeState, reason: &str, at_us: i64) {
        if let Some(node) = self.nodes.get_mut(&node_id) {
            node.state = state;
            node.since_us = at_us;
            reason.clone_into(&mut node.reason);
        }
    }

    fn drop_node(&mut self, node_id: NodeId, end: NodeEnd, reason: &str, at_us: i64) {
        let was_ready = self.nodes.remove(&node_id).is_some_and(|node| node.ready_us > 0);
        self.gone.push_back(Gone { node_id, end });
        if self.gone.len() > GONE_KEPT_MAX {
            self.gone.pop_front();
        }
        // One that nobody gave back and that never was of use: however it went, the next may go like it.
        let never_came_up = !was_ready && end != NodeEnd::Released;
        if end != NodeEnd::Failed && !never_came_up {
            return;
        }
        self.errors.push_back(format!("{node_id}: {reason}"));
        if self.errors.len() > ERRORS_MAX {
            self.errors.pop_front();
        }
        if never_came_up {
            self.boot_failures = self.boot_failures.saturating_add(1);
            self.boot_failed_us = at_us;
        }
    }

    fn take_request(&mut self, event: &NodeRequested) -> i64 {
        self.next_ordinal = event.ordinal + 1;
        let node = Node {
            ordinal: event.ordinal,
            state: NodeState::Requested,
            since_us: event.at_us,
            requested_us: event.at_us,
            ready_us: 0,
            token_sha256: event.token_sha256.clone(),
            reason: event.reason.clone(),
        };
        self.nodes.insert(event.node_id, node);
        event.at_us
    }

    /// Takes an event in and answers when it happened.
    fn take(&mut self, event: &ClusterEvent) -> i64 {
        match event {
            ClusterEvent::ClusterCreated(event) => {
                *self = Self {
                    phase: Phase::Live,
                    workspace: event.workspace.clone(),
                    name: event.name.clone(),
                    spec: event.spec.clone(),
                    size: event.size.clone(),
                    created_us: event.at_us,
                    allocation_changed_us: event.at_us,
                    next_ordinal: self.next_ordinal,
                    gone: std::mem::take(&mut self.gone),
                    ..Self::default()
                };
                event.at_us
            }
            ClusterEvent::ScaleChanged(event) => {
                self.spec.scale = event.scale;
                event.at_us
            }
            ClusterEvent::ClusterDeleting(event) => {
                self.phase = Phase::Deleting;
                event.at_us
            }
            ClusterEvent::ClusterDeleted(event) => {
                self.phase = Phase::Absent;
                event.at_us
            }
            ClusterEvent::NodeRequested(event) => self.take_request(event),
            ClusterEvent::NodeReady(event) => {
                self.boot_failures = 0;
                self.stand(event.node_id, NodeState::Ready, "", event.at_us);
                if let Some(node) = self.nodes.get_mut(&event.node_id) {
                    node.ready_us = event.at_us;
                }
                event.at_us
            }
            ClusterEvent::NodeNoticed(event) => {
                let state = NodeState::Noticed { deadline_us: event.deadline_us };
                self.stand(event.node_id, state, &event.reason, event.at_us);
                event.at_us
            }
            ClusterEvent::NodeLeaving(event) => {
                self.stand(event.node_id, NodeState::Leaving, &event.reason, event.at_us);
                event.at_us
            }
            ClusterEvent::NodeFailing(event) => {
                self.stand(event.node_id, NodeState::Failing, &event.reason, event.at_us);
                event.at_us
            }
            ClusterEvent::NodePreempted(event) => {
                self.drop_node(event.node_id, NodeEnd::Preempted, &event.reason, event.at_us);
                event.at_us
            }
            ClusterEvent::NodeReleased(event) => {
                self.drop_node(event.node_id, NodeEnd::Released, &event.reason, event.at_us);
                event.at_us
            }
            ClusterEvent::NodeFailed(event) => {
                self.drop_node(event.node_id, NodeEnd::Failed, &event.reason, event.at_us);
                event.at_us
            }
        }
    }

    pub(super) fn evolve_one(&mut self, event: &ClusterEvent) {
        let resizing = self.is_resizing();
        let at_us = self.take(event);
        if self.is_resizing() != resizing {
            self.allocation_changed_us = at_us;
        }
    }
}
