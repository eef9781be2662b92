//! Processes of attempts: those that belong to one, and the end of those that must not stay.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use runtime::process::{self, Identity};
use rustix::process::{Pid, Signal};

use crate::folder;

/// How often a search for leftovers is repeated, since a killed process may just have forked.
const SWEEPS_MAX: u32 = 200;
/// Between two searches: a killed process needs a moment to go.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// Everything below `root`, in no order. With a subreaper as the root nothing escapes from it.
pub fn descendants(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for pid in process::all() {
        if let Some(parent) = process::parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            open.push(child);
        }
    }
    found
}

/// Sends a signal to a process group.
pub fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group) {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// The living processes whose environment names the attempt. The shim's does not: only what it started.
pub fn of_attempt(run_id: &str, attempt: u32) -> Vec<i32> {
    let (run, number) = (format!("TRIALOG_RUN_ID={run_id}"), format!("TRIALOG_ATTEMPT={attempt}"));
    let names_it = |pid: &i32| {
        let environment = process::environment(*pid);
        let has = |wanted: &str| environment.iter().any(|variable| variable == wanted.as_bytes());
        has(&run) && has(&number)
    };
    process::all().filter(names_it).collect()
}

/// Kills what is left of an attempt whose shim is gone, until nothing is found. Blocks for some milliseconds.
pub fn kill_leftovers(run_id: &str, attempt: u32) {
    for _ in 0..SWEEPS_MAX {
        let left = of_attempt(run_id, attempt);
        if left.is_empty() {
            return;
        }
        for pid in left {
            process::signal(pid, Signal::KILL);
        }
        std::thread::sleep(SWEEP_PAUSE);
    }
    tracing::error!(run.id = run_id, attempt, "processes of an ended attempt do not go away");
}

/// Kills every shim of a node and all that they started: for a provider that takes a node away whose agent is dead
/// already.
pub fn kill_node(folder: &Path) {
    // First, so that nothing is forked any more. It ends with its agent, unless somebody has stopped it.
    shim_servers_of(folder).for_each(|pid| process::signal(pid, Signal::KILL));
    for (job_id, attempt, attempt_folder) in attempts_on_disk(folder) {
        if let Ok(Some(shim)) = folder::read_json::<Identity>(&attempt_folder.join(folder::SHIM_PID))
            && shim.exists()
        {
            shim.kill();
        }
        if let Ok(Some(order)) =
            folder::read_json::<contracts::compute::StartAttempt>(&attempt_folder.join(folder::JOB))
        {
            kill_leftovers(run_name(&order.run_id, &job_id), attempt);
        }
    }
}

fn shim_servers_of(folder: &Path) -> impl Iterator<Item = i32> {
    let names = [std::path::absolute(folder), folder.canonicalize()].map(|path| path.unwrap_or_default());
    process::all().filter(move |pid| {
        let words = process::command_line(*pid);
        let names_it = |word: &Vec<u8>| names.iter().any(|name| name.as_os_str().as_bytes() == word.as_slice());
        words.get(1).is_some_and(|word| word == b"shim-server") && words.get(2).is_some_and(names_it)
    })
}

/// The run's id, or the job's in jobs without a run: what the environment calls TRIALOG_RUN_ID.
pub fn run_name<'a>(run_id: &'a str, job_id: &'a str) -> &'a str {
    if run_id.is_empty() { job_id } else { run_id }
}

/// Job, attempt and folder of every attempt whose end is not acknowledged.
pub fn attempts_on_disk(node: &Path) -> Vec<(String, u32, std::path::PathBuf)> {
    let mut found = Vec::new();
    for job in fs::read_dir(node.join("jobs")).into_iter().flatten().flatten() {
        let Ok(job_id) = job.file_name().into_string() else { continue };
        for entry in fs::read_dir(job.path()).into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let path = entry.path();
            if let Some(number) = number
                && folder::is_filled(&path.join(folder::JOB))
            {
                found.push((job_id.clone(), number, path));
            }
        }
    }
    found
}
