//! A provider whose machines stand elsewhere: a site with a limited number of them, which outlives the provider, takes
//! nodes back when it is told to, and knows orders by their intents. What a batch system or a cluster of containers
//! is, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventlog::BoxFuture;
use tokio::sync::broadcast;
use vocabulary::NodeId;

use super::{AgentIs, Capabilities, FailureCause, NodeEvent, NodeOrder, Provider};
use crate::cluster;

/// What stands at the site.
#[derive(Default)]
struct Machines {
    /// Intents that were carried out or refused.
    intents: BTreeSet<NodeId>,
    up: BTreeSet<NodeId>,
    /// Nodes that went by themselves, and whether that was a preemption.
    gone: BTreeMap<NodeId, bool>,
    /// How often each was made.
    made: BTreeMap<NodeId, usize>,
}

/// Where the machines are.
pub(super) struct Site {
    capacity: usize,
    machines: Mutex<Machines>,
    events: broadcast::Sender<NodeEvent>,
}

impl Site {
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, machines: Mutex::default(), events: broadcast::Sender::new(64) })
    }

    pub fn is_up(&self, node_id: NodeId) -> bool {
        self.machines.lock().unwrap().up.contains(&node_id)
    }

    pub fn made(&self, node_id: NodeId) -> usize {
        self.machines.lock().unwrap().made.get(&node_id).copied().unwrap_or_default()
    }

    /// Somebody with more rights wants the machine.
    pub fn give_notice(&self, node_id: NodeId, deadline_us: i64) {
        let _ = self.events.send(NodeEvent::Notice { node_id, deadline_us, reason: "reclaimed".into() });
    }

    /// The machine goes.
    pub fn take(&self, node_id: NodeId, preempted: bool) {
        let mut machines = self.machines.lock().unwrap();
        machines.up.remove(&node_id);
        machines.gone.insert(node_id, preempted);
        let _ = self.events.send(lost(node_id, preempted));
    }
}

fn lost(node_id: NodeId, preempted: bool) -> NodeEvent {
    NodeEvent::Lost { node_id, preempted, reason: "the machine is gone".into() }
}

/// See the module.
pub(super) struct Scripted(pub Arc<Site>);

impl Scripted {
    fn carry_out(&self, machines: &mut Machines, order: &NodeOrder) {
        if !machines.intents.insert(order.intent) {
            return;
        }
        let fits = machines.up.len() + order.nodes.len() <= self.0.capacity;
        for node_id in order.nodes.iter().map(|node| node.node_id) {
            let event = if fits {
                machines.up.insert(node_id);
                *machines.made.entry(node_id).or_default() += 1;
                NodeEvent::Ready { node_id }
            } else {
                let reason = format!("the site has {} machines", self.0.capacity);
                NodeEvent::Failed { node_id, cause: FailureCause::Capacity, reason }
            };
            let _ = self.0.events.send(event);
        }
    }
}

impl Provider for Scripted {
    fn capabilities(&self, _: &cluster::Provider) -> Capabilities {
        Capabilities {
            up_within: Duration::from_secs(60),
            notice: Duration::from_secs(30),
            nodes_per_order_max: self.0.capacity,
        }
    }

    fn provision(&self, order: NodeOrder) {
        self.carry_out(&mut self.0.machines.lock().unwrap(), &order);
    }

    fn adopt(&self, orders: Vec<NodeOrder>) {
        let mut machines = self.0.machines.lock().unwrap();
        for order in orders {
            if !machines.intents.contains(&order.intent) {
                self.carry_out(&mut machines, &order);
                continue;
            }
            for node_id in order.nodes.iter().map(|node| node.node_id) {
                let event = match machines.up.contains(&node_id) {
                    true => NodeEvent::Ready { node_id },
                    false => lost(node_id, machines.gone.get(&node_id).copied().unwrap_or_default()),
                };
                let _ = self.0.events.send(event);
            }
        }
    }

    fn release(&self, node_id: NodeId, _: AgentIs) -> BoxFuture<'_, anyhow::Result<()>> {
        self.0.machines.lock().unwrap().up.remove(&node_id);
        Box::pin(std::future::ready(Ok(())))
    }

    fn collect(&self, _: NodeId, _: String) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn left(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn observe(&self) -> broadcast::Receiver<NodeEvent> {
        self.0.events.subscribe()
    }
}
