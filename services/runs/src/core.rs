//! What calls and reactions share.

use std::sync::Arc;

use eventlog::EventLog;
use runtime::Shutdown;
use vocabulary::{Clock, Entropy, RunId};

use crate::known_experiments::Known;
use crate::logs::Wake;
use crate::objects::Objects;

/// The log and what stands beside it.
pub(crate) struct Core {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub objects: Objects,
    pub wake: Wake,
    pub experiments: Known,
    pub shutdown: Shutdown,
}

impl Core {
    /// Tells the followers of a run's log that something has changed.
    pub fn changed(&self, run: RunId) {
        self.wake.wake(run);
    }
}
