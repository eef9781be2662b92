//! A folder for everything that a test makes, and the end of everything that names it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::processes;

/// How long killed processes may take to go.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a log that are shown when a test fails.
const LOG_SHOWN: usize = 6_000;

/// A temporary folder with a short path: Unix sockets below it have at most 107 bytes for their whole name.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// A new, empty folder.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("tl").rand_bytes(6).tempdir().expect("a temporary folder");
        let path = folder.keep().canonicalize().expect("the folder was just made");
        Self { path }
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file below it and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        let folder = path.parent().expect("a file below the home has a folder");
        fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

/// What others than its owner may read, write or enter in a folder, as `mode path`; links are not followed.
///
/// # Panics
/// When the folder cannot be read.
pub fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let facts = match fs::symlink_metadata(folder) {
        // A running server and its jobs remove files while this looks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return found,
        facts => facts.unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
    };
    let mode = facts.permissions().mode() & 0o777;
    if !facts.is_symlink() && mode & 0o077 != 0 {
        found.push(format!("{mode:o} {}", folder.display()));
    }
    if facts.is_dir() {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.for_each(|entry| found.extend(open_to_others(&entry.path())));
    }
    found
}

/// Shows the end of each log in the folder on the standard error.
pub(crate) fn show_logs_of(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    logs.sort();
    for path in logs {
        let bytes = fs::read(&path).unwrap_or_default();
        let shown = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_SHOWN)..]).into_owned();
        eprintln!("---- the end of {}\n{shown}", path.display());
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    /// Kills what names the folder and removes it. After a panic the logs are shown first; with TRIALOG_TEST_KEEP set
    /// the folder stays for a look.
    fn drop(&mut self) {
        if std::thread::panicking() {
            show_logs_of(&self.path);
        }
        let left = processes::kill_and_await(&self.path, END_PATIENCE);
        if !left.is_empty() {
            eprintln!("could not be killed: {left:?}");
        }
        if std::env::var_os("TRIALOG_TEST_KEEP").is_some() {
            eprintln!("kept: {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
