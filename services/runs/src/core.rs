//! What calls and reactions share.

use std::sync::Arc;

use contracts::CallContext;
use eventlog::EventLog;
use jiff::Timestamp;
use runtime::Shutdown;
use tokio::sync::{Notify, RwLock};
use vocabulary::{Clock, Entropy, RunId, token};

use crate::known_experiments::Known;
use crate::logs::Wake;
use crate::objects::Objects;
use crate::run::Writer;

/// The log and what stands beside it.
pub(crate) struct Core {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub objects: Objects,
    /// Since when this process writes the log.
    pub opened_at: Timestamp,
    /// Held to read by whoever finds an object there and then writes down who has or names it, and to write by whoever
    /// removes what nobody names: what was acknowledged as there is not removed behind the answer.
    pub naming: RwLock<()>,
    /// Asks for what was released to be looked through.
    pub released: Notify,
    pub wake: Wake,
    pub experiments: Known,
    pub shutdown: Shutdown,
    /// Proves who is the agent of a node.
    pub signing_key: [u8; 32],
}

impl Core {
    /// Who writes with a call.
    pub fn writer(&self, call: &CallContext) -> Writer {
        if let Some(node) = &call.node
            && token::is_node_secret(&node.node_id, &node.secret, &self.signing_key)
        {
            return Writer::Agent(node.node_id.clone());
        }
        call.attempt.as_ref().map_or(Writer::Client, |bearer| Writer::Attempt(bearer.attempt))
    }

    /// Tells the followers of a run's log that something has changed.
    pub fn changed(&self, run: RunId) {
        self.wake.wake(run);
    }
}
