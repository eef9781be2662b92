//! The agents that are connected: when they were heard, and the way to them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contracts::compute::AgentOrder;
use contracts::compute::agent_order::Order;
use runtime::Stopwatch;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use vocabulary::NodeId;

/// Orders that may wait for one agent to take them. An agent that lets more wait is cut off; it dials again and gets
/// what it needs.
pub(super) const ORDERS_WAITING_MAX: usize = 4096;

pub(crate) type OrderSender = mpsc::Sender<Result<AgentOrder, Status>>;

struct Connection {
    /// Tells this connection from an earlier one of the same node.
    number: u64,
    orders: OrderSender,
    last_contact: Stopwatch,
    /// Goes with the connection, by which whoever serves it learns that it ends.
    _open: oneshot::Sender<()>,
}

/// The connected agents.
#[derive(Default)]
pub(crate) struct Agents {
    connections: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    next: u64,
    open: HashMap<NodeId, Connection>,
}

impl Agents {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Whole after every statement that changes it.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection; an earlier one of the node ends. Answers its number, and what is ready once it is to
    /// end.
    pub fn open(&self, node_id: NodeId, orders: OrderSender) -> (u64, oneshot::Receiver<()>) {
        let mut registry = self.registry();
        registry.next += 1;
        let (number, (open, cut)) = (registry.next, oneshot::channel());
        let connection = Connection { number, orders, last_contact: Stopwatch::start(), _open: open };
        registry.open.insert(node_id, connection);
        (number, cut)
    }

    /// Forgets a connection; true when it was the node's current one.
    pub fn close(&self, node_id: NodeId, number: u64) -> bool {
        let mut registry = self.registry();
        let current = registry.open.get(&node_id).is_some_and(|connection| connection.number == number);
        current && registry.open.remove(&node_id).is_some()
    }

    pub fn touch(&self, node_id: NodeId, number: u64) {
        if let Some(connection) = self.registry().open.get_mut(&node_id)
            && connection.number == number
        {
            connection.last_contact = Stopwatch::start();
        }
    }

    /// Sends an order if the agent is connected. Nothing is lost if not: a new connection begins with what is needed.
    pub fn send(&self, node_id: NodeId, order: Order) -> bool {
        let mut registry = self.registry();
        let Some(connection) = registry.open.get(&node_id) else { return false };
        let sent = connection.orders.try_send(Ok(AgentOrder { order: Some(order) })).is_ok();
        if !sent {
            registry.open.remove(&node_id);
        }
        sent
    }

    /// Ends the connection of a node that is gone.
    pub fn drop_connection(&self, node_id: NodeId) {
        self.registry().open.remove(&node_id);
    }

    /// Ends all connections: each agent dials again, and is told anew what it must know.
    pub fn drop_all(&self) {
        self.registry().open.clear();
    }

    /// How long each connected agent has been silent.
    pub fn silences(&self) -> Vec<(NodeId, Duration)> {
        self.registry().open.iter().map(|(node, connection)| (*node, connection.last_contact.elapsed())).collect()
    }

    /// Nobody could be heard until now.
    pub fn excuse_silence(&self) {
        for connection in self.registry().open.values_mut() {
            connection.last_contact = Stopwatch::start();
        }
    }
}
