//! How the parts of this process are: what `/readyz` asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Failures in a row of one task from which on its process is not ready: the first few are an overloaded moment or a
/// peer that starts; with waits that double, five take a few seconds.
pub const FAILURES_MAX: u32 = 5;

/// What is known of the parts of this process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<Name, State>>>,
}

/// The service that a part belongs to, and the part.
type Name = (String, String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Well,
    Failing { times: u32, reason: String },
    Halted { reason: String },
}

/// A part that keeps its process from being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwell {
    /// Which, e.g. `follow_trials`.
    pub part: String,
    /// Why: for logs and operators; it may name files and addresses.
    pub reason: String,
}

impl Health {
    /// Nothing is known yet: everything is well.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of a service, which says from now on how it is.
    pub fn part(&self, service: &str, name: &str) -> Part {
        let part = Part { health: self.clone(), name: (service.to_owned(), name.to_owned()) };
        part.set(State::Well);
        part
    }

    /// The parts of a service that keep it from being ready, and those of the process that belong to no service: it is
    /// ready in no service without them.
    pub fn unwell(&self, service: &str) -> Vec<Unwell> {
        let parts = self.parts();
        let parts = parts.iter().filter(|((of, _), _)| of == service || of.is_empty());
        let unwell = parts.filter_map(|((_, part), state)| match state {
            State::Failing { times, reason } if *times >= FAILURES_MAX => {
                Some(Unwell { part: part.clone(), reason: format!("failed {times} times in a row: {reason}") })
            }
            State::Halted { reason } => Some(Unwell { part: part.clone(), reason: reason.clone() }),
            State::Well | State::Failing { .. } => None,
        });
        unwell.collect()
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Name, State>> {
        // Whole after every statement that changes it.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's say in the health of its process.
#[derive(Clone, Debug)]
pub struct Part {
    health: Health,
    name: Name,
}

impl Part {
    /// It does what it should.
    pub fn well(&self) {
        self.set(State::Well);
    }

    /// What it had halted at is over; whether it does what it should is still to be seen. Failures count on.
    pub fn goes_on(&self) {
        let mut parts = self.health.parts();
        if let Some(state @ State::Halted { .. }) = parts.get_mut(&self.name) {
            *state = State::Well;
        }
    }

    /// It has run for a while; what has halted stays halted until it says otherwise.
    pub(crate) fn ran(&self) {
        let mut parts = self.health.parts();
        if let Some(state @ State::Failing { .. }) = parts.get_mut(&self.name) {
            *state = State::Well;
        }
    }

    /// It failed once more and is begun again. From [`FAILURES_MAX`] failures in a row on the process is not ready.
    pub fn failed(&self, reason: &str) {
        let mut parts = self.health.parts();
        let times = match parts.get(&self.name) {
            Some(State::Failing { times, .. }) => times.saturating_add(1),
            _ => 1,
        };
        parts.insert(self.name.clone(), State::Failing { times, reason: reason.to_owned() });
    }

    /// It cannot go on before somebody settles something: the process is not ready.
    pub fn halted(&self, reason: &str) {
        self.set(State::Halted { reason: reason.to_owned() });
    }

    /// It has ended as it should: nothing is asked of it any more.
    pub fn ended(&self) {
        self.health.parts().remove(&self.name);
    }

    fn set(&self, state: State) {
        self.health.parts().insert(self.name.clone(), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_fails_often_enough_makes_its_service_unwell_until_it_is_well() {
        let health = Health::new();
        let (follower, writer) = (health.part("runs", "follow_trials"), health.part("runs", "writer"));
        let names = |service: &str| health.unwell(service).into_iter().map(|unwell| unwell.part).collect::<Vec<_>>();
        for _ in 1..FAILURES_MAX {
            follower.failed("away");
            assert!(names("runs").is_empty(), "a few failures are an overloaded moment");
        }
        follower.failed("still away");
        writer.halted("deposed");
        assert_eq!(names("runs"), ["follow_trials", "writer"]);
        assert!(names("sweeps").is_empty(), "another service is as well as it was");
        assert_eq!(health.unwell("runs")[0].reason, format!("failed {FAILURES_MAX} times in a row: still away"));
        follower.well();
        writer.ended();
        assert!(names("runs").is_empty());
        follower.failed("again");
        assert!(names("runs").is_empty(), "what was well begins to count anew");
    }

    #[test]
    fn a_part_of_the_process_keeps_each_of_its_services_from_being_ready() {
        // Without its socket or its clock no service of a process does what it should.
        let health = Health::new();
        let (socket, _) = (health.part("", "grpc-socket"), health.part("runs", "writer"));
        (0..FAILURES_MAX).for_each(|_| socket.failed("taken"));
        for service in ["runs", "sweeps"] {
            assert_eq!(health.unwell(service).len(), 1, "{service}");
        }
    }

    #[test]
    fn what_was_halted_and_goes_on_is_not_well_before_it_says_so() {
        let health = Health::new();
        let follower = health.part("runs", "follow_trials");
        follower.halted("another log");
        follower.goes_on();
        assert!(health.unwell("runs").is_empty());
        for _ in 0..FAILURES_MAX {
            follower.failed("broke off");
            follower.goes_on();
        }
        assert_eq!(health.unwell("runs").len(), 1, "a source that opens and breaks off again and again");
    }
}
