//! What the engine works with.

use std::sync::Arc;

use crate::agents::Agents;
use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::orders::OrderMaker;
use crate::providers::Provider;

/// See the module.
pub(crate) struct Engine {
    /// What a plan leads to.
    pub commands: Commands,
    /// What is planned with.
    pub fleet: Arc<FleetState>,
    /// Whom orders go to.
    pub agents: Arc<Agents>,
    /// What agents are told.
    pub orders: OrderMaker,
    /// Who gives nodes.
    pub provider: Arc<dyn Provider>,
    /// Seals the secrets of nodes.
    pub signing_key: [u8; 32],
}
