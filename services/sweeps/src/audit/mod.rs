//! Goes through a sweep's history from its first event, recomputes every suggestion and every decision from it alone,
//! and notes what differs. `verify` shows the differences, `why` what was found about one trial.

mod explain;
mod findings;
mod model;
mod replay;
mod verification;

pub(crate) use explain::explanation;
#[cfg(test)]
pub(crate) use replay::Audit;
pub(crate) use replay::audit;
pub(crate) use verification::verification;
