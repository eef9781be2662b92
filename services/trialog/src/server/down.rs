//! `trialog down`: the end of an installation on this machine.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use runtime::process::Identity;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;

use super::databases;

/// How long a server may take to end: it answers what it has begun.
const SERVER_WAIT_SECONDS: i64 = 30;
/// The longest that jobs are given: a day, long enough for any checkpoint.
const GRACE_SECONDS_MAX: f64 = 86_400.0;

/// Flags of `trialog down`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The data folder whose server, nodes and jobs are ended; default: that of .trialog.toml, ./trialog-data.
    #[arg(long, env = "TRIALOG_DATA")]
    data: Option<PathBuf>,
    /// How long jobs may take to save what they have, in seconds; they are told as at a preemption, and the next
    /// `trialog up` queues them again.
    #[arg(long, default_value = "10", value_parser = grace)]
    grace_seconds: Duration,
}

fn grace(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=GRACE_SECONDS_MAX).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("seconds from 0 to {GRACE_SECONDS_MAX}"))
}

/// The data folder where none is named.
const DATA_FOLDER: &str = "./trialog-data";

/// Ends the server, then its agents, then the jobs. Nothing is lost: the data folder is as after a crash. `usual` is
/// the data folder that the folder's own settings name.
pub async fn down(arguments: Arguments, usual: Option<PathBuf>) -> anyhow::Result<()> {
    let Arguments { data, grace_seconds: grace } = arguments;
    let data = data.or(usual).unwrap_or_else(|| PathBuf::from(DATA_FOLDER));
    let data = data.canonicalize().with_context(|| format!("the data folder {}", data.display()))?;
    let root = data.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let server = end_server(&data)?;
        Ok::<_, anyhow::Error>((server, agent::take_down(&data.join("nodes"), grace)?))
    });
    let (server, ended) = ended.await??;
    let server = if server { "the server" } else { "no server" };
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (agents, jobs) = (counted(ended.agents, "agent"), counted(ended.attempts, "job"));
    runtime::print_line(format_args!("{}: ended {server}, {agents}, {jobs}", root.display()));
    // One that was killed leaves its last commits beside its databases: a copy of the files alone would lack them.
    databases::write_back(&root).await
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
    let server: Identity = serde_json::from_value(facts)
        .context("run/server.json does not say which process the server is; end it with the trialog that started it")?;
    // Of that very process: its number may be another's by now, when it was killed and the next one starts.
    let handle = server.handle().context("the server that announced itself is gone, and another starts; try again")?;
    rustix::process::pidfd_send_signal(&handle, Signal::TERM)?;
    let limit = Timespec { tv_sec: SERVER_WAIT_SECONDS, tv_nsec: 0 };
    if rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))? == 0 {
        rustix::process::pidfd_send_signal(&handle, Signal::KILL)?;
        rustix::event::poll(&mut [PollFd::new(&handle, PollFlags::IN)], None)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::server::folder::DataFolder;

    #[test]
    fn nobody_is_ended_who_only_has_the_number_of_a_server_that_was_killed() {
        // Numbers of processes come again: it could be the database of somebody else.
        let folder = tempfile::tempdir().unwrap();
        let starting = DataFolder::open(folder.path()).unwrap();
        let mut bystander = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        for start in [serde_json::json!({}), serde_json::json!({ "start": 1 })] {
            let mut stale = serde_json::json!({ "pid": bystander.id(), "url": "http://127.0.0.1:1" });
            stale.as_object_mut().unwrap().extend(start.as_object().unwrap().clone());
            std::fs::write(folder.path().join("run/server.json"), stale.to_string()).unwrap();
            end_server(folder.path()).unwrap_err();
            assert!(bystander.try_wait().unwrap().is_none(), "it was ended: {stale}");
        }
        let identity = Identity::of(i32::try_from(bystander.id()).unwrap()).unwrap();
        std::fs::write(folder.path().join("run/server.json"), serde_json::to_string(&identity).unwrap()).unwrap();
        // Awaited beside, so that it does not stay as a zombie.
        let reaper = std::thread::spawn(move || bystander.wait().unwrap());
        assert!(end_server(folder.path()).unwrap());
        assert_eq!(reaper.join().unwrap().signal(), Some(15));
        drop(starting);
    }

    #[test]
    fn the_grace_is_bounded_before_anything_is_ended() {
        for text in ["1e19", "86401", "-1", "nan", "soon"] {
            assert_eq!(grace(text), Err("seconds from 0 to 86400".to_owned()), "{text}");
        }
        assert_eq!((grace("0"), grace("2.5")), (Ok(Duration::ZERO), Ok(Duration::from_millis(2_500))));
    }
}
