//! What can happen to a cluster and its nodes. Private: others see the facts of `publish.rs`.

use serde::{Deserialize, Serialize};
use vocabulary::NodeId;

use super::{ClusterSpec, Scale};
use crate::sizes::Size;

/// The cluster was defined; also after an earlier cluster of the name was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterCreated {
    /// The workspace.
    pub workspace: String,
    /// The name.
    pub name: String,
    /// What it is to be.
    pub spec: ClusterSpec,
    /// What its size had at that time.
    pub size: Size,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The scale was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleChanged {
    /// The whole new scale.
    pub scale: Scale,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The cluster is to go: nothing new starts, and its nodes are released as soon as they are empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterDeleting {
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The last node and the last job are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterDeleted {
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The intent to have one more node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeRequested {
    /// The node; also the key of the intent.
    pub node_id: NodeId,
    /// Counts the cluster's nodes from 0.
    pub ordinal: u64,
    /// SHA-256 of the node's secret.
    pub token_sha256: String,
    /// Why one more is needed.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The node's agent has connected for the first time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReady {
    /// The node.
    pub node_id: NodeId,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The node will be taken away at the deadline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeNoticed {
    /// The node.
    pub node_id: NodeId,
    /// Microseconds since 1970.
    pub deadline_us: i64,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The intent to give the node back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeLeaving {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The intent to take a node away that does not do what it should: it never came up, is silent, or its provider has
/// given it up. From here on it gets no jobs, whoever starts again in between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFailing {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The node was taken away; nothing of it runs any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodePreempted {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The node was given back; nothing of it runs any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReleased {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The node never came up or stopped responding; it was cleared away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeFailed {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

vocabulary::stored_events! {
    /// What can happen to a cluster.
    pub enum ClusterEvent {
        ClusterCreated: 1, ScaleChanged: 1, ClusterDeleting: 1, ClusterDeleted: 1,
        NodeRequested: 1, NodeReady: 1, NodeNoticed: 1, NodeLeaving: 1, NodePreempted: 1, NodeReleased: 1,
        NodeFailing: 1, NodeFailed: 1,
    }
}

impl ClusterEvent {
    /// The node that it is about, if it is about one.
    pub fn node_id(&self) -> Option<NodeId> {
        match self {
            Self::NodeRequested(event) => Some(event.node_id),
            Self::NodeReady(event) => Some(event.node_id),
            Self::NodeNoticed(event) => Some(event.node_id),
            Self::NodeLeaving(event) => Some(event.node_id),
            Self::NodeFailing(event) => Some(event.node_id),
            Self::NodePreempted(event) => Some(event.node_id),
            Self::NodeReleased(event) => Some(event.node_id),
            Self::NodeFailed(event) => Some(event.node_id),
            Self::ClusterCreated(_) | Self::ScaleChanged(_) | Self::ClusterDeleting(_) | Self::ClusterDeleted(_) => {
                None
            }
        }
    }
}
