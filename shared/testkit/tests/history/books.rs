//! Everything that is recorded, and its checks.

use std::sync::Mutex;

use trialog_testkit::Client;
use trialog_testkit::history::{Checked, Fault};

use super::batches::Batches;
use super::caller::Caller;
use super::leases::Leases;
use super::registers::{Registers, Shown, run_with_artifact};

/// Operations of a key, after which another one takes its place.
const OPERATIONS_MAX: usize = 150;

/// The key that is used now.
#[derive(Default)]
pub struct Current {
    key: Mutex<Option<(String, usize)>>,
    all: Mutex<Vec<String>>,
}

impl Current {
    /// The key for one more operation; a new one is made when it has had enough. `None` when none can be made now.
    pub fn take(&self, make: impl FnOnce() -> Option<String>) -> Option<String> {
        let mut current = self.key.lock().expect("nobody panics while making a key");
        if let Some((key, used)) = current.as_mut().filter(|(_, used)| *used < OPERATIONS_MAX) {
            *used += 1;
            return Some(key.clone());
        }
        let made = make()?;
        self.all.lock().expect("nobody panics here").push(made.clone());
        *current = Some((made.clone(), 1));
        Some(made)
    }

    /// Every key that there was.
    pub fn all(&self) -> Vec<String> {
        self.all.lock().expect("nobody panics here").clone()
    }
}

pub struct Books {
    runs: Registers,
    models: Registers,
    aliases: Registers,
    leases: Leases,
    batches: Batches,
}

impl Books {
    pub fn begin(client: &Client, seed: u64) -> Self {
        let artifacts = run_with_artifact(client);
        Self {
            runs: Registers::new(Shown::Run),
            models: Registers::new(Shown::Model { artifacts: artifacts.clone() }),
            aliases: Registers::new(Shown::Alias { artifacts }),
            leases: Leases::begin(client, seed),
            batches: Batches::default(),
        }
    }

    /// One operation of a client, on something.
    pub fn turn(&self, caller: &mut Caller) {
        match caller.random.below(10) {
            0 | 1 => self.runs.turn(caller),
            2 | 3 => self.models.turn(caller),
            4 | 5 => self.aliases.turn(caller),
            6 | 7 => self.leases.turn(caller),
            _ => self.batches.turn(caller),
        }
        caller.pause();
    }

    /// The last look at each key, when nothing is broken any more.
    pub fn read_everything(&self, caller: &mut Caller) {
        self.runs.read_everything(caller);
        self.models.read_everything(caller);
        self.aliases.read_everything(caller);
        self.leases.read_everything(caller);
        self.batches.read_everything(caller);
    }

    pub fn check(self) {
        let checks = [
            ("streams of runs", self.runs.check()),
            ("streams of models", self.models.check()),
            ("aliases", self.aliases.check()),
            ("leases", self.leases.check()),
            ("batches", self.batches.check()),
        ];
        for (name, checked) in &checks {
            eprintln!("history: {name}: {}", line(checked));
        }
        for (name, checked) in checks {
            let checked = checked.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            // A check of nothing would pass.
            assert!(checked.operations > 20, "{name}: only {} operations", checked.operations);
        }
    }
}

fn line(checked: &Result<Checked, Fault>) -> String {
    match checked {
        Ok(Checked { keys, operations, unknown, configurations }) => {
            format!("{operations} operations on {keys} keys, {unknown} unknown; {configurations} configurations")
        }
        Err(fault) => format!("{fault}"),
    }
}
