//! Reaping: who has ended below the shim, and the end of everything that is left.

use std::time::Duration;

use rustix::event::Timespec;
use rustix::process::{Pid, Signal, WaitOptions};

use crate::process;

/// Between two rounds of killing: the killed need a moment to go.
const ROUND_PAUSE: Duration = Duration::from_millis(1);

/// How a process ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
}

/// Reaps all that has ended, orphans too; the end of `child` when it is among them.
pub(super) fn reap(child: Pid) -> Option<End> {
    let mut end = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            end = Some(End { exit_code: status.exit_status(), signal: status.terminating_signal() });
        }
    }
    end
}

/// Kills everything below the shim and reaps it; returns when nothing is left.
///
/// A killed process's children become the shim's own, so each round sees what the one before set free.
pub(super) fn end(own: i32) {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            // Nothing is below us.
            Err(rustix::io::Errno::CHILD) => return,
            Err(_) | Ok(Some(_)) => continue,
            Ok(None) => {}
        }
        for pid in process::descendants(own) {
            runtime::process::signal(pid, Signal::KILL);
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(ROUND_PAUSE.subsec_nanos()) };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
}
