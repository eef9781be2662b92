//! Processes of nodes: those that belong to one, and their end without leaving any behind.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use runtime::Stopwatch;
use runtime::process::{self, Identity};
use rustix::process::Signal;

/// How often a search for what is left of a node is repeated, since a killed process may just have forked.
const SEARCHES_MAX: u32 = 400;
/// Between two searches: a killed process needs a moment to go.
const SEARCH_PAUSE: Duration = Duration::from_millis(5);

/// Makes the command's process the head of a session, so that it neither gets the terminal's signals nor ends with
/// the server's.
#[expect(unsafe_code, reason = "the session is made between fork and exec, which std offers as unsafe only")]
pub(super) fn in_own_session(command: &mut tokio::process::Command) {
    // SAFETY: setsid is a plain system call: it takes no lock and allocates nothing, so it may run in a forked child.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(|_| ()).map_err(io::Error::from));
    }
}

/// Ends what runs on a node, its shims and jobs, and its agent unless that is `spared`. It is first given `grace` to
/// end by itself. Blocks until nothing is found.
pub(super) fn end_node(
    node_id: &str,
    (folder, executable): (&Path, &Path),
    spared: Option<Identity>,
    grace: Duration,
) -> anyhow::Result<()> {
    let mut left = Vec::new();
    let (watch, mut searches) = (Stopwatch::start(), 0);
    while searches < SEARCHES_MAX {
        left = of_node(node_id, folder, executable);
        left.retain(|pid| spared.is_none_or(|agent| agent.pid != *pid));
        if left.is_empty() {
            return Ok(());
        }
        if watch.elapsed() >= grace {
            searches += 1;
            left.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
        }
        std::thread::sleep(SEARCH_PAUSE);
    }
    anyhow::bail!("processes of the node do not go away: {left:?}")
}

/// Whether attempts lie in a node's folder of which runs may not have everything: their ends are not acknowledged.
pub(super) fn has_undelivered(folder: &Path) -> bool {
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut attempts = below(&folder.join("jobs")).flat_map(|job| below(&job).collect::<Vec<_>>());
    // The order is emptied once its end is acknowledged; older agents have removed it.
    let has_order = |attempt: &Path| fs::metadata(attempt.join("job.json")).is_ok_and(|facts| facts.len() > 0);
    attempts.any(|attempt| has_order(&attempt) && !attempt.join("acknowledged").exists())
}

/// The living processes of a node: those whose environment names it, and processes of our executable that work in its
/// folder.
pub(super) fn of_node(node_id: &str, folder: &Path, executable: &Path) -> Vec<i32> {
    let own = rustix::process::getpid().as_raw_pid();
    let variable = format!("TRIALOG_NODE_ID={node_id}");
    let belongs = |pid: &i32| {
        let named = process::environment(*pid).iter().any(|word| word == variable.as_bytes());
        named || (runs(*pid, executable) && mentions(*pid, node_id, folder))
    };
    process::all().filter(|pid| *pid != own).filter(belongs).filter(|pid| process::lives(*pid)).collect()
}

/// Whether the process runs our executable, which may have been replaced since.
fn runs(pid: i32, executable: &Path) -> bool {
    let Ok(running) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let running = running.as_os_str().as_bytes();
    running.strip_suffix(b" (deleted)").unwrap_or(running) == executable.as_os_str().as_bytes()
}

fn mentions(pid: i32, node_id: &str, folder: &Path) -> bool {
    is_of_node(&process::command_line(pid), node_id, folder)
}

/// Whether argv is that of the node's agent, of its shim server or of a shim in its folder. A client command that only
/// speaks of the node is a bystander.
fn is_of_node(argv: &[Vec<u8>], node_id: &str, folder: &Path) -> bool {
    let folder = folder.as_os_str().as_bytes();
    let is_inside =
        |word: &[u8]| word.strip_prefix(folder).is_some_and(|rest| rest.first().is_none_or(|next| *next == b'/'));
    match argv.get(1).map(Vec::as_slice) {
        Some(b"agent") => argv.iter().any(|word| word == node_id.as_bytes()),
        Some(b"shim" | b"shim-server") => argv.iter().any(|word| is_inside(word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bystanders_are_not_taken_for_a_part_of_the_node() {
        // `trialog node preempt spot NODE` runs our executable and names the node; it must survive what it asks for.
        let is_of_node = |line: &str| {
            let argv: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            is_of_node(&argv, "node_1", Path::new("/data/nodes/node_1"))
        };
        assert!(is_of_node("trialog agent --node node_1 --folder /data/nodes/node_1 --compute unix:/s"));
        assert!(is_of_node("trialog shim /data/nodes/node_1/jobs/job_1/1"));
        assert!(is_of_node("trialog shim-server /data/nodes/node_1 ____"));
        assert!(!is_of_node("trialog shim-server /data/nodes/node_12 ____"));
        assert!(!is_of_node("trialog node preempt spot node_1"));
        assert!(!is_of_node("trialog agent --node node_2 --folder /data/nodes/node_2 --compute unix:/s"));
        assert!(!is_of_node("trialog shim /data/nodes/node_12/jobs/job_1/1"));
    }
}
