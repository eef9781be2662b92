//! Requests by answer, and how long they took: of each deployment, as long as it is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds in seconds: from what a small model takes to the longest time that a request may have.
pub const BUCKETS_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// What is counted of one deployment, or of an endpoint where no deployment had the request.
#[derive(Debug, Default)]
pub struct Counts(Mutex<Counted>);

/// The numbers.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// By status; there are as many as this crate answers with.
    pub answers: BTreeMap<u16, u64>,
    /// How many took at most so long, each alone; those above the last bound are in none.
    pub buckets: [u64; BUCKETS_SECONDS.len()],
    /// All of them together took so long.
    pub seconds: f64,
}

impl Counts {
    /// A request was answered.
    pub fn count(&self, status: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut counted = self.counted();
        *counted.answers.entry(status).or_default() += 1;
        counted.seconds += seconds;
        if let Some(place) = BUCKETS_SECONDS.iter().position(|bound| seconds <= *bound) {
            counted.buckets[place] += 1;
        }
    }

    /// A look at the numbers.
    pub fn counted(&self) -> MutexGuard<'_, Counted> {
        // Whole after every statement that changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    /// Takes the numbers of another one in.
    pub fn add(&mut self, other: &Self) {
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, more)| *bucket += more);
        self.seconds += other.seconds;
    }
}
