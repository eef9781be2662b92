//! The shim: one small process per attempt that starts the command, waits for it, ends its whole tree and writes how it
//! ended.
//!
//! It has one thread, makes no connection and reads its orders from the attempt's folder, so it outlives the agent and
//! the server. It is a subreaper: whatever the command starts, in whatever session, is below the shim and cannot
//! escape. Its child gets SIGKILL when the shim dies (the parent-death signal follows the thread that forked: there is
//! only one).
//!
//! It is started by exec ([`shim_main`]) or forked by the node's shim server ([`shim_server_main`]); it cannot tell.

pub mod server;
mod stage;
mod tree;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use runtime::process::Identity;
use rustix::fs::{FlockOperation, OFlags};

use crate::folder;
use crate::record::{Exit, Plan};
pub use server::shim_server_main;
use stage::{Orders, Stage};

/// Between two tries to write down how it ended.
const WRITE_AGAIN: Duration = Duration::from_millis(500);

/// Runs the attempt whose folder this is; returns when its command and everything below it are gone and `exit.json` is
/// written.
pub fn shim_main(folder: &Path) -> ExitCode {
    if run_noted(folder) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the attempt; what went wrong is noted, and false.
fn run_noted(folder: &Path) -> bool {
    let log = folder.join(folder::SHIM_LOG);
    std::panic::set_hook(Box::new(move |panic| note(&log, &panic.to_string())));
    match run(folder) {
        Ok(()) => true,
        Err(error) => {
            note(&folder.join(folder::SHIM_LOG), &format!("{}: {error}", folder.display()));
            false
        }
    }
}

/// It has no standard error: a file for that would be made for every attempt, and stay empty.
fn note(log: &Path, text: &str) {
    if let Ok(mut log) = OpenOptions::new().create(true).append(true).mode(0o600).open(log) {
        let _ = writeln!(log, "{text}");
    }
}

fn run(folder: &Path) -> io::Result<()> {
    let Some(_lock) = lock(folder)? else { return Ok(()) };
    if folder.join(folder::SHIM_PID).exists() {
        // A shim was here before: the command may have run, and must not run twice.
        return Ok(());
    }
    // Fails only for the leader of a group, which then has a session or group of its own.
    let _ = rustix::process::setsid();
    let own = Identity::own()?;
    folder::write_json(&folder.join(folder::SHIM_PID), &own)?;
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(own.pid))?;
    let plan: Plan = folder::read_json(&folder.join(folder::PLAN))?.ok_or_else(|| io::Error::other("no plan.json"))?;
    let control = open_control(folder)?;
    let mut orders = Orders::new(folder, control);
    let exit = carry_out(folder, &plan, &mut orders, own.pid);
    write_exit(folder, &serde_json::to_vec(&exit)?)
}

/// Writes how it ended, which nobody else knows. What the disk refuses (it is full) is written as soon as there is
/// room, unless the folder goes; the agent ends this wait when the attempt is to stop.
fn write_exit(folder: &Path, exit: &[u8]) -> io::Result<()> {
    let mut is_noted = false;
    loop {
        match folder::write_durably(&folder.join(folder::EXIT), exit) {
            Err(error) if folder.is_dir() => {
                if !std::mem::replace(&mut is_noted, true) {
                    note(&folder.join(folder::SHIM_LOG), &format!("exit.json is tried again: {error}"));
                }
                std::thread::sleep(WRITE_AGAIN);
            }
            written => return written,
        }
    }
}

/// The Python environment and the preparation, if any, and then the command.
fn carry_out(folder: &Path, plan: &Plan, orders: &mut Orders<'_>, own: i32) -> Exit {
    let before = [(&plan.build, &plan.build_environment[..]), (&plan.prepare, &[])];
    for (argv, more) in before.into_iter().filter(|(argv, _)| !argv.is_empty()) {
        let exit = Stage { folder, plan, name: "preparing", phase: "prepare", argv, more, own }.run(orders);
        if !exit.is_success() || exit.stopped || exit.preempted {
            return exit;
        }
    }
    Stage { folder, plan, name: "running", phase: "run", argv: &plan.command, more: &[], own }.run(orders)
}

/// The lock that makes a second shim of the same attempt go away; held until the process ends.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    // For both ways: a network file system locks nothing for itself alone that is only read.
    let file = OpenOptions::new().read(true).write(true).open(folder.join(folder::PLAN))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opened for both ways, so that it never reads as closed when a writer goes.
fn open_control(folder: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(folder.join(folder::CONTROL))
}
