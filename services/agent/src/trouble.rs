//! What keeps a node from doing its work though its agent is well: runs refuses it, or is not reached. The agent says
//! it to compute, which shows it, until it is over: otherwise its trials would be starting for ever without a word.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::Stopwatch;
use tonic::{Code, Status};

/// How long runs may stay away before that is trouble: a restart or a take-over is over by then.
const AWAY: Duration = Duration::from_secs(10);

/// What was reported last, and since when there is something to say.
#[derive(Default)]
pub struct Trouble {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: Option<Stopwatch>,
    standing: String,
}

impl Trouble {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of an answer of runs, or of a failure that may pass; what is to be reported now, if that is news: an
    /// empty text when the trouble is over.
    pub fn note(&self, failure: Option<&Status>) -> Option<String> {
        let mut state = self.state();
        let Some(failure) = failure else {
            state.failing = None;
            let was = std::mem::take(&mut state.standing);
            return (!was.is_empty()).then(String::new);
        };
        let lasts = state.failing.get_or_insert_with(Stopwatch::start).elapsed() >= AWAY;
        let text = match failure.code() {
            Code::Unauthenticated | Code::PermissionDenied => format!("runs refuses its agent: {}", failure.message()),
            _ if lasts => format!("runs is not reached: {}", failure.message()),
            _ => return None,
        };
        // One text at a time: each of many calls that fail has its own.
        if !state.standing.is_empty() {
            return None;
        }
        state.standing.clone_from(&text);
        Some(text)
    }

    /// What stands, for whoever has not heard it.
    pub fn standing(&self) -> Option<String> {
        Some(self.state().standing.clone()).filter(|standing| !standing.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_at_once_and_once_and_its_end_too_and_what_passes_soon_is_not_said() {
        let (trouble, away) = (Trouble::default(), Status::unavailable("a restart"));
        assert_eq!(trouble.note(Some(&away)), None);
        assert_eq!((trouble.note(None), trouble.standing()), (None, None));
        let refused = Status::unauthenticated("the peer token is wrong");
        let standing = trouble.note(Some(&refused)).unwrap();
        assert!(standing.contains("refuses") && standing.contains("the peer token is wrong"), "{standing}");
        assert_eq!((trouble.note(Some(&refused)), trouble.standing()), (None, Some(standing)));
        assert_eq!((trouble.note(None), trouble.note(None)), (Some(String::new()), None));
    }
}
