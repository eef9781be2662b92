//! The suggestions that wait, apart from the model that makes them: an ask takes one although the model is busy.
//!
//! A suggestion assumes all proposals before it. So whatever was taken is remembered until the model has seen it in
//! the log, and a suggestion that assumed something else is not put in.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tuning::Draw;

use crate::sweep::Suggested;

/// See the module.
#[derive(Default)]
pub(super) struct Ready {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Suggested>,
    /// What was taken and the model has not seen in the log: numbers and draws.
    taken: Vec<(u32, Vec<Draw>)>,
    /// There is nothing to suggest for this number, nor after it.
    end: Option<u32>,
}

impl State {
    fn forget(&mut self) {
        self.queue.clear();
        self.end = None;
    }
}

impl Ready {
    /// The first suggestions, at most `most`, and the number for which there is none.
    pub fn peek(&self, most: usize) -> (Vec<Suggested>, Option<u32>) {
        let state = self.lock();
        (state.queue.iter().take(most).cloned().collect(), state.end)
    }

    /// How many wait, and how many endings the first of them knows.
    pub fn waiting(&self) -> (usize, Option<u32>) {
        let state = self.lock();
        (state.queue.len(), state.queue.front().map(|first| first.made.basis.known))
    }

    /// Whether there is nothing to suggest after what waits.
    pub fn is_exhausted(&self) -> bool {
        self.lock().end.is_some()
    }

    /// These got into the log, as far as their numbers are below `proposals`.
    pub fn took(&self, used: &[Suggested], proposals: u32) {
        let mut state = self.lock();
        for new in used.iter().filter(|new| new.number < proposals) {
            let draws = &new.proposal.draws;
            match state.queue.front() {
                Some(first) if first.number == new.number && first.proposal.draws == *draws => {
                    state.queue.pop_front();
                }
                // What waits was made anew meanwhile and assumes something else.
                Some(_) => state.forget(),
                None => {}
            }
            state.taken.push((new.number, draws.clone()));
        }
    }

    /// Puts a suggestion in, or the end of all, unless something else was taken than `assumed` says of a number from
    /// `logged` on.
    pub fn put(&self, next: Result<Suggested, u32>, logged: u32, assumed: &VecDeque<Vec<Draw>>) -> bool {
        let mut state = self.lock();
        let holds = |(number, draws): &(u32, Vec<Draw>)| {
            number.checked_sub(logged).is_none_or(|place| assumed.get(place as usize) == Some(draws))
        };
        if !state.taken.iter().all(holds) {
            state.forget();
            return false;
        }
        let number = match &next {
            Ok(suggested) => suggested.number,
            Err(end) => *end,
        };
        let follows = match (state.queue.back(), state.taken.last()) {
            (Some(last), _) => last.number + 1 == number,
            (None, Some((last, _))) => last.saturating_add(1) == number,
            (None, None) => number == logged,
        };
        if follows {
            match next {
                Ok(suggested) => state.queue.push_back(suggested),
                Err(end) => state.end = Some(end),
            }
        }
        follows
    }

    /// Puts the first of new suggestions in the place of all that wait, unless one of those was taken meanwhile: then
    /// they stay, and the new one assumed too little.
    pub fn replace(&self, next: Result<Suggested, u32>, logged: u32) -> bool {
        let mut state = self.lock();
        if state.taken.iter().any(|(number, _)| *number >= logged) {
            return false;
        }
        state.forget();
        match next {
            Ok(suggested) => state.queue.push_back(suggested),
            Err(end) => state.end = Some(end),
        }
        true
    }

    /// The model has seen the log up to here.
    pub fn seen(&self, logged: u32) {
        let mut state = self.lock();
        state.taken.retain(|(number, _)| *number >= logged);
        while state.queue.front().is_some_and(|first| first.number < logged) {
            state.queue.pop_front();
        }
    }

    /// Takes back what waits.
    pub fn clear(&self) {
        self.lock().forget();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tuning::Proposal;
    use tuning::bayes::Explained;

    use super::*;
    use crate::sweep::{Made, ModelBasis};

    fn suggested(number: u32, u: f64) -> Suggested {
        let draws = vec![Draw { name: "x".into(), u, value: u.into() }];
        let proposal = Proposal { draws, index: 0, redraw: 0 };
        let (basis, explained) = (ModelBasis::default(), Explained::default());
        Suggested { number, proposal, made: Made { basis, explained, waived: false } }
    }

    fn draws(of: &[&Suggested]) -> VecDeque<Vec<Draw>> {
        of.iter().map(|new| new.proposal.draws.clone()).collect()
    }

    #[test]
    fn a_suggestion_that_assumes_what_was_not_taken_is_not_put_in() {
        let ready = Ready::default();
        let (old, new, next) = (suggested(3, 0.1), suggested(3, 0.2), suggested(4, 0.3));
        assert!(ready.put(Ok(old.clone()), 3, &draws(&[&old])));
        let (taken, _) = ready.peek(1);
        // While the old one is on its way into the log, the model makes it anew.
        ready.clear();
        assert!(ready.put(Ok(new.clone()), 3, &draws(&[&new])));
        ready.took(&taken, 4);
        assert_eq!(ready.waiting().0, 0, "the new one is for a number that is gone");
        assert!(!ready.put(Ok(next.clone()), 3, &draws(&[&new, &next])), "it assumes the new one");
        assert!(ready.put(Ok(next.clone()), 3, &draws(&[&old, &next])));
        ready.seen(4);
        assert_eq!(ready.peek(9).0, [next]);
    }

    #[test]
    fn what_waits_can_be_taken_until_something_newer_takes_its_place() {
        let ready = Ready::default();
        let (old, next, new, newer) = (suggested(3, 0.1), suggested(4, 0.2), suggested(3, 0.3), suggested(4, 0.4));
        assert!(ready.put(Ok(old.clone()), 3, &draws(&[&old])));
        assert!(ready.put(Ok(next.clone()), 3, &draws(&[&old, &next])));
        ready.took(std::slice::from_ref(&old), 4);
        assert!(!ready.replace(Ok(new), 3), "the old one is in the log");
        assert_eq!(ready.peek(9).0, [next], "what follows on it stays");
        ready.seen(4);
        assert!(ready.replace(Ok(newer.clone()), 4));
        assert_eq!(ready.peek(9).0, [newer]);
    }

    #[test]
    fn numbers_follow_each_other_and_end() {
        let ready = Ready::default();
        let (a, b) = (suggested(0, 0.1), suggested(1, 0.2));
        assert!(!ready.put(Ok(b.clone()), 0, &draws(&[&a, &b])), "the first is missing");
        assert!(ready.put(Ok(a.clone()), 0, &draws(&[&a])) && ready.put(Ok(b.clone()), 0, &draws(&[&a, &b])));
        assert!(ready.put(Err(2), 0, &draws(&[&a, &b])));
        let (used, _) = ready.peek(2);
        // Only one of the two was allowed.
        ready.took(&used, 1);
        assert_eq!(ready.peek(5), (vec![b], Some(2)));
    }
}
