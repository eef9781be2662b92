//! Ending a node whose server is gone and does not come back: its agent first, so that nothing is started again, then
//! its jobs, which are told as if their node was taken away: they may save what they have. What is left on the disk is
//! taken up by the next server as it would be after a crash.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::Stopwatch;
use runtime::process::Identity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use vocabulary::Clock;

use crate::folder;
use crate::process;
use crate::record::Preempt;

/// How long an agent may take to end: it only closes its connection.
const AGENT_WAIT: Duration = Duration::from_secs(5);

/// What was ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// Agents.
    pub agents: usize,
    /// Attempts of jobs.
    pub attempts: usize,
}

/// Ends everything that runs of the nodes below a folder, `DATA/nodes`. Jobs have `grace` to save what they have.
/// Blocks until nothing runs.
///
/// # Errors
/// When a job cannot be told.
pub fn take_down(nodes: &Path, grace: Duration) -> io::Result<Down> {
    let folders: Vec<PathBuf> = match std::fs::read_dir(nodes) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut down = Down::default();
    let agents: Vec<Identity> = folders.iter().filter_map(|folder| living_agent(folder)).collect();
    for agent in &agents {
        runtime::process::signal(agent.pid, Signal::TERM);
    }
    down.agents = agents.len();
    await_all(agents, AGENT_WAIT);
    let deadline = runtime::MachineClock.now() + grace;
    let mut shims = Vec::new();
    for (_, _, attempt) in folders.iter().flat_map(|folder| process::attempts_on_disk(folder)) {
        let shim = folder::read_json::<Identity>(&attempt.join(folder::SHIM_PID)).ok().flatten();
        let Some(shim) = shim.filter(|shim| shim.lives()) else { continue };
        let path = attempt.join(folder::PREEMPT);
        if !path.exists() {
            let reason = "the installation is taken down".to_owned();
            let deadline = deadline.to_string();
            folder::write_json(&path, &Preempt { deadline, reason, seconds_left: None, taken_down: true })?;
            folder::poke(&attempt);
        }
        shims.push(shim);
    }
    down.attempts = shims.len();
    // The shims themselves keep the deadline.
    await_all(shims, grace + AGENT_WAIT);
    folders.iter().for_each(|folder| process::kill_node(folder));
    Ok(down)
}

fn living_agent(folder: &Path) -> Option<Identity> {
    Identity::read(&folder.join("agent.pid")).filter(|agent| agent.lives())
}

/// Waits until all have ended; those that have not by then are killed.
fn await_all(processes: Vec<Identity>, patience: Duration) {
    let watch = Stopwatch::start();
    for one in processes {
        let Some(handle) = one.handle() else { continue };
        let left = patience.saturating_sub(watch.elapsed());
        let limit = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let ended = rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit));
        if !ended.is_ok_and(|ready| ready > 0) {
            one.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_ended_and_was_not_asked_for_its_end_is_not_ended_again() {
        // The agent of a server that was killed stays as a zombie where nobody reaps it: it is no agent any more.
        let nodes = tempfile::tempdir().unwrap();
        let mut agent = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(i32::try_from(agent.id()).unwrap()).unwrap();
        identity.ended().await.unwrap();
        let node = nodes.path().join("node_1");
        std::fs::create_dir(&node).unwrap();
        std::fs::write(node.join("agent.pid"), identity.to_string()).unwrap();
        assert!(identity.exists());
        assert_eq!(take_down(nodes.path(), Duration::ZERO).unwrap(), Down::default());
        agent.wait().unwrap();
    }
}
