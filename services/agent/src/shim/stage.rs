//! One stage of an attempt: a process is started, waited for, and told of stops and preemptions.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use runtime::Stopwatch;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use vocabulary::Clock;

use super::tree;
use crate::folder;
use crate::process;
use crate::record::{self, Exit, Plan, Preempt, Stop};

/// How long the shim sleeps at most: orphans are reaped and the size of the output is looked at in this rhythm.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of output that may wait on disk for an agent that does not come; older ones are given up beyond that.
const OUTPUT_WAITING_MAX: u64 = 256 << 20;
/// Bytes that are kept when output is given up.
const OUTPUT_KEPT: u64 = 64 << 20;
/// What shells answer when a command cannot be started.
const CANNOT_START: i32 = 127;

/// The orders that lie in the folder, and when the last of them falls due.
pub(super) struct Orders<'a> {
    folder: &'a Path,
    control: File,
    stop_seen: bool,
    preempt_seen: bool,
    since: Stopwatch,
    kill_at: Option<Duration>,
}

impl<'a> Orders<'a> {
    pub(super) fn new(folder: &'a Path, control: File) -> Self {
        Self { folder, control, stop_seen: false, preempt_seen: false, since: Stopwatch::start(), kill_at: None }
    }

    /// Reads what is new; true when the process is to be told.
    fn look(&mut self) -> bool {
        let mut bytes = [0; 64];
        while self.control.read(&mut bytes).is_ok_and(|count| count > 0) {}
        let mut tell = false;
        if !self.stop_seen
            && let Ok(Some(stop)) = folder::read_json::<Stop>(&self.folder.join(folder::STOP))
        {
            self.stop_seen = true;
            tell = true;
            self.kill_in(stop.grace());
        }
        if !self.preempt_seen
            && let Ok(Some(notice)) = folder::read_json::<Preempt>(&self.folder.join(folder::PREEMPT))
        {
            self.preempt_seen = true;
            tell = true;
            self.kill_in(notice.left());
        }
        tell
    }

    /// The earlier of two deadlines holds.
    fn kill_in(&mut self, wait: Duration) {
        let at = self.since.elapsed() + wait;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
    }

    fn is_due(&self) -> bool {
        self.kill_at.is_some_and(|at| self.since.elapsed() >= at)
    }

    fn sleep_for(&self) -> Duration {
        self.kill_at.map_or(TICK, |at| at.saturating_sub(self.since.elapsed()).min(TICK))
    }
}

fn now() -> String {
    runtime::MachineClock.now().to_string()
}

/// What is to be run.
pub(super) struct Stage<'a> {
    pub folder: &'a Path,
    pub plan: &'a Plan,
    /// In state.json: preparing | running.
    pub name: &'static str,
    /// In exit.json: prepare | run.
    pub phase: &'static str,
    pub argv: &'a [String],
    /// What it has in its environment beside what all have.
    pub more: &'a [(String, String)],
    /// The shim's own pid.
    pub own: i32,
}

impl Stage<'_> {
    /// Runs it to its end; afterwards nothing below the shim lives.
    pub(super) fn run(&self, orders: &mut Orders<'_>) -> Exit {
        let mut exit = Exit { phase: self.phase.to_owned(), started_at: now(), ..Exit::default() };
        orders.look();
        if !(orders.stop_seen || orders.preempt_seen) {
            let (unwritten, started) = self.begin();
            match started {
                Ok(child) => {
                    let end = self.wait(child, unwritten, orders);
                    (exit.exit_code, exit.signal) = (end.exit_code, end.signal);
                }
                Err(error) => {
                    exit.message = self.not_started(&error);
                    exit.exit_code = Some(CANNOT_START);
                }
            }
        }
        exit.stopped = orders.stop_seen;
        exit.preempted = orders.preempt_seen;
        tree::end(self.own);
        exit.ended_at = now();
        exit
    }

    /// Writes down that it runs, before it can do anything, and starts it: a program may stop its parent, and the time
    /// of one that nobody knows to run is not counted.
    fn begin(&self) -> (Option<record::Stage>, io::Result<Pid>) {
        let unwritten = self.note();
        (unwritten, self.start())
    }

    fn start(&self) -> io::Result<Pid> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(self.plan.environment.iter().chain(self.more).map(|(name, value)| (name, value)))
            .current_dir(&self.plan.working_folder)
            .stdin(Stdio::null())
            .stdout(output(&self.folder.join(folder::STDOUT))?)
            .stderr(output(&self.folder.join(folder::STDERR))?)
            .process_group(0);
        die_with_parent(&mut command, self.own);
        Ok(Pid::from_child(&command.spawn()?))
    }

    /// Writes down what runs; what the disk refuses comes back, to be written later: the command goes on without it.
    fn note(&self) -> Option<record::Stage> {
        let stage = record::Stage { phase: self.name.to_owned() };
        Some(stage).filter(|stage| self.write_state(stage).is_err())
    }

    fn write_state(&self, stage: &record::Stage) -> io::Result<()> {
        folder::write_json(&self.folder.join(folder::STATE), stage)
    }

    /// Tells the log why nothing runs, in the words of the system.
    fn not_started(&self, error: &io::Error) -> String {
        let program = self.argv.first().map_or("", String::as_str);
        let text = format!("cannot start '{program}' in {}: {error}", self.plan.working_folder.display());
        if let Ok(mut file) = output(&self.folder.join(folder::STDERR)) {
            let _ = writeln!(file, "trialog: {text}");
        }
        text
    }

    fn wait(&self, child: Pid, mut unwritten: Option<record::Stage>, orders: &mut Orders<'_>) -> tree::End {
        let handle = rustix::process::pidfd_open(child, PidfdFlags::empty()).ok();
        if orders.look() {
            process::signal_group(child.as_raw_pid(), Signal::TERM);
        }
        loop {
            if orders.is_due() {
                process::signal_group(child.as_raw_pid(), Signal::KILL);
                runtime::process::signal(child.as_raw_pid(), Signal::KILL);
                orders.kill_at = None;
            }
            sleep(handle.as_ref(), &orders.control, orders.sleep_for());
            if let Some(end) = tree::reap(child) {
                // It had ended before the orders came that may lie there now.
                return end;
            }
            if orders.look() {
                process::signal_group(child.as_raw_pid(), Signal::TERM);
            }
            unwritten = unwritten.filter(|stage| self.write_state(stage).is_err());
            for name in [folder::STDOUT, folder::STDERR] {
                give_up_old_output(&self.folder.join(name));
            }
        }
    }
}

/// Appending keeps what both stages and a restarted writer said in order, and lets the front be given back to the disk.
fn output(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Sleeps until the child has ended, an order has come, or the time is over.
fn sleep(child: Option<&OwnedFd>, control: &File, wait: Duration) {
    let mut waited = vec![PollFd::new(control, PollFlags::IN)];
    waited.extend(child.map(|child| PollFd::new(child, PollFlags::IN)));
    let wait = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        // A microsecond more, so that a deadline has passed when it wakes.
        tv_nsec: i64::from(wait.subsec_nanos().min(999_998_000)) + 1_000,
    };
    let _ = rustix::event::poll(&mut waited, Some(&wait));
}

#[expect(
    unsafe_code,
    reason = "the parent-death signal must be set between fork and exec, which std offers as unsafe only"
)]
fn die_with_parent(command: &mut Command, parent: i32) {
    let prepare = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let is_orphan = rustix::process::getppid().map(Pid::as_raw_pid) != Some(parent);
        // The shim may have died before the call above; then no signal comes any more.
        if is_orphan { Err(io::Error::from(rustix::io::Errno::SRCH)) } else { Ok(()) }
    };
    // SAFETY: both calls are plain system calls: they take no lock and allocate nothing, so they may run in a forked
    // child.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Gives the front of an output file back to the disk when far too much waits in it; the offsets of the rest stay.
fn give_up_old_output(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    /// Bytes of a block as stat counts them.
    const BLOCK: u64 = 512;
    let Ok(facts) = std::fs::metadata(path) else { return };
    if facts.blocks() * BLOCK > OUTPUT_WAITING_MAX {
        folder::free_front(path, facts.len().saturating_sub(OUTPUT_KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_written_down_before_it_can_do_anything() {
        // A script that stops its parent at once would run for ever: its time is counted from when it is known to run.
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { working_folder: folder.path().to_owned(), ..Plan::default() };
        let argv = ["/nowhere/program".to_owned()];
        let own = rustix::process::getpid().as_raw_pid();
        let stage =
            Stage { folder: folder.path(), plan: &plan, name: "running", phase: "run", argv: &argv, more: &[], own };
        // It never ran, so nothing was written after its start.
        let (unwritten, started) = stage.begin();
        assert!(unwritten.is_none() && started.is_err());
        let state = folder::read_json::<record::Stage>(&folder.path().join(folder::STATE)).unwrap();
        assert_eq!(state.map(|state| state.phase).as_deref(), Some("running"));
    }
}
