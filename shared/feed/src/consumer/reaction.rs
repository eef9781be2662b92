//! What a service does about another's facts.

use contracts::feed::Fact;
use futures_util::future::BoxFuture;

/// Why a fact could not be handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReactError {
    /// The follower's own log is overloaded or away: tried again without end, with growing waits.
    #[error("for now: {0}")]
    Transient(String),
    /// What the fact refers to is not there yet: tried again; after a while the lane is parked, and tried again from
    /// there by itself.
    #[error("waits: {0}")]
    Waits(String),
    /// Says something that this build does not know, from a newer service, which may be passed over: it is counted,
    /// and the lane goes on.
    #[error("unknown: {0}")]
    Unknown(String),
    /// Does not go through: after a few tries the lane is parked until somebody settles it.
    #[error("for good: {0}")]
    Poison(String),
}

impl From<vocabulary::Problem> for ReactError {
    fn from(problem: vocabulary::Problem) -> Self {
        if problem.passes_by_itself() {
            Self::Transient(problem.to_string())
        } else {
            Self::Poison(problem.to_string())
        }
    }
}

/// Where a fact goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it belongs to: facts of one lane are handled one after another, in order, and lanes beside each other.
    pub lane: String,
    /// Whether somebody waits for its effect. The effects of others are gathered for a moment, so that they share
    /// commits and stay out of the way of the calls that made them.
    pub is_urgent: bool,
}

impl Place {
    /// In a lane, at once.
    pub fn urgent(lane: impl Into<String>) -> Self {
        Self { lane: lane.into(), is_urgent: true }
    }
}

/// One story: a fact comes in, commands go out. Idempotent by construction.
pub trait Reaction: Send + Sync + 'static {
    /// The name of its cursor, e.g. `create_runs`.
    fn name(&self) -> &'static str;
    /// The service whose facts it follows.
    fn service(&self) -> &'static str;
    /// The fact's lane, and whether it is urgent.
    fn place(&self, fact: &Fact) -> Place {
        Place::urgent(&fact.stream)
    }
    /// Does what the fact calls for.
    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>>;
}

#[cfg(test)]
mod tests {
    use vocabulary::Problem;

    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_tried_without_end() {
        for status in [429, 502, 503, 504] {
            let error = ReactError::from(Problem::new(status, "Any", "of a test"));
            assert!(matches!(error, ReactError::Transient(_)), "{status}: {error:?}");
        }
        for status in [404, 409, 422, 500, 501, 505] {
            let error = ReactError::from(Problem::new(status, "Any", "of a test"));
            assert!(matches!(error, ReactError::Poison(_)), "{status}: {error:?}");
        }
    }
}
