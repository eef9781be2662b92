//! What may be done with a cluster. A repeated wish is a success without events; so is one that has been overtaken.

use vocabulary::{Decider, NodeId, Problem};

use super::{
    Cluster, ClusterCreated, ClusterDeleted, ClusterDeleting, ClusterEvent, ClusterSpec, NodeEnd, NodeFailed,
    NodeFailing, NodeLeaving, NodeNoticed, NodePreempted, NodeReady, NodeReleased, NodeRequested, NodeState, Phase,
    Scale, ScaleChange, ScaleChanged, VmPriority,
};
use crate::sizes::Size;

/// Who takes a node away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// Its provider, which owns it and says so.
    Provider,
    /// A user plays the provider. Dedicated nodes are promised to stay, so it must be a low-priority one.
    User,
    /// An administrator empties it, whatever it is.
    Administrator,
}

/// What somebody wants of a cluster.
#[derive(Clone, Debug)]
pub enum Command {
    /// Create it, or change the scale of what is there.
    Put {
        /// The workspace.
        workspace: String,
        /// The name.
        name: String,
        /// What it is to be.
        spec: Box<ClusterSpec>,
        /// What its size has.
        size: Box<Size>,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Change the scale.
    Rescale {
        /// What is to change.
        change: ScaleChange,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Delete it.
    Delete {
        /// What uses it, in words; empty when that may end with it.
        used_by: Vec<String>,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// The last node and the last job are gone.
    FinishDelete {
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Ask for a node.
    RequestNode {
        /// Its id.
        node_id: NodeId,
        /// SHA-256 of its secret.
        token_sha256: String,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// The node's agent has connected.
    NodeIsReady {
        /// The node.
        node_id: NodeId,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Tell the node that it will be taken away.
    Notice {
        /// The node.
        node_id: NodeId,
        /// Who takes it away.
        by: Taker,
        /// Microseconds since 1970.
        deadline_us: i64,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Begin to give the node back.
    Leave {
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Begin to clear the node away: it does not do what it should.
    Fail {
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// The node is gone, and everything that ran on it.
    NodeIsGone {
        /// The node.
        node_id: NodeId,
        /// How.
        end: NodeEnd,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
}

/// Why a wish is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such cluster.
    Absent,
    /// It is being deleted.
    Deleting(String),
    /// Something would end with it.
    InUse {
        /// The cluster.
        cluster: String,
        /// What, in words.
        used_by: Vec<String>,
    },
    /// Something that cannot change would change.
    Immutable {
        /// The cluster.
        cluster: String,
        /// The fields.
        fields: Vec<&'static str>,
    },
    /// The change would leave fewer nodes allowed than required.
    BadScale {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
    },
    /// Nodes of a dedicated cluster are not preempted.
    Dedicated(String),
    /// There is no such node.
    NodeAbsent(NodeId),
    /// The node has not come up, or goes already.
    NodeNotReady(NodeId, &'static str),
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Absent => Self::new(404, "NotFound", "there is no such cluster"),
            Rejection::Deleting(name) => {
                let detail = format!("cluster '{name}' is being deleted; wait until it is gone, or use another name");
                Self::conflict("ClusterDeleting", detail)
            }
            Rejection::InUse { cluster, used_by } => {
                let detail = format!(
                    "cluster '{cluster}' is in use by {}; cancel or delete these and wait until they are gone, or move \
                     deployments to another cluster, or send force=true (--force) to end them with it",
                    used_by.join(", ")
                );
                Self::conflict("ClusterInUse", detail).with("used_by", used_by)
            }
            Rejection::Immutable { cluster, fields } => {
                let names = fields.join(", ");
                let detail = format!(
                    "of cluster '{cluster}' only the scale can be changed, not {names}; create a new cluster for that"
                );
                let error = |field: &&str| {
                    let message = format!("{field}: cannot be changed; create a new cluster");
                    vocabulary::FieldError::new(format!("/{field}"), "Immutable", message)
                };
                let errors = fields.iter().map(error).collect();
                Self { detail, code: "Immutable".to_owned(), ..Self::of_errors(409, errors) }
            }
            Rejection::BadScale { min, max } => {
                let message = format!("scale.max_nodes: {max} is less than scale.min_nodes, which is {min}");
                Self::invalid("/scale/max_nodes", "OutOfRange", message)
            }
            Rejection::Dedicated(cluster) => Self::conflict(
                "NotPreemptible",
                format!(
                    "cluster '{cluster}' is dedicated: only low_priority nodes are preempted; an administrator may \
                     empty a dedicated node with drain: true"
                ),
            ),
            Rejection::NodeAbsent(node) => Self::new(404, "NotFound", format!("the cluster has no node '{node}'")),
            Rejection::NodeNotReady(node, state) => {
                Self::conflict("NodeNotReady", format!("node '{node}' is {state}; only a ready node can be preempted"))
            }
        }
    }
}

impl Cluster {
    fn live(&self) -> Result<(), Rejection> {
        match self.phase {
            Phase::Live => Ok(()),
            Phase::Absent => Err(Rejection::Absent),
            Phase::Deleting => Err(Rejection::Deleting(self.name.clone())),
        }
    }

    fn rescale(&self, change: ScaleChange, at_us: i64) -> Result<Vec<ClusterEvent>, Rejection> {
        self.live()?;
        let scale = change.of(self.spec.scale);
        if scale.max_nodes < scale.min_nodes {
            return Err(Rejection::BadScale { min: scale.min_nodes, max: scale.max_nodes });
        }
        if scale == self.spec.scale {
            return Ok(Vec::new());
        }
        Ok(vec![ScaleChanged { scale, at_us }.into()])
    }

    fn put(&self, workspace: &str, spec: &ClusterSpec, change_at: i64) -> Result<Vec<ClusterEvent>, Rejection> {
        debug_assert_eq!(workspace, self.workspace, "streams are named by workspace");
        let differences = [
            ("vm_size", spec.vm_size != self.spec.vm_size),
            ("vm_priority", spec.vm_priority != self.spec.vm_priority),
            ("os_type", spec.os_type != self.spec.os_type),
            ("provider", spec.provider != self.spec.provider),
            ("tags", spec.tags != self.spec.tags),
        ];
        let fields: Vec<&str> = differences.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
        if !fields.is_empty() {
            return Err(Rejection::Immutable { cluster: self.name.clone(), fields });
        }
        let Scale { min_nodes, max_nodes, idle_seconds_before_scaledown } = spec.scale;
        let change = ScaleChange {
            min_nodes: Some(min_nodes),
            max_nodes: Some(max_nodes),
            idle_seconds_before_scaledown: Some(idle_seconds_before_scaledown),
        };
        self.rescale(change, change_at)
    }

    fn notice(&self, by: Taker, event: NodeNoticed) -> Result<Vec<ClusterEvent>, Rejection> {
        if self.phase == Phase::Absent {
            return Err(Rejection::Absent);
        }
        if by == Taker::User && self.spec.vm_priority == VmPriority::Dedicated {
            return Err(Rejection::Dedicated(self.name.clone()));
        }
        let node_id = event.node_id;
        match self.nodes.get(&node_id).map(|node| node.state) {
            None => Err(Rejection::NodeAbsent(node_id)),
            Some(NodeState::Ready) => Ok(vec![event.into()]),
            Some(NodeState::Noticed { .. }) => Ok(Vec::new()),
            // Nobody is there to be told, but from now on it is known that it goes.
            Some(NodeState::Requested) if by == Taker::Provider => Ok(vec![event.into()]),
            Some(NodeState::Requested) => Err(Rejection::NodeNotReady(node_id, "preparing")),
            Some(NodeState::Leaving | NodeState::Failing) => Err(Rejection::NodeNotReady(node_id, "leaving")),
        }
    }

    fn node_is_gone(&self, node_id: NodeId, end: NodeEnd, reason: &str, at_us: i64) -> Vec<ClusterEvent> {
        if !self.nodes.contains_key(&node_id) {
            return Vec::new();
        }
        let reason = reason.to_owned();
        vec![match end {
            NodeEnd::Released => NodeReleased { node_id, reason, at_us }.into(),
            NodeEnd::Preempted => NodePreempted { node_id, reason, at_us }.into(),
            NodeEnd::Failed => NodeFailed { node_id, reason, at_us }.into(),
        }]
    }
}

impl Decider for Cluster {
    type Command = Command;
    type Event = ClusterEvent;
    type Rejection = Rejection;

    fn decide(&self, command: &Command) -> Result<Vec<ClusterEvent>, Rejection> {
        let state_of = |node_id: &NodeId| self.nodes.get(node_id).map(|node| node.state);
        match command.clone() {
            Command::Put { workspace, name, spec, size, at_us } => match self.phase {
                Phase::Absent => Ok(vec![ClusterCreated { workspace, name, spec: *spec, size: *size, at_us }.into()]),
                Phase::Live => self.put(&workspace, &spec, at_us),
                Phase::Deleting => Err(Rejection::Deleting(name)),
            },
            Command::Rescale { change, at_us } => self.rescale(change, at_us),
            Command::Delete { used_by, at_us } => match self.phase {
                Phase::Absent => Err(Rejection::Absent),
                Phase::Live if !used_by.is_empty() => Err(Rejection::InUse { cluster: self.name.clone(), used_by }),
                Phase::Live => Ok(vec![ClusterDeleting { at_us }.into()]),
                Phase::Deleting => Ok(Vec::new()),
            },
            Command::FinishDelete { at_us } if self.phase == Phase::Deleting && self.nodes.is_empty() => {
                Ok(vec![ClusterDeleted { at_us }.into()])
            }
            Command::FinishDelete { .. } => Ok(Vec::new()),
            Command::RequestNode { node_id, token_sha256, reason, at_us } => {
                let room = self.nodes.len() < self.spec.scale.max_nodes as usize;
                if self.phase != Phase::Live || !room || self.nodes.contains_key(&node_id) {
                    return Ok(Vec::new());
                }
                let ordinal = self.next_ordinal;
                Ok(vec![NodeRequested { node_id, ordinal, token_sha256, reason, at_us }.into()])
            }
            Command::NodeIsReady { node_id, at_us } => match state_of(&node_id) {
                Some(NodeState::Requested) => Ok(vec![NodeReady { node_id, at_us }.into()]),
                _ => Ok(Vec::new()),
            },
            Command::Notice { node_id, by, deadline_us, reason, at_us } => {
                self.notice(by, NodeNoticed { node_id, deadline_us, reason, at_us })
            }
            Command::Leave { node_id, reason, at_us } => match state_of(&node_id) {
                Some(NodeState::Ready | NodeState::Requested) => {
                    Ok(vec![NodeLeaving { node_id, reason, at_us }.into()])
                }
                _ => Ok(Vec::new()),
            },
            Command::Fail { node_id, reason, at_us } => match state_of(&node_id) {
                Some(NodeState::Ready | NodeState::Requested) => {
                    Ok(vec![NodeFailing { node_id, reason, at_us }.into()])
                }
                _ => Ok(Vec::new()),
            },
            Command::NodeIsGone { node_id, end, reason, at_us } => Ok(self.node_is_gone(node_id, end, &reason, at_us)),
        }
    }

    fn evolve(&mut self, event: &ClusterEvent) {
        self.evolve_one(event);
    }
}
