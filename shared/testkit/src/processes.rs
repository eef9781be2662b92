//! What runs on this machine for a data folder: found in `/proc` by the folder's path in a command line or an
//! environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::Stopwatch;
use rustix::process::{Pid, PidfdFlags, Signal};

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `trialog up` or `trialog serve`.
    Server,
    /// The agent of a node.
    Agent,
    /// The shim of an attempt.
    Shim,
    /// What forks the shims of a node.
    ShimServer,
    /// A client command.
    Client,
    /// Anything else: what a job runs.
    Job,
}

/// A process that lives.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// What it is.
    pub kind: Kind,
    /// Its command line.
    pub words: Vec<String>,
}

impl Process {
    /// The folder of the attempt that a shim runs.
    pub fn attempt_folder(&self) -> Option<PathBuf> {
        self.words.get(2).filter(|_| self.kind == Kind::Shim).map(PathBuf::from)
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        if let Some(pid) = Pid::from_raw(self.pid) {
            // It may have ended since it was seen; then there is nothing to do.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// Every living process, but this one, whose command line or environment names the folder. Zombies do not count.
pub fn processes_of(folder: &Path) -> Vec<Process> {
    let needle = folder.as_os_str().as_encoded_bytes();
    let own = rustix::process::getpid().as_raw_pid();
    let mut found: Vec<Process> = runtime::process::all()
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let command_line = command_line_of(pid)?;
            let names_it = holds(&command_line, needle)
                || fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| holds(&environment, needle));
            names_it.then(|| process(pid, &command_line))
        })
        .collect();
    name_the_unborn(&mut found);
    found.sort_by_key(|process| (process.kind, process.pid));
    found
}

/// None for a zombie or a thread of the kernel. A process in the middle of an exec has a program, but no command line
/// for some microseconds: it is asked again, else it would be missed.
fn command_line_of(pid: i32) -> Option<Vec<u8>> {
    loop {
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        if !command_line.is_empty() {
            return Some(command_line);
        }
        fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        std::thread::yield_now();
    }
}

/// A child between fork and exec still has its parent's command line: it is what it will become, not a second shim.
fn name_the_unborn(found: &mut [Process]) {
    let known: Vec<(i32, Vec<String>)> = found.iter().map(|process| (process.pid, process.words.clone())).collect();
    for process in found.iter_mut() {
        let parent = runtime::process::parent_of(process.pid);
        if known.iter().any(|(pid, words)| Some(*pid) == parent && *words == process.words) {
            process.kind = Kind::Job;
        }
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && bytes.windows(needle.len()).any(|window| window == needle)
}

fn process(pid: i32, command_line: &[u8]) -> Process {
    let words: Vec<String> = command_line
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .filter(|word| !word.is_empty())
        .collect();
    let is_ours = words.first().is_some_and(|program| program.rsplit('/').next() == Some("trialog"));
    let kind = match words.get(1).map(String::as_str) {
        Some("up" | "serve") if is_ours => Kind::Server,
        Some("agent") if is_ours => Kind::Agent,
        Some("shim") if is_ours => Kind::Shim,
        Some("shim-server") if is_ours => Kind::ShimServer,
        _ if is_ours => Kind::Client,
        _ => Kind::Job,
    };
    Process { pid, kind, words }
}

/// Kills whatever names the folder until nothing does; what is left after `patience`.
pub fn kill_and_await(folder: &Path, patience: Duration) -> Vec<Process> {
    let watch = Stopwatch::start();
    loop {
        let left = processes_of(folder);
        if left.is_empty() || watch.elapsed() > patience {
            return left;
        }
        left.iter().for_each(Process::kill);
        for process in &left {
            await_end(process.pid, patience.saturating_sub(watch.elapsed()));
        }
    }
}

/// Lets a process stand still, as on a machine that swaps or in a virtual one that is paused; `false` lets it go on.
/// One that has ended stays as it is.
pub fn freeze(pid: u32, stands_still: bool) {
    let signal = if stands_still { Signal::STOP } else { Signal::CONT };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Waits until a process is gone, whoever's child it is; false after `patience`.
pub(crate) fn await_end(pid: i32, patience: Duration) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let mut waited = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    rustix::event::poll(&mut waited, Some(&limit)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_process_is_found_by_its_environment_and_killed() {
        // A job's command line need not name the folder: only its environment does.
        let folder = tempfile::tempdir().unwrap();
        // `spawn` may return in the middle of the exec; the word on its output says that it runs.
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo here; read never"])
            .env("WHERE", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut word = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut word).unwrap();
        let found = processes_of(folder.path());
        assert_eq!(found.iter().map(|process| process.kind).collect::<Vec<_>>(), [Kind::Job], "{found:?}");
        let reaper = std::thread::spawn(move || child.wait());
        assert!(kill_and_await(folder.path(), Duration::from_secs(5)).is_empty());
        assert_eq!(reaper.join().unwrap().unwrap().signal(), Some(9));
        drop(input);
    }

    #[test]
    fn kinds_are_told_by_the_command_line() {
        let kind = |line: &str| process(1, line.replace(' ', "\0").as_bytes()).kind;
        assert_eq!(kind("/b/trialog up --data /d"), Kind::Server);
        assert_eq!(kind("/b/trialog agent --node n"), Kind::Agent);
        assert_eq!(kind("/b/trialog shim /d/1"), Kind::Shim);
        assert_eq!(kind("/b/trialog shim-server /d/nodes/n"), Kind::ShimServer);
        assert_eq!(kind("/b/trialog sweep list"), Kind::Client);
        assert_eq!(kind("/bin/sh -c x"), Kind::Job);
    }
}
