//! Why a command is refused.

use vocabulary::Problem;

use super::events::SweepEvent;

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such sweep.
    Absent,
    /// The sweep has no such trial.
    NoSuchTrial(u32),
    /// The sweep exists already, with other content.
    Exists,
    /// The limits or the state allow no proposal now, or it was made from an older state.
    NothingToPropose,
    /// A model proposes in this sweep, and what came with the command is not what it says now.
    NeedsSuggestion,
    /// Another reason, ready to be told.
    Refused(Box<Problem>),
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Absent => Self::new(404, "NotFound", "there is no such sweep"),
            Rejection::NoSuchTrial(index) => Self::new(404, "NotFound", format!("the sweep has no trial {index}")),
            Rejection::Exists => Self::conflict("SweepExists", "a sweep with this id exists"),
            Rejection::NothingToPropose => Self::conflict("NothingToPropose", "no proposal is allowed now"),
            Rejection::NeedsSuggestion => Self::unavailable("NoSuggestionYet", "the model is not ready; try again", 1),
            Rejection::Refused(problem) => *problem,
        }
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// Events, or why not.
pub(super) type Decided = Result<Vec<SweepEvent>, Rejection>;
