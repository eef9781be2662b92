//! The end of a test that would never end.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::processes;

/// How long killed processes may take to go.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// The exit status that Rust's test harness gives to failures.
const FAILED: i32 = 101;

/// Ends the whole test process, with all processes of a folder, unless it is dropped in time.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Starts to watch. `what` is said when the time is over.
    pub fn new(limit: Duration, folder: &Path, what: impl Into<String>) -> Self {
        let (alive, ended) = channel::<()>();
        let (folder, what): (PathBuf, String) = (folder.to_path_buf(), what.into());
        std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("watchdog: {what} did not end within {} s; these processes live:", limit.as_secs());
                for process in processes::processes_of(&folder) {
                    eprintln!("  {} {:?} {}", process.pid, process.kind, process.words.join(" "));
                }
                crate::home::show_logs_of(&folder);
                processes::kill_and_await(&folder, END_PATIENCE);
                std::process::exit(FAILED);
            }
        });
        Self { _alive: alive }
    }
}
