//! What was asked and answered, and in which order that was seen to happen.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

/// How an operation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion<A> {
    /// It was answered; a refusal that says something about the state is an answer, too.
    Answered(A),
    /// It certainly took no effect, now or later.
    Failed,
}

/// One call of one client.
#[derive(Clone, Debug)]
pub struct Operation<C, A> {
    /// Who called. A client has one operation at a time, until one of unknown outcome.
    pub client: usize,
    /// What it is about: operations of different keys do not know of each other.
    pub key: String,
    /// What was asked.
    pub call: C,
    /// Where its invocation stands among all invocations and completions.
    pub invoked: u64,
    /// Where its completion stands there, and what it was; `None` while the outcome is unknown, which it may stay.
    pub completed: Option<(u64, Completion<A>)>,
}

impl<C, A> Operation<C, A> {
    /// What it was answered, and when.
    pub fn answer(&self) -> Option<(u64, &A)> {
        match &self.completed {
            Some((at, Completion::Answered(answer))) => Some((*at, answer)),
            _ => None,
        }
    }

    /// Whether it certainly took no effect.
    pub fn has_failed(&self) -> bool {
        matches!(self.completed, Some((_, Completion::Failed)))
    }

    /// Whether it had ended before the other one began.
    pub fn precedes<D, B>(&self, other: &Operation<D, B>) -> bool {
        self.completed.as_ref().is_some_and(|(at, _)| *at < other.invoked)
    }
}

/// An operation that was begun and has not ended.
#[derive(Debug)]
#[must_use = "an operation that is not completed has an unknown outcome"]
pub struct Invocation(usize);

/// Takes down what several threads do. The order is that of one counter: an operation precedes another one when its
/// completion was counted before the other's invocation.
#[derive(Debug)]
pub struct Recorder<C, A> {
    taken: Mutex<Taken<C, A>>,
}

#[derive(Debug)]
struct Taken<C, A> {
    moments: u64,
    operations: Vec<Operation<C, A>>,
}

impl<C, A> Default for Recorder<C, A> {
    fn default() -> Self {
        Self { taken: Mutex::new(Taken { moments: 0, operations: Vec::new() }) }
    }
}

impl<C, A> Recorder<C, A> {
    /// To be called before anything is sent.
    pub fn invoke(&self, client: usize, key: &str, call: C) -> Invocation {
        self.with(|taken| {
            let invoked = taken.moment();
            taken.operations.push(Operation { client, key: key.to_owned(), call, invoked, completed: None });
            Invocation(taken.operations.len() - 1)
        })
    }

    /// To be called when the answer is there.
    pub fn complete(&self, invocation: Invocation, completion: Completion<A>) {
        self.with(|taken| {
            let at = taken.moment();
            if let Some(operation) = taken.operations.get_mut(invocation.0) {
                operation.completed = Some((at, completion));
            }
        });
    }

    /// Takes down an operation whose call is known only when it is answered: what was offered to whom. Its key and call
    /// are changed to what the answer says.
    pub fn complete_as(&self, invocation: Invocation, key: &str, call: C, completion: Completion<A>) {
        self.with(|taken| {
            if let Some(operation) = taken.operations.get_mut(invocation.0) {
                operation.key = key.to_owned();
                operation.call = call;
            }
        });
        self.complete(invocation, completion);
    }

    /// How many operations a key has so far.
    pub fn count(&self, key: &str) -> usize {
        self.with(|taken| taken.operations.iter().filter(|operation| operation.key == key).count())
    }

    /// Everything, in the order of invocation.
    pub fn operations(self) -> Vec<Operation<C, A>> {
        self.taken.into_inner().unwrap_or_else(PoisonError::into_inner).operations
    }

    fn with<T>(&self, work: impl FnOnce(&mut Taken<C, A>) -> T) -> T {
        work(&mut self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<C, A> Taken<C, A> {
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}
