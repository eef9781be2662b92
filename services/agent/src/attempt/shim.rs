//! Starting the shim of an attempt, or finding the one that runs, and waiting for it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use runtime::process::{self, Identity};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags};

use super::state::Attempt;
use crate::folder;
use crate::node::Node;
use crate::record::Exit;

/// Between the lock of a shim and its pid file lies one write; this is how often the latter is looked for.
const PID_WAIT: Duration = Duration::from_millis(2);

/// Runs the command by a shim, once whatever happens; how it ended, or `None` when the shim died and nobody knows.
pub async fn run(node: &Node, attempt: &Attempt) -> io::Result<Option<Exit>> {
    let folder = &attempt.folder;
    if !folder.join(folder::SHIM_PID).exists() {
        make_control(folder)?;
        if let Some(forked) = node.shims.fork(folder).await {
            wait_for(&forked.handle).await?;
            node.shims.reap(forked).await;
        } else {
            let mut child = start(node, folder)?;
            wait_for(&rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?).await?;
            // It has ended, so this only takes its status away.
            child.wait()?;
        }
    }
    // Either it was ours and has ended, or there is one of an earlier agent.
    loop {
        if let Some(exit) = folder::read_json::<Exit>(&folder.join(folder::EXIT))? {
            return Ok(Some(exit));
        }
        let Some(shim) = folder::read_json::<Identity>(&folder.join(folder::SHIM_PID))? else {
            if is_locked(folder)? {
                tokio::time::sleep(PID_WAIT).await;
                continue;
            }
            return folder::read_json(&folder.join(folder::EXIT));
        };
        // The last look comes after the shim was seen gone: what it wrote is there now.
        shim.ended().await?;
        return folder::read_json(&folder.join(folder::EXIT));
    }
}

fn make_control(folder: &Path) -> io::Result<()> {
    let control = folder.join(folder::CONTROL);
    match rustix::fs::mkfifoat(rustix::fs::CWD, &control, rustix::fs::Mode::from_raw_mode(0o600)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A shim of its own program, where there is no shim server.
fn start(node: &Node, folder: &Path) -> io::Result<std::process::Child> {
    let (program, arguments) =
        node.options.shim_command.split_first().ok_or_else(|| io::Error::other("no command to start a shim with"))?;
    // Nothing of the agent's environment goes on: it holds the node's token.
    Command::new(program)
        .args(arguments)
        .arg(folder)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// A pidfd is readable once its process has ended.
async fn wait_for(handle: &OwnedFd) -> io::Result<()> {
    let handle = process::readable(handle.try_clone()?)?;
    handle.readable().await?.retain_ready();
    Ok(())
}

/// Whether a shim holds the attempt.
fn is_locked(folder: &Path) -> io::Result<bool> {
    let file = match File::open(folder.join(folder::PLAN)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
