//! Processes of this machine, looked at through `/proc`: told apart from later ones of the same number, waited for and
//! ended.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from the boot to its start.
    pub start: u64,
}

impl fmt::Display for Identity {
    /// As in pid files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start)
    }
}

impl Identity {
    /// Of a process that exists.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start: Stat::of(pid)?.start })
    }

    /// Of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_pid();
        Self::of(pid).ok_or_else(|| io::Error::other("/proc/self/stat cannot be read"))
    }

    /// What a pid file says: the number and the start time.
    pub fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.split_ascii_whitespace();
        Some(Self { pid: words.next()?.parse().ok()?, start: words.next()?.parse().ok()? })
    }

    /// Whether that very process still exists: a zombie does, whose end nobody has asked for yet.
    pub fn exists(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether that very process still runs: a zombie does not.
    pub fn lives(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start == self.start && !stat.has_ended)
    }

    /// A handle of that very process if it still exists, which is readable once the process has ended.
    pub fn handle(self) -> Option<OwnedFd> {
        let handle = rustix::process::pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The handle came first, so it is of this very process if that exists now.
        self.exists().then_some(handle)
    }

    /// Sends SIGKILL to that very process; one that has gone is what we want.
    pub fn kill(self) {
        if let Some(handle) = self.handle() {
            let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
        }
    }

    /// Waits until that very process has ended; it need not be a child.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(self) -> io::Result<()> {
        match self.handle() {
            Some(handle) => readable(handle)?.readable().await.map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A descriptor that can be waited for until it is readable.
///
/// # Errors
/// When it is of a kind that cannot be waited for.
#[expect(deprecated, reason = "its successor is unsafe, for types that change their descriptor; an OwnedFd never does")]
pub fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// What `/proc/PID/stat` says.
struct Stat {
    has_ended: bool,
    parent: i32,
    start: u64,
}

impl Stat {
    /// The fields are counted after the name, which may hold anything.
    fn of(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let has_ended = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        Some(Self { has_ended, parent, start: fields.nth(17)?.parse().ok()? })
    }
}

/// Every process of this machine, in no order.
pub fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process runs: a zombie does not.
pub fn lives(pid: i32) -> bool {
    Stat::of(pid).is_some_and(|stat| !stat.has_ended)
}

/// The parent of a process.
pub fn parent_of(pid: i32) -> Option<i32> {
    Some(Stat::of(pid)?.parent)
}

/// The command line of a process, word by word; empty for one that is gone or another user's.
pub fn command_line(pid: i32) -> Vec<Vec<u8>> {
    words(&format!("/proc/{pid}/cmdline"))
}

/// The variables with which a process was started, `NAME=VALUE`; empty for one that is gone or another user's.
pub fn environment(pid: i32) -> Vec<Vec<u8>> {
    words(&format!("/proc/{pid}/environ"))
}

fn words(path: &str) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// Sends a signal; a process that has gone is what we want.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_told_apart_from_a_later_one_of_its_number() {
        // What is killed by its number alone may be anybody's process by then.
        let own = Identity::own().unwrap();
        assert!(own.exists() && own.lives());
        let earlier = Identity { start: own.start - 1, ..own };
        assert!(!earlier.exists() && !earlier.lives() && earlier.handle().is_none());
        // Were it taken for this one, this test would end here.
        earlier.kill();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        fs::write(&file, format!("{own}\n")).unwrap();
        assert_eq!(Identity::read(&file), Some(own));
        assert_eq!(Identity::read(folder.path()), None);
    }

    #[tokio::test]
    async fn a_killed_child_exists_until_somebody_asks_for_its_end_and_does_not_live() {
        // An agent that is a zombie is no agent; a shim that is one has its exit written already.
        let mut command = Command::new("cat");
        command.env("TRIALOG_NODE_ID", "node_1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // While a program takes a process over there is no command line: it answers once it has.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let identity = Identity::of(pid).unwrap();
        assert_eq!(parent_of(pid), Some(Identity::own().unwrap().pid));
        assert!(all().any(|other| other == pid) && lives(pid));
        assert_eq!(command_line(pid).first().unwrap(), b"cat");
        assert!(environment(pid).iter().any(|variable| variable == b"TRIALOG_NODE_ID=node_1"));
        identity.kill();
        identity.ended().await.unwrap();
        assert!(identity.exists() && !identity.lives() && !lives(pid));
        child.wait().unwrap();
        assert!(!identity.exists());
        identity.ended().await.unwrap();
    }
}
