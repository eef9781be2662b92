//! The shim: one small process per attempt that starts the command, waits for it, ends its whole tree and writes how it
//! ended.
//!
//! It has one thread, makes no connection and reads its orders from the attempt's folder, so it outlives the agent and
//! the server. It is a subreaper: whatever the command starts, in whatever session, is below the shim and cannot
//! escape. Its child gets SIGKILL when the shim dies (the parent-death signal follows the thread that forked: there is
//! only one).

mod stage;
mod tree;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use runtime::process::Identity;
use rustix::fs::{FlockOperation, OFlags};

use crate::folder;
use crate::record::{Exit, Plan};
use stage::{Orders, Stage};

/// Runs the attempt whose folder this is; returns when its command and everything below it are gone and `exit.json` is
/// written.
pub fn shim_main(folder: &Path) -> ExitCode {
    match run(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{}: {error}\n", folder.display());
            let _ = std::fs::write(folder.join(folder::SHIM_LOG), text);
            ExitCode::FAILURE
        }
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
    folder::write_durably(&folder.join(folder::EXIT), &serde_json::to_vec(&exit)?)
}

/// The preparation, if any, and then the command.
fn carry_out(folder: &Path, plan: &Plan, orders: &mut Orders<'_>, own: i32) -> Exit {
    if !plan.prepare.is_empty() {
        let stage = Stage { folder, plan, name: "preparing", phase: "prepare", argv: &plan.prepare, own };
        let exit = stage.run(orders);
        if !exit.is_success() || exit.stopped || exit.preempted {
            return exit;
        }
    }
    Stage { folder, plan, name: "running", phase: "run", argv: &plan.command, own }.run(orders)
}

/// The lock that makes a second shim of the same attempt go away; held until the process ends.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(folder::SHIM_LOCK);
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path)?;
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
