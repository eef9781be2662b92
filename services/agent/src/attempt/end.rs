//! How an attempt ended, in the words of the contract, and what stays of it afterwards.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use contracts::compute::JobEnd;
use vocabulary::Clock;
use vocabulary::job::TAKEN_DOWN;

use super::state::Attempt;
use crate::folder;
use crate::record::{Exit, FENCED, Preempt};
use crate::uplink::Mask;

/// Bytes of the standard error that go with the end.
const STDERR_TAIL_BYTES: u64 = 4 << 10;
/// Ended attempts whose logs a node keeps for a look; there may be [`ENDED_PER_LOOK`] more.
const ENDED_KEPT_MAX: usize = 200;
/// So many attempts end between two looks for those that are too many.
pub(super) const ENDED_PER_LOOK: usize = 50;
/// Bytes of each of their logs.
const ENDED_LOG_BYTES_MAX: u64 = 1 << 20;
/// Entries of a checkpoint folder that are looked at for the newest.
const CHECKPOINT_ENTRIES_MAX: usize = 10_000;

/// The end of an attempt. Without an exit its shim died, or it was stopped before it had one.
///
/// A stop goes before a preemption: what was canceled must not be queued again. A preemption goes before everything
/// else: a handler that saves and exits with 0 has not finished its training. An attempt that was fenced in its run is
/// lost, unless its node was to go anyway.
pub(super) fn of(attempt: &Attempt, exit: Option<&Exit>, clock: &dyn Clock) -> JobEnd {
    let file = |name: &str| attempt.folder.join(name);
    let stop = attempt.stop_order();
    let stopped = exit.map_or(stop.is_some(), |exit| exit.stopped);
    let fenced = stopped && stop.as_ref().is_some_and(|stop| stop.reason == FENCED);
    let noticed = attempt.is_noticed();
    let preempted = exit.map_or(noticed, |exit| exit.preempted || (fenced && noticed));
    let mut end = JobEnd {
        outcome: "completed".to_owned(),
        phase: exit.map_or("run", |exit| &exit.phase).to_owned(),
        exit_code: exit.and_then(|exit| exit.exit_code),
        signal: exit.and_then(|exit| exit.signal),
        stderr_tail: tail(&file(folder::STDERR), &attempt.mask),
        checkpoint_age_seconds: checkpoint_age(Path::new(&attempt.order.checkpoint_folder), clock),
        ..JobEnd::default()
    };
    if stopped && !fenced {
        let stop = stop.unwrap_or_default();
        end.outcome = "canceled".to_owned();
        end.by = stop.by;
        end.decision = stop.decision;
    } else if preempted {
        end.outcome = "preempted".to_owned();
        let notice = folder::read_json::<Preempt>(&file(folder::PREEMPT)).ok().flatten();
        if notice.is_some_and(|notice| notice.taken_down) {
            end.reason = TAKEN_DOWN.to_owned();
        }
    } else {
        match exit.filter(|_| !fenced) {
            None => (end.outcome, end.reason) = ("lost".to_owned(), "lost".to_owned()),
            Some(exit) if exit.is_success() => {}
            Some(exit) => {
                end.outcome = "failed".to_owned();
                end.reason = if exit.signal.is_some() { "signal" } else { "exit_code" }.to_owned();
            }
        }
    }
    end
}

/// The end of an attempt that could not be made ready.
pub(super) fn refused(reason: String) -> JobEnd {
    JobEnd {
        outcome: "failed".to_owned(),
        phase: "prepare".to_owned(),
        reason: "setup".to_owned(),
        stderr_tail: format!("trialog: {reason}"),
        ..JobEnd::default()
    }
}

fn tail(path: &Path, mask: &Mask) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(path)?;
        let length = file.metadata()?.len();
        // A secret of which only a part lies in the tail is seen as one.
        let wanted = STDERR_TAIL_BYTES + u64::try_from(mask.reach()).unwrap_or_default();
        file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes)?;
        mask.cover(&mut bytes);
        let surplus = bytes.len().saturating_sub(usize::try_from(STDERR_TAIL_BYTES).unwrap_or(usize::MAX));
        Ok(bytes.split_off(surplus))
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    // Replaced bytes may have made it longer.
    let surplus = text.len().saturating_sub(usize::try_from(STDERR_TAIL_BYTES).unwrap_or(usize::MAX));
    let start = (surplus..=text.len()).find(|place| text.is_char_boundary(*place)).unwrap_or(text.len());
    text[start..].to_owned()
}

/// Seconds since the newest file of the checkpoint was written.
fn checkpoint_age(folder: &Path, clock: &dyn Clock) -> Option<f64> {
    let (mut open, mut newest, mut seen) = (vec![folder.to_owned()], None, 0);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            let facts = entry.metadata().ok().filter(|_| seen <= CHECKPOINT_ENTRIES_MAX)?;
            if facts.is_dir() {
                open.push(entry.path());
            } else {
                newest = newest.max(facts.modified().ok());
            }
        }
    }
    let newest = jiff::Timestamp::try_from(newest?).ok()?;
    Some(clock.now().duration_since(newest).as_secs_f64().max(0.0))
}

/// After the acknowledgement: secrets and bulk go, logs stay for a look. What is small and no secret goes with the
/// whole folder ([`drop_oldest`]).
pub(super) fn clean_up(folder: &Path) -> io::Result<()> {
    // The tokens go first. Of the plan nothing is read any more once the end stands; with the order the attempt is
    // what a later agent would take up, to clean it up again.
    folder::empty(&folder.join(folder::PLAN))?;
    folder::empty(&folder.join(folder::JOB))?;
    for path in ["work", "model", "inputs", "outputs", "best"].map(|name| folder.join(name)) {
        if let Err(error) = remove_filled(&path) {
            // It is the job's, and no reason to hold its end up.
            tracing::warn!("{} stays on the disk: {error}", path.display());
        }
    }
    for name in [folder::STDOUT, folder::STDERR] {
        let path = folder.join(name);
        let length = fs::metadata(&path).map_or(0, |facts| facts.len());
        folder::free_front(&path, length.saturating_sub(ENDED_LOG_BYTES_MAX));
    }
    remove_short_socket(folder);
    // Whoever looks at all files of an attempt would wait at this one.
    let _ = fs::remove_file(folder.join(folder::CONTROL));
    fs::rename(folder.join(folder::ENDED), folder.join(folder::ACKNOWLEDGED))
}

/// Removes a folder that is there and not empty, also when the job took away the right to do so (module caches do).
fn remove_filled(path: &Path) -> io::Result<()> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

/// Gives the owner all rights to a folder and to those below it.
fn make_writable(path: &Path) -> io::Result<()> {
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&folder)?.flatten() {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A worker whose folder is too long for a socket has it in a short one, which a killed worker leaves behind.
fn remove_short_socket(folder: &Path) {
    /// As in `worker.py`.
    const SHORT_PREFIX: &str = "/tmp/trialog-";
    let address: Option<String> = folder::read_json(&folder.join(folder::READY)).ok().flatten();
    let socket = address.as_deref().and_then(|address| address.strip_prefix("unix:")).map(Path::new);
    let short = socket.and_then(Path::parent).filter(|short| short.to_string_lossy().starts_with(SHORT_PREFIX));
    if let Some((socket, short)) = socket.zip(short) {
        let _ = fs::remove_file(socket);
        // Only the empty folder of this one socket.
        let _ = fs::remove_dir(short);
    }
}

/// Removes the oldest of a node's ended attempts when there are too many of them. Looks at them all, so it is called
/// once for [`ENDED_PER_LOOK`] ends.
pub(super) fn drop_oldest(node: &Path) -> io::Result<()> {
    let mut ended: Vec<(std::time::SystemTime, PathBuf)> = Vec::new();
    for job in fs::read_dir(node.join("jobs"))?.flatten() {
        for attempt in fs::read_dir(job.path()).into_iter().flatten().flatten() {
            if !folder::is_filled(&attempt.path().join(folder::JOB)) {
                ended.push((attempt.metadata()?.modified()?, attempt.path()));
            }
        }
    }
    ended.sort();
    let surplus = ended.len().saturating_sub(ENDED_KEPT_MAX);
    for (_, path) in ended.into_iter().take(surplus) {
        remove_filled(&path)?;
        if let Some(job) = path.parent() {
            // Goes only when it was the job's last attempt.
            let _ = fs::remove_dir(job);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_its_job_has_locked_goes_too_and_holds_no_token_back() {
        // A module cache takes the right to write away from its folders, and who must remove them is not root.
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("work/a/b")).unwrap();
        for name in ["work/a/b/c", folder::JOB, folder::PLAN, folder::ENDED] {
            fs::write(path(name), "secret").unwrap();
        }
        for locked in ["work/a/b", "work/a"] {
            fs::set_permissions(path(locked), fs::Permissions::from_mode(0o500)).unwrap();
        }
        make_writable(&path("work")).unwrap();
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode("work/a"), mode("work/a/b")], [0o700, 0o700]);
        clean_up(folder.path()).unwrap();
        assert!(!path("work").exists() && path(folder::ACKNOWLEDGED).exists());
        assert!(!folder::is_filled(&path(folder::JOB)) && !folder::is_filled(&path(folder::PLAN)));
    }

    #[test]
    fn what_a_killed_worker_left_in_a_short_folder_goes_with_the_attempt() {
        // Each would stay in /tmp for ever; and nothing else there may go.
        let (node, short) =
            (tempfile::tempdir().unwrap(), tempfile::Builder::new().prefix("trialog-").tempdir_in("/tmp"));
        let (short, other) = (short.unwrap().keep(), tempfile::tempdir().unwrap());
        for (place, stays) in [(short.as_path(), false), (other.path(), true)] {
            let socket = place.join("worker.sock");
            fs::write(&socket, "").unwrap();
            let folder = node.path().join("jobs/job_a/1");
            fs::create_dir_all(&folder).unwrap();
            folder::write_json(&folder.join(folder::READY), &format!("unix:{}", socket.display())).unwrap();
            fs::write(folder.join(folder::ENDED), "{}").unwrap();
            clean_up(&folder).unwrap();
            assert_eq!(socket.exists(), stays, "{}", socket.display());
            assert_eq!(place.exists(), stays);
        }
    }
}
