//! What the calls and the reactions of the service share.

use std::sync::Arc;

use eventlog::EventLog;
use vocabulary::{Clock, Entropy};

use crate::document::ServerLimits;
use crate::sweep::{Planned, ProposalBasis};
use crate::tuner::Tuners;

/// What each of them needs.
#[derive(Clone)]
pub(crate) struct Core {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub limits: ServerLimits,
    pub tuners: Tuners,
    /// What proposes where no model does.
    pub sampler: fn(&ProposalBasis, u32) -> (Vec<Planned>, bool),
}
