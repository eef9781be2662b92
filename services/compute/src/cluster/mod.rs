//! The aggregate of a cluster: its definition and the life of each of its nodes. Which job runs where is the jobs'
//! own history.

mod decide;
#[cfg(test)]
mod decide_tests;
mod document;
mod events;
mod spec;
mod state;

pub use decide::{Command, Rejection, Taker};
pub use document::{read_change, read_spec};
pub use events::{
    ClusterCreated, ClusterDeleted, ClusterDeleting, ClusterEvent, NodeFailed, NodeFailing, NodeLeaving, NodeNoticed,
    NodePreempted, NodeReady, NodeReleased, NodeRequested, ScaleChanged,
};
pub use spec::{ClusterSpec, LocalSettings, Preemption, Provider, Scale, ScaleChange, VmPriority};
pub use state::{Cluster, Gone, Node, NodeEnd, NodeState, Phase};
