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

    /// Takes the node away and answers once nothing of it runs. `told`: its agent was told to leave and may go by
    /// itself.
    fn remove(&self, node_id: NodeId, told: bool) -> BoxFuture<'_, anyhow::Result<()>>;

    /// Nodes that the provider has given up.
    fn failures(&self) -> broadcast::Receiver<NodeFailure>;
}
