//! What the connections of agents work with.

use std::sync::Arc;

use super::registry::Agents;
use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::orders::OrderMaker;
use crate::serving::EndpointCommands;
use crate::wiring::NodeWiring;

/// See the module.
pub(crate) struct Desk {
    /// What reports lead to.
    pub commands: Commands,
    /// Who is connected, and what should run where.
    pub fleet: Arc<FleetState>,
    /// The other connections.
    pub agents: Arc<Agents>,
    /// What agents are told.
    pub orders: OrderMaker,
    /// Replicas that report.
    pub endpoints: EndpointCommands,
    /// Whom nodes speak to.
    pub wiring: NodeWiring,
}
