//! Who gives nodes: brings them up, says what becomes of them, and takes them away so that nothing of them is left.
//!
//! A provider knows machines, not jobs; the scheduler knows nodes, not providers. Between them go orders one way and
//! [`NodeEvent`]s the other (`engine/observe.rs`). To add a provider: implement [`Provider`], and have the contract
//! suite (`contract_tests.rs`) run on it.
//!
//! - Invariant: an intent leads to its nodes once, however often it is ordered, also after a restart of either side.
//! - Invariant: each node that is ordered or adopted is reported ready, lost or failed.

#[cfg(test)]
mod contract_tests;
mod lives;
mod local;
#[cfg(test)]
mod local_tests;
mod process;
#[cfg(test)]
mod scripted_tests;

pub(crate) use local::LocalProvider;

use std::time::Duration;

use eventlog::BoxFuture;
use tokio::sync::broadcast;
use vocabulary::NodeId;

use crate::cluster::{self, VmPriority};
use crate::sizes::Size;
use crate::stream::ClusterName;

/// What a provider can do for a cluster, which says by its settings how it wants to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// By when after the order a node is up, or has failed.
    pub up_within: Duration,
    /// From the notice of a preemption to its end.
    pub notice: Duration,
    /// Nodes that one order may ask for.
    pub nodes_per_order_max: usize,
}

/// One node of an order.
#[derive(Clone)]
pub(crate) struct OrderedNode {
    /// The node.
    pub node_id: NodeId,
    /// Counts the cluster's nodes.
    pub ordinal: u64,
    /// The secret that its agent connects with.
    pub secret: String,
}

/// Nodes that are wanted, all of them or none.
#[derive(Clone)]
pub(crate) struct NodeOrder {
    /// The key of the intent: the provider knows a repeated order by it.
    pub intent: NodeId,
    /// Their cluster.
    pub cluster: ClusterName,
    /// What each of them has.
    pub size: Size,
    /// Whether they may be taken away.
    pub tier: VmPriority,
    /// The cluster's settings of its provider.
    pub settings: cluster::Provider,
    /// When they were asked for, in microseconds since 1970.
    pub requested_us: i64,
    /// The nodes; their number is the order's count.
    pub nodes: Vec<OrderedNode>,
}

/// What becomes of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent {
    /// It is up; its agent will connect.
    Ready {
        /// The node.
        node_id: NodeId,
    },
    /// It will be taken away.
    Notice {
        /// The node.
        node_id: NodeId,
        /// When, in microseconds since 1970.
        deadline_us: i64,
        /// Why.
        reason: String,
    },
    /// It was up and is not any more.
    #[cfg_attr(not(test), expect(dead_code, reason = "agents of this machine are started again instead"))]
    Lost {
        /// The node.
        node_id: NodeId,
        /// Whether its owner has taken it back; else it has broken.
        preempted: bool,
        /// Why.
        reason: String,
    },
    /// It has not come up and will not.
    Failed {
        /// The node.
        node_id: NodeId,
        /// What was in the way.
        cause: FailureCause,
        /// Why.
        reason: String,
    },
}

/// What was in the way of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureCause {
    /// There is none to be had now.
    #[cfg_attr(not(test), expect(dead_code, reason = "this machine always has room for one more process"))]
    Capacity,
    /// Something is wrong with the order or with the provider.
    Broken,
}

impl NodeEvent {
    /// The node.
    pub fn node_id(&self) -> NodeId {
        match self {
            Self::Ready { node_id }
            | Self::Notice { node_id, .. }
            | Self::Lost { node_id, .. }
            | Self::Failed { node_id, .. } => *node_id,
        }
    }
}

/// How a node's agent stands when its node is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentIs {
    /// It was told that its node goes, and ends what runs there by itself.
    Notified,
    /// It is not connected, but may come.
    Away,
    /// It has been silent for too long, or has failed.
    Mute,
}

/// What every provider does.
pub(crate) trait Provider: Send + Sync + 'static {
    /// What it can do for a cluster.
    fn capabilities(&self, settings: &cluster::Provider) -> Capabilities;

    /// Begins to bring the nodes up and keeps their agents running; events say what comes of it. A second order of the
    /// intent changes nothing.
    fn provision(&self, order: NodeOrder);

    /// Takes up again, after a start, what was ordered before: nodes that are up are reported ready and kept, those
    /// that still come go on, those that were never ordered are, and those that are gone are reported lost.
    fn adopt(&self, orders: Vec<NodeOrder>);

    /// The node's agent has connected, for the first time at that time: what a provider counts from a node's beginning
    /// begins there. May be said again.
    fn connected(&self, _node_id: NodeId, _at_us: i64) {}

    /// Ends everything that runs on the node, but an agent that may still have something to say; answers when that is
    /// done. A node that is gone is no error.
    fn release(&self, node_id: NodeId, agent: AgentIs) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Keeps an agent on a released node, `secret` being the node's, until what its attempts wrote is with runs; then
    /// nothing of the node stays, and this answers. It is done whether anybody waits for the answer or not.
    fn collect(&self, node_id: NodeId, secret: String) -> BoxFuture<'static, ()>;

    /// Nodes on which something lies that is not with runs yet.
    fn left(&self) -> Vec<NodeId>;

    /// What becomes of nodes from now on.
    fn observe(&self) -> broadcast::Receiver<NodeEvent>;
}
