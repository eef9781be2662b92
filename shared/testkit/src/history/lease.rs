//! A trial of a sweep that others run: who holds it, and whom it still listens to.

use super::linearizable::Model;

/// What is asked about one trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseCall {
    /// A trial to run: this one, or, while nobody knows, perhaps this one.
    Ask,
    /// A sign of life of an attempt.
    Heartbeat {
        /// Which.
        attempt: u32,
    },
    /// A value of an attempt.
    Tell {
        /// Which.
        attempt: u32,
        /// The value, which says who told it.
        value: u64,
        /// Whether it is the last one, with which the trial ends.
        last: bool,
    },
    /// What is there?
    Read,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The trial is the asker's, as this attempt.
    Offered {
        /// Which.
        attempt: u32,
    },
    /// It was heard.
    Taken,
    /// A later attempt holds the trial.
    Stale {
        /// The one that does.
        current: u32,
    },
    /// The trial has ended.
    Ended,
    /// What is there.
    Found(LeaseState),
}

/// A trial.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseState {
    /// Who holds it; 0 before the first offer.
    pub attempt: u32,
    /// With which value it has ended.
    pub ended: Option<u64>,
}

/// Each (index, attempt) is offered once, one after the other; the newest attempt alone is heard, and nobody after the
/// end. A lease that has run out changes nothing by itself: its holder is heard until the trial is offered again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease;

impl Model for Lease {
    type State = LeaseState;
    type Call = LeaseCall;
    type Answer = LeaseAnswer;

    fn initial(&self, _: &str) -> LeaseState {
        LeaseState::default()
    }

    fn step(&self, state: &LeaseState, call: &LeaseCall, answer: Option<&LeaseAnswer>) -> Option<LeaseState> {
        let same = || Some(state.clone());
        let attempt = match call {
            LeaseCall::Read => {
                let is_right = answer.is_none_or(|answer| *answer == LeaseAnswer::Found(state.clone()));
                return is_right.then(|| state.clone());
            }
            LeaseCall::Ask => {
                let next = LeaseState { attempt: state.attempt + 1, ended: None };
                let is_right = answer.is_none_or(|answer| *answer == LeaseAnswer::Offered { attempt: next.attempt });
                return (state.ended.is_none() && is_right).then_some(next);
            }
            LeaseCall::Heartbeat { attempt } | LeaseCall::Tell { attempt, .. } => *attempt,
        };
        match answer {
            Some(LeaseAnswer::Stale { current }) => {
                if attempt < state.attempt && *current == state.attempt {
                    same()
                } else {
                    None
                }
            }
            Some(LeaseAnswer::Ended) => {
                if state.ended.is_some() && attempt >= state.attempt {
                    same()
                } else {
                    None
                }
            }
            Some(LeaseAnswer::Offered { .. } | LeaseAnswer::Found(_)) => None,
            None | Some(LeaseAnswer::Taken) if attempt != state.attempt || state.ended.is_some() => None,
            None | Some(LeaseAnswer::Taken) => match call {
                LeaseCall::Tell { value, last: true, .. } => Some(LeaseState { ended: Some(*value), ..state.clone() }),
                _ => same(),
            },
        }
    }
}
