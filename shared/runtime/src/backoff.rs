//! How long to wait before something is tried again.

use std::time::Duration;

use rand::RngExt;

use crate::Shutdown;

/// Waits that double from the shortest to the longest. Each is drawn from the upper half of its step, so that what
/// failed together (every follower of a server that was away, every agent of a lost connection) does not come back
/// together.
#[derive(Clone, Debug)]
pub struct Backoff {
    shortest: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet. The first wait is at most `shortest`, no wait is more than `longest`.
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, failures: 0 }
    }

    /// Counts a failure and says how long to wait after it.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).and_then(|factor| self.shortest.checked_mul(factor));
        self.failures = self.failures.saturating_add(1);
        let step = doubled.unwrap_or(self.longest).min(self.longest);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Failures since the beginning or the last reset.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// It went well: the next failure is a first one again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and waits.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }

    /// Counts a failure and waits; false when the process is to end instead.
    pub async fn wait_unless(&mut self, shutdown: &Shutdown) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.next_wait()) => true,
            () = shutdown.requested() => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(1000);

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again_after_a_reset() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        for step in [10, 20, 40, 80, 160, 320, 640, 1000, 1000].map(Duration::from_millis) {
            let wait = backoff.next_wait();
            assert!(wait >= step / 2 && wait <= step, "{wait:?} is not in the upper half of {step:?}");
        }
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
        assert!(backoff.next_wait() <= SHORTEST);
    }

    #[test]
    fn failures_without_end_wait_no_longer_than_the_longest() {
        let mut backoff = Backoff { failures: u32::MAX - 1, ..Backoff::new(SHORTEST, LONGEST) };
        for _ in 0..3 {
            let wait = backoff.next_wait();
            assert!(wait >= LONGEST / 2 && wait <= LONGEST, "{wait:?}");
        }
    }

    #[test]
    fn what_failed_together_does_not_come_back_together() {
        let waits: std::collections::BTreeSet<_> =
            (0..64).map(|_| Backoff::new(LONGEST, LONGEST).next_wait()).collect();
        assert!(waits.len() > 32, "{waits:?}");
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_process() {
        let shutdown = Shutdown::new();
        assert!(Backoff::new(SHORTEST, SHORTEST).wait_unless(&shutdown).await);
        shutdown.request();
        assert!(!Backoff::new(Duration::MAX, Duration::MAX).wait_unless(&shutdown).await);
    }
}
