//! A PostgreSQL server of a test's own, which it can kill.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::patience::await_that;

/// How long what was killed may take to be gone.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// It ends when it is dropped; its folder is its caller's.
#[derive(Debug)]
pub struct Database {
    folder: PathBuf,
    url: String,
}

impl Database {
    /// Starts one, with its cluster in a folder that its own user may reach.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path) -> Self {
        let url = run(folder, "up").unwrap_or_else(|why| panic!("{why}"));
        Self { folder: folder.to_owned(), url }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Ends it as a power failure would, and starts it again: it finds what it had acknowledged.
    ///
    /// # Panics
    /// When it does not run, or does not start again.
    pub fn kill_and_restart(&self) {
        let text = std::fs::read_to_string(self.folder.join("cluster/postmaster.pid")).expect("it runs");
        let first: i32 = text.lines().next().and_then(|line| line.parse().ok()).expect("its number");
        // Stopped, it begins no more children. They would notice its end by themselves, but not at once, and another
        // server does not begin while one of them lives.
        signal(first, Signal::STOP);
        let is_child = |pid: &i32| runtime::process::parent_of(*pid) == Some(first);
        let family: Vec<i32> = runtime::process::all().filter(is_child).chain([first]).collect();
        family.iter().for_each(|pid| signal(*pid, Signal::KILL));
        // What is dead and not fetched yet counts as alive for those that look by its number.
        let lives = |pid: &&i32| Path::new("/proc").join(pid.to_string()).exists();
        await_that(END_PATIENCE, || match family.iter().find(lives) {
            Some(pid) => Err(format!("{pid} lives")),
            None => Ok(()),
        });
        run(&self.folder, "up").unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(why) = run(&self.folder, "down") {
            eprintln!("{why}");
        }
    }
}

/// Sends a signal; who has ended meanwhile needs none.
fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn run(folder: &Path, what: &str) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/postgres-dev/postgres-dev");
    let ended = Command::new(script).arg(what).arg(folder).output().map_err(|error| format!("{script}: {error}"))?;
    if !ended.status.success() {
        return Err(format!("postgres-dev {what}: {}", String::from_utf8_lossy(&ended.stderr)));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}
