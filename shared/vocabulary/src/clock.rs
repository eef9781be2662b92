//! Time and randomness as parameters. Nothing here reads the machine's clock: `runtime` has the two that do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use jiff::Timestamp;
use uuid::Uuid;

/// Where the time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, to the microsecond.
    fn now(&self) -> Timestamp;

    /// Microseconds since 1970, the form in which times are stored.
    fn now_us(&self) -> i64 {
        self.now().as_microsecond()
    }

    /// Since when, by a start or a standstill, others could be heard; whoever was to call before has a grace from then.
    fn listening_since(&self) -> Timestamp {
        Timestamp::MIN
    }
}

/// Time that passes as the monotonic clock says and never jumps: it nears the machine's clock by a twentieth of what
/// passes, at most. So a clock that is set by an hour is followed within a day, and what falls due does so in time.
#[derive(Clone, Copy, Debug)]
pub struct SteadyTime {
    elapsed_us: i64,
    shown_us: i64,
    since_us: i64,
}

impl SteadyTime {
    /// The part of what passes by which the machine's clock is followed.
    const FOLLOWED_PART: i64 = 20;
    /// Microseconds. A process that has not asked for the time for so long has stood still: all ask far more often.
    const STOOD_STILL_US: i64 = 90_000_000;

    /// Begins at the machine's time; `elapsed_us` is what the monotonic clock shows.
    pub fn new(elapsed_us: i64, machine_us: i64) -> Self {
        Self { elapsed_us, shown_us: machine_us, since_us: machine_us }
    }

    /// The time when the monotonic clock shows `elapsed_us` and the machine's clock `machine_us`.
    pub fn at(&mut self, elapsed_us: i64, machine_us: i64) -> i64 {
        let passed = elapsed_us.saturating_sub(self.elapsed_us).max(0);
        let straight = self.shown_us.saturating_add(passed);
        let most = passed / Self::FOLLOWED_PART;
        self.shown_us = straight.saturating_add(machine_us.saturating_sub(straight).clamp(-most, most));
        self.elapsed_us = self.elapsed_us.max(elapsed_us);
        if passed >= Self::STOOD_STILL_US {
            self.since_us = self.shown_us;
        }
        self.shown_us
    }

    /// What the monotonic clock showed then.
    pub fn elapsed_us(&self) -> i64 {
        self.elapsed_us
    }

    /// Nobody could be heard until now.
    pub fn listen_anew(&mut self) {
        self.since_us = self.shown_us;
    }

    /// The time as it was last shown.
    pub fn shown_us(&self) -> i64 {
        self.shown_us
    }

    /// See [`Clock::listening_since`].
    pub fn since_us(&self) -> i64 {
        self.since_us
    }
}

/// Where new ids and seeds come from.
pub trait Entropy: Send + Sync + 'static {
    /// A new version-7 UUID: time-ordered, unique.
    fn uuid(&self) -> Uuid;
    /// 64 random bits.
    fn seed(&self) -> u64;
    /// Fills `bytes` with random bits fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// A clock that stands still until it is moved. For tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.as_microsecond()))
    }

    /// Moves the clock forward by `by_us` microseconds.
    pub fn advance_us(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// Ids and seeds counted up from a start: the same every time. For tests and simulations, never for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    counter: AtomicU64,
    state: Mutex<u64>,
}

impl SeededEntropy {
    /// Starts the sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self { counter: AtomicU64::new(0), state: Mutex::new(seed) }
    }
}

impl Entropy for SeededEntropy {
    fn uuid(&self) -> Uuid {
        let count = self.counter.fetch_add(1, Ordering::SeqCst);
        let random = u128::from(self.seed());
        Uuid::from_u128((u128::from(count) << 80) | (7 << 76) | (0b10 << 62) | (random >> 2))
    }

    /// SplitMix64 (Steele, Lea and Flood 2014), one step.
    fn seed(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.seed().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    #[test]
    fn a_clock_that_is_set_moves_the_time_by_a_twentieth_of_what_passes() {
        // Otherwise every lease, timeout and heartbeat runs out at once when the machine's clock is corrected.
        for jump in [HOUR, -HOUR] {
            let mut time = SteadyTime::new(0, HOUR * 24);
            assert_eq!(time.at(10 * SECOND, HOUR * 24 + 10 * SECOND), HOUR * 24 + 10 * SECOND);
            let (mut before, mut elapsed) = (HOUR * 24 + 10 * SECOND, 10 * SECOND);
            for _ in 0..60 {
                elapsed += SECOND;
                let now = time.at(elapsed, HOUR * 24 + elapsed + jump);
                let passed = now - before;
                assert!((passed - SECOND).abs() <= SECOND / 20 && passed > 0, "{passed} us in a second");
                before = now;
            }
            assert_eq!(before, HOUR * 24 + elapsed + jump.signum() * 3 * SECOND);
            for _ in 0..20 * 60 {
                elapsed += 60 * SECOND;
                before = time.at(elapsed, HOUR * 24 + elapsed + jump);
            }
            assert_eq!(before, HOUR * 24 + elapsed + jump, "it arrives in the end");
        }
    }

    #[test]
    fn a_monotonic_clock_that_stands_still_stops_the_time() {
        let mut time = SteadyTime::new(5, 100);
        assert_eq!(time.at(5, 900), 100);
        assert_eq!(time.at(4, 900), 100, "nor does it go back");
    }

    #[test]
    fn a_process_that_stood_still_listens_anew() {
        // Whoever called meanwhile was not heard.
        let mut time = SteadyTime::new(0, HOUR);
        time.at(60 * SECOND, HOUR + 60 * SECOND);
        assert_eq!(time.since_us(), HOUR);
        let now = time.at(160 * SECOND, HOUR + 160 * SECOND);
        assert_eq!(time.since_us(), now);
    }
}
