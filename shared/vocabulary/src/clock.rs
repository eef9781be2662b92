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
