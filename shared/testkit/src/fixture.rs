//! Data folders that older builds wrote, with what those builds answered about them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Home;

/// A data folder as the binary of some commit left it; see `make.py` beside its files.
#[derive(Debug)]
pub struct Fixture {
    folder: PathBuf,
}

/// What an older binary answered to a GET.
#[derive(Debug)]
pub struct Recorded {
    /// The HTTP status.
    pub status: u16,
    /// The body of a 200; null otherwise.
    pub answer: Value,
}

impl Fixture {
    /// The one that the binary of this commit made.
    pub fn of(commit: &str) -> Self {
        Self { folder: Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/at-{commit}")) }
    }

    /// Unpacks a copy as the data folder `d` of a home, and returns what GETs answered by path below
    /// `/api/v1/workspaces`.
    ///
    /// # Panics
    /// When it cannot be unpacked.
    pub fn unpack(&self, home: &Home) -> BTreeMap<String, Recorded> {
        let packed = self.folder.join("data.tar.gz");
        let done = Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(home.path()).output();
        let done = done.unwrap_or_else(|error| panic!("tar: {error}"));
        assert!(done.status.success(), "{}: {}", packed.display(), String::from_utf8_lossy(&done.stderr));
        let answers = read(&home.join("answers.json"));
        let answers = answers.as_object().expect("answers by path");
        let recorded = |(path, entry): (&String, &Value)| {
            let status = entry["status"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
            (path.clone(), Recorded { status, answer: entry["answer"].clone() })
        };
        answers.iter().map(recorded).collect()
    }

    /// What `verify` answered, by path of the sweep below `/api/v1/workspaces`; each with the sweep's `name`.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn verified(&self) -> BTreeMap<String, Value> {
        let read = read(&self.folder.join("verified.json"));
        let sweeps = read["sweeps"].as_object().expect("answers by sweep");
        sweeps.iter().map(|(path, answer)| (path.clone(), answer.clone())).collect()
    }
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
