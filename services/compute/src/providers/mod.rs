//! Who gives nodes: brings them up, keeps their agents running, and takes them away so that nothing of them is left.

mod local;
#[cfg(test)]
mod local_tests;
mod process;

pub(crate) use local::LocalProvider;

use eventlog::BoxFuture;
use tokio::sync::broadcast;
use vocabulary::NodeId;

use crate::stream::ClusterName;

/// A node that is wanted.
#[derive(Clone)]
pub(crate) struct NodeOrder {
    /// The node, and the key of the intent.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// When it is up, in microseconds since 1970.
    pub boot_us: i64,
    /// The secret that its agent connects with.
    pub token: String,
}

/// How a node's agent stands when its node is halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentIs {
    /// It was told that its node goes, and ends what runs there by itself.
    Told,
    /// It is not connected, but may come.
    Away,
    /// It has been silent for too long, or has failed.
    Mute,
}

/// A node that did not come up.
#[derive(Clone, Debug)]
pub(crate) struct NodeFailure {
    /// The node.
    pub node_id: NodeId,
    /// Why.
    pub reason: String,
}

/// What every provider does.
pub(crate) trait Provider: Send + Sync + 'static {
    /// Brings a node up, or takes one over that is up, and keeps its agent running. A second order of the node
    /// changes nothing.
    fn tend(&self, order: NodeOrder);

    /// Ends everything that runs on the node, but an agent that may still have something to say; answers when that is
    /// done.
    fn halt(&self, node_id: NodeId, agent: AgentIs) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Keeps an agent on a halted node, `secret` being the node's, until what its attempts wrote is with runs; then
    /// nothing of the node stays, and this answers. It is done whether anybody waits for the answer or not.
    fn collect(&self, node_id: NodeId, secret: String) -> BoxFuture<'static, ()>;

    /// Nodes on which something lies that is not with runs yet.
    fn left(&self) -> Vec<NodeId>;

    /// Nodes that the provider has given up.
    fn failures(&self) -> broadcast::Receiver<NodeFailure>;
}
