//! Who may write a log that several processes can reach: the holder of a lease, which it renews.
//!
//! The lease says who should write, and where it is found; what is safe does not depend on it: each write is fenced by
//! the log's epoch, which only goes up, in the transaction of its rows (Kleppmann, "How to do distributed locking",
//! 2016, on fencing tokens). The time is the database's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use vocabulary::Clock;

/// How long a lease is good for without being renewed. A holder that was killed is replaced after it.
#[cfg(any(feature = "postgres", test))]
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How often it is renewed: two renewals may fail before it is over.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// A holder that could not renew for so long answers nothing any more: two thirds of the lease, so that its clock may
/// run much slower than the database's before another one answers at the same time.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// A process that writes logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name, which no other process has: a start under the same name goes on with its leases.
    pub name: String,
    /// Where its services are reached, for those that forward to it; empty when it is for itself.
    pub address: String,
    /// The services that keep files with it: nobody else can go on with their logs.
    pub keeps_files_of: &'static [&'static str],
}

/// When a lease was renewed last, for those that answer on its ground.
pub(crate) struct Renewed {
    clock: Arc<dyn Clock>,
    /// Microseconds of the clock; [`NEVER_OVER`] where nobody else can write.
    at_us: AtomicI64,
}

/// In the place of a time: the log needs no lease.
const NEVER_OVER: i64 = i64::MAX;

impl Renewed {
    /// A lease that was asked for at a time of a clock that never jumps; `None` where there is none.
    pub fn new(clock: Arc<dyn Clock>, held_since: Option<i64>) -> Self {
        Self { clock, at_us: AtomicI64::new(held_since.unwrap_or(NEVER_OVER)) }
    }

    /// It was renewed by a request that was sent then.
    pub fn put(&self, sent_us: i64) {
        self.at_us.fetch_max(sent_us, Ordering::Release);
    }

    /// How long ago that was, when it is longer than an answer may rest upon.
    pub fn over_since(&self) -> Option<Duration> {
        let at_us = self.at_us.load(Ordering::Acquire);
        let age = self.clock.now_us().saturating_sub(at_us);
        let age = Duration::from_micros(u64::try_from(age).unwrap_or_default());
        (at_us != NEVER_OVER && age > GOOD_FOR).then_some(age)
    }
}

#[cfg(test)]
mod tests {
    use vocabulary::ManualClock;

    use super::*;

    #[test]
    fn a_lease_is_over_for_its_holder_before_it_is_for_others_and_a_log_without_one_never() {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let (leased, alone) = (Renewed::new(clock.clone(), Some(0)), Renewed::new(clock.clone(), None));
        clock.advance_us(2_000_000);
        assert_eq!(leased.over_since(), None);
        clock.advance_us(500_000);
        assert!(leased.over_since().is_some_and(|age| age > GOOD_FOR && age < LEASE));
        leased.put(2_400_000);
        assert_eq!(leased.over_since(), None);
        leased.put(0);
        assert_eq!(leased.over_since(), None, "an older answer that comes late changes nothing");
        assert_eq!(alone.over_since(), None);
    }
}
