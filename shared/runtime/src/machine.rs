//! The only place that reads the machine's clock and its randomness.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rand::Rng;
use uuid::Uuid;
use vocabulary::{Clock, Entropy};

/// The machine's clock, in microseconds. It may be set back by the machine; what must not go back is made so where it
/// is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that everything else is handed")]
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The machine's randomness.
#[derive(Debug, Default)]
pub struct MachineEntropy {
    last_ms: AtomicI64,
}

impl Entropy for MachineEntropy {
    /// A UUIDv7 whose milliseconds never go back in this process.
    fn uuid(&self) -> Uuid {
        let now = MachineClock.now().as_millisecond();
        let before = self.last_ms.fetch_max(now, Ordering::Relaxed);
        let millis = u64::try_from(now.max(before)).unwrap_or_default();
        let mut random = [0; 10];
        self.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn seed(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Measures a span on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    #[expect(clippy::disallowed_methods, reason = "spans are measured on the monotonic clock, which is read here only")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The span since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
