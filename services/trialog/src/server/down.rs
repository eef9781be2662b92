//! `trialog down`: the end of an installation on this machine.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

/// How long a server may take to end: it answers what it has begun.
const SERVER_WAIT_SECONDS: i64 = 30;

/// Flags of `trialog down`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder whose server, nodes and jobs are ended.
    #[arg(long, default_value = "./trialog-data", env = "TRIALOG_DATA")]
    data: PathBuf,
    /// How long jobs may take to save what they have, in seconds; they are told as at a preemption, and the next
    /// `trialog up` queues them again.
    #[arg(long, default_value_t = 10.0)]
    grace_seconds: f64,
}

/// Ends the server, then its agents, then the jobs. Nothing is lost: the data folder is as after a crash.
pub async fn down(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { data, grace_seconds } = arguments;
    let data = data.canonicalize().with_context(|| format!("the data folder {}", data.display()))?;
    let grace = Duration::try_from_secs_f64(grace_seconds)
        .map_err(|error| anyhow::anyhow!("--grace-seconds {grace_seconds}: {error}"))?;
    tokio::task::spawn_blocking(move || {
        let server = end_server(&data)?;
        let ended = agent::take_down(&data.join("nodes"), grace)?;
        let server = if server { "the server" } else { "no server" };
        println!("{}: ended {server}, {} agents, {} jobs", data.display(), ended.agents, ended.attempts);
        Ok(())
    })
    .await?
}

/// Ends the server that holds the folder; false when there is none.
fn end_server(data: &Path) -> anyhow::Result<bool> {
    let path = data.join("run/lock");
    let lock = match OpenOptions::new().write(true).open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "{} is not the data folder of a trialog server: it has no run/lock; name it with --data",
                data.display()
            )
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    let flags = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    if rustix::fs::flock(&lock, flags).is_ok() {
        // Given back with the file: nobody runs here.
        return Ok(false);
    }
    let text = std::fs::read_to_string(data.join("run/server.json"))
        .context("a server holds the folder, but has not announced itself yet; try again")?;
    let facts: serde_json::Value = serde_json::from_str(&text).context("run/server.json")?;
    let pid = facts["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    let pid = pid.context("run/server.json names no process")?;
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    rustix::process::pidfd_send_signal(&handle, Signal::TERM)?;
    let limit = Timespec { tv_sec: SERVER_WAIT_SECONDS, tv_nsec: 0 };
    if rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? == 0 {
        rustix::process::pidfd_send_signal(&handle, Signal::KILL)?;
        rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], None)?;
    }
    Ok(true)
}
