//! The folder of an attempt, `jobs/<job>/<attempt>/` below the node's: the names of its files and the ways they are
//! written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The order as it came, with the run's token; empty once the end is acknowledged.
pub const JOB: &str = "job.json";
/// What the shim is to do; locked by it as long as it lives, and empty once the end is acknowledged.
pub const PLAN: &str = "plan.json";
/// Who the shim is: pid and start time.
pub const SHIM_PID: &str = "shim.pid";
/// A FIFO whose bytes mean: look at `stop.json` and `preempt.json`.
pub const CONTROL: &str = "control";
/// What runs at present.
pub const STATE: &str = "state.json";
/// The order to stop.
pub const STOP: &str = "stop.json";
/// TRIALOG_PREEMPT_FILE.
pub const PREEMPT: &str = "preempt.json";
/// How the command ended.
pub const EXIT: &str = "exit.json";
/// TRIALOG_PARAMS_FILE.
pub const PARAMS: &str = "params.json";
/// What was reported to compute as the end.
pub const ENDED: &str = "ended.json";
/// The same file once compute has taken note of the end.
pub const ACKNOWLEDGED: &str = "acknowledged";
/// Which copy of what is kept of the best value stands; in the folder of the copies.
pub const BEST: &str = "best.json";
/// How far metrics have been sent.
pub const UPLINK: &str = "uplink.json";
/// How far logs have been sent.
pub const LOGS: &str = "logs.json";
/// Where a replica listens.
pub const READY: &str = "ready.json";
/// The command's standard output.
pub const STDOUT: &str = "stdout.log";
/// The command's standard error.
pub const STDERR: &str = "stderr.log";
/// What the agent has to say about the attempt; a log stream of its own.
pub const NOTICES: &str = "trialog.log";
/// What the shim has to say about itself, if anything.
pub const SHIM_LOG: &str = "shim.log";

/// Bytes: holes in files are made in whole pages.
const PAGE: u64 = 4096;

/// Below the node's folder.
pub fn of_attempt(node: &Path, job_id: &str, attempt: u32) -> PathBuf {
    node.join("jobs").join(job_id).join(attempt.to_string())
}

/// Whether a text may be one component of a path: ids come from elsewhere and must not lead out of their folder.
pub fn is_plain_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Writes a file so that a reader sees the old content or the new one, never a part. Only the owner may read it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, false)
}

/// Whether there is something in a file.
pub fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.len() > 0)
}

/// Takes away what is in a file, if there is one, and leaves it there: on some file systems every file that was removed
/// makes the next ones slower to make (ext4 without a journal looks for its place beyond all that were removed lately).
pub fn empty(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).truncate(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// As [`write_whole`], and on the disk before it returns.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, true)
}

fn replace(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    if sync {
        file.sync_data()?;
    }
    fs::rename(&beside, path)
}

/// Writes a value as JSON, whole.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write_whole(path, &serde_json::to_vec(value)?)
}

/// Reads a JSON file; `None` when there is none, or an empty one: what a crash of the machine may leave of a new file.
///
/// # Errors
/// When it cannot be read or is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what a sender has written down of its way. A damaged journal is set aside, and it begins anew: what was sent
/// before may be there twice then, which is less than everything that comes being lost.
///
/// # Errors
/// When it cannot be read, or not be set aside.
pub fn read_journal<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    match read_json(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let aside = path.with_extension("damaged");
            tracing::error!("{error}: it is set aside as {}, and what it was about is sent again", aside.display());
            fs::rename(path, aside)?;
            Ok(T::default())
        }
        read => read.map(Option::unwrap_or_default),
    }
}

/// Tells a living shim to look at its orders. Without a shim there is nobody to tell; it reads them when it starts.
pub fn poke(folder: &Path) {
    let control = OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(folder.join(CONTROL));
    if let Ok(mut control) = control {
        // A full pipe already holds bytes that will wake it.
        let _ = control.write(b"!");
    }
}

/// Appends one line to what the agent says about the attempt, until that has reached its bound.
pub fn notice(folder: &Path, text: &str) {
    /// Bytes: a script that reports nonsense in a loop must not fill the disk with our answers.
    const BOUND: u64 = 64 << 10;
    let path = folder.join(NOTICES);
    if fs::metadata(&path).is_ok_and(|facts| facts.len() > BOUND) {
        return;
    }
    let line = format!("trialog: {}\n", text.replace('\n', " "));
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).mode(0o600).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

/// Gives the front of a file back to the disk. Its length and all offsets stay; not every file system can do it.
pub fn free_front(path: &Path, length: u64) {
    let length = length / PAGE * PAGE;
    if length == 0 {
        return;
    }
    if let Ok(file) = OpenOptions::new().write(true).open(path) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = rustix::fs::fallocate(&file, flags, 0, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_journal_is_set_aside_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(UPLINK);
        assert_eq!(read_journal::<Vec<u64>>(&path).unwrap(), [0; 0], "none");
        fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_journal::<Vec<u64>>(&path).unwrap(), [1, 2]);
        fs::write(&path, "[1, 2").unwrap();
        assert_eq!(read_journal::<Vec<u64>>(&path).unwrap(), [0; 0]);
        assert!(!path.exists(), "the next start reads the new one");
        assert_eq!(fs::read_to_string(path.with_extension("damaged")).unwrap(), "[1, 2", "for whoever looks into it");
    }
}
