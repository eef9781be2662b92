//! What is killed: processes, a database and a broker of the test's own.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use trialog_testkit::{Layout, Scaled, processes_of};

const LAYOUT: Layout = &[
    ("workspaces", &["workspaces"]),
    ("runs", &["runs"]),
    ("sweeps", &["sweeps-a", "sweeps-b"]),
    ("models", &["models-a", "models-b"]),
    ("compute", &["compute"]),
    ("gateway", &["gateway"]),
];

/// See the module.
pub struct Stage(Scaled);

impl Deref for Stage {
    type Target = Scaled;

    fn deref(&self) -> &Scaled {
        &self.0
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Scaled {
        &mut self.0
    }
}

impl Stage {
    pub fn start() -> Self {
        let scaled = Scaled::new("torture", LAYOUT);
        let url = scaled.database.url().to_owned();
        Self(scaled.started(|_| url.clone()))
    }

    /// Ends everything in order, the door first; nothing is left.
    pub fn stop(&mut self) {
        self.await_ready();
        for name in ["gateway", "sweeps-b", "models-b", "compute", "sweeps-a", "models-a", "runs", "workspaces"] {
            let server = self.servers.get_mut(name).expect("it is one of them");
            // Who does not write may be in the middle of its start, in which it cannot be asked to end yet.
            if server.is_announced() { server.stop() } else { server.kill() }
        }
        let left = processes_of(self.places.home().path());
        assert!(left.is_empty(), "left over: {left:#?}");
    }

    /// What must be in no log, event or answer.
    pub fn secrets(&self) -> Vec<String> {
        let kept = ["token", "signing.key", "workspaces/admin.token"];
        let read = |name: &str| std::fs::read_to_string(self.places.home().join(name)).expect("a secret");
        kept.iter().map(|name| read(name).trim().to_owned()).collect()
    }

    /// The logs of the processes.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let name = |process: &str| format!("{process}.log");
        let read = |process| {
            let bytes = std::fs::read(self.places.home().join(&name(process))).unwrap_or_default();
            (name(process), String::from_utf8_lossy(&bytes).into_owned())
        };
        self.servers.keys().map(|process| read(process)).collect()
    }
}
