//! The clock of a long-lived process: it begins at the machine's time and never jumps, see [`SteadyTime`]. All that
//! falls due in the process is compared with this one. It leaves its time in a file, so that a restart is no jump
//! either.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use vocabulary::{Clock, SteadyTime};

use crate::machine::MachineClock;
use crate::shutdown::Shutdown;

/// Between two times that are left in the file: what passes in between is known from the monotonic clock anyway.
const KEPT_EVERY: Duration = Duration::from_secs(60);
/// A restart whose machine's clock is further away than this, in microseconds, takes the machine's time: the clock was
/// plainly wrong before, and following it would take weeks.
const FOLLOWED_MAX_US: i64 = 24 * 3600 * 1_000_000;

/// See the module.
#[derive(Debug)]
pub struct SteadyClock {
    time: Mutex<SteadyTime>,
    file: Option<PathBuf>,
}

/// What the monotonic clock shows, which all processes share until the machine is started again. It counts the time in
/// which the machine slept too: a laptop that is closed every night would otherwise fall further behind each day.
fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000)
}

/// Tells one start of the machine from another.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl SteadyClock {
    /// Begins at the machine's time.
    pub fn start() -> Self {
        Self { time: Mutex::new(SteadyTime::new(monotonic_us(), MachineClock.now_us())), file: None }
    }

    /// Goes on from where an earlier process has left its time in the file; at the machine's time when there is none,
    /// the machine was started since, or its clock is a day away.
    pub fn continued(file: &Path) -> Self {
        let (monotonic_us, machine_us) = (monotonic_us(), MachineClock.now_us());
        let time = resumed(&fs::read_to_string(file).unwrap_or_default(), &boot_id(), monotonic_us, machine_us);
        Self { time: Mutex::new(time), file: Some(file.to_owned()) }
    }

    /// Leaves its time in the file from time to time, and at the end.
    ///
    /// # Errors
    /// When the file cannot be written; the caller begins again.
    pub async fn keep(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_requested() {
            self.leave()?;
            tokio::select! { () = tokio::time::sleep(KEPT_EVERY) => {}, () = shutdown.requested() => {} }
        }
        Ok(self.leave()?)
    }

    fn leave(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (monotonic_us, shown_us) = {
            let time = self.time();
            (time.elapsed_us(), time.shown_us())
        };
        let draft = file.with_extension("draft");
        fs::write(&draft, format!("{} {monotonic_us} {shown_us}\n", boot_id()))?;
        fs::rename(draft, file)
    }

    /// The time, brought up to now.
    fn time(&self) -> MutexGuard<'_, SteadyTime> {
        // Whole after every statement that changes it.
        let mut time = self.time.lock().unwrap_or_else(PoisonError::into_inner);
        time.at(monotonic_us(), MachineClock.now_us());
        time
    }
}

fn resumed(left: &str, boot: &str, monotonic_us: i64, machine_us: i64) -> SteadyTime {
    let fresh = SteadyTime::new(monotonic_us, machine_us);
    let words: Vec<&str> = left.split_ascii_whitespace().collect();
    let [left_boot, elapsed, shown] = words[..] else { return fresh };
    let (Ok(elapsed_us), Ok(shown_us)) = (elapsed.parse::<i64>(), shown.parse::<i64>()) else { return fresh };
    if left_boot != boot || boot.is_empty() || elapsed_us > monotonic_us {
        return fresh;
    }
    let mut time = SteadyTime::new(elapsed_us, shown_us);
    let now_us = time.at(monotonic_us, machine_us);
    time.listen_anew();
    if (now_us - machine_us).abs() > FOLLOWED_MAX_US { fresh } else { time }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.time().shown_us()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn listening_since(&self) -> Timestamp {
        Timestamp::from_microsecond(self.time().since_us()).unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const HOUR: i64 = 3600 * SECOND;

    #[test]
    fn a_restart_is_no_jump() {
        // The clock was set by an hour while the server ran: what falls due must not be early because it restarts.
        let noon = 1_800_000_000 * SECOND;
        let left = format!("boot {} {}", 100 * SECOND, noon);
        let time = resumed(&left, "boot", 110 * SECOND, noon + HOUR + 10 * SECOND);
        assert_eq!(time.shown_us(), noon + 10 * SECOND + SECOND / 2, "ten seconds, and a twentieth towards the clock");
        assert_eq!(time.since_us(), time.shown_us(), "nobody could be heard before");
        let machine_us = noon + HOUR;
        for (left, boot, monotonic_us) in [
            (left.as_str(), "another start of the machine", 110 * SECOND),
            (left.as_str(), "boot", 90 * SECOND),
            ("", "boot", 110 * SECOND),
            ("boot x y", "boot", 110 * SECOND),
            (&format!("boot {} {}", 100 * SECOND, noon - 30 * HOUR), "boot", 110 * SECOND),
        ] {
            assert_eq!(resumed(left, boot, monotonic_us, machine_us).shown_us(), machine_us, "{left} {boot}");
        }
    }

    #[tokio::test]
    async fn the_time_is_left_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clock");
        let (clock, shutdown) = (SteadyClock::continued(&file), Shutdown::new());
        shutdown.request();
        clock.keep(&shutdown).await.unwrap();
        let before = clock.now();
        let again = SteadyClock::continued(&file);
        let passed = again.now().duration_since(before).as_secs_f64();
        assert!((0.0..5.0).contains(&passed), "{passed} s");
        assert!(again.listening_since() >= before);
    }
}
