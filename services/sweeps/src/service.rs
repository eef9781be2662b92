//! What the calls and the reactions of the service share.

use std::sync::Arc;

use eventlog::EventLog;
use tokio::sync::Semaphore;
use tuning::Proposal;
use vocabulary::{Clock, Entropy, RunId};

use crate::document::ServerLimits;
use crate::sweep::{Made, NewTrial, Planned, ProposalBasis};
use crate::tuner::Tuners;

/// What each of them needs.
#[derive(Clone)]
pub(crate) struct Core {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub limits: ServerLimits,
    pub tuners: Tuners,
    /// Turns of submissions that calculate their first trials.
    pub submissions: Arc<Semaphore>,
    /// What proposes where no model does.
    pub sampler: fn(&ProposalBasis, u32) -> (Vec<Planned>, bool),
}

impl Core {
    /// A proposal with the run that it is to have; `child` when it follows a donor.
    pub fn new_trial(&self, proposal: Proposal, made: Option<Made>, child: bool) -> NewTrial {
        NewTrial { run_id: RunId::new(self.entropy.uuid()), proposal, made, child }
    }
}
