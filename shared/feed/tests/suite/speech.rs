//! A log that says things: its events, what of them is public, and how it is opened. The benchmark has the same.

use std::path::Path;
use std::sync::Arc;

use contracts::runs::RunReleased;
use eventlog::{EventLog, Options, RecordedEvent, Store};
use runtime::{MachineClock, MachineEntropy};
use serde::{Deserialize, Serialize};
use trialog_feed::{Publication, Publish, Source};
use vocabulary::Decider;

/// Something that was said, in public or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Said {
    pub text: String,
    pub public: bool,
}

vocabulary::stored_events! {
    /// What can be said.
    pub enum Speech { Said: 1 }
}

/// What no log notes that heard it: deciding about it panics.
pub const UNDECIDABLE: &str = "undecidable";

/// A conversation.
#[derive(Clone, Default)]
pub struct Speaker;

impl Decider for Speaker {
    type Command = Vec<Said>;
    type Event = Speech;
    type Rejection = std::convert::Infallible;

    fn decide(&self, said: &Vec<Said>) -> Result<Vec<Speech>, Self::Rejection> {
        assert!(said.iter().all(|said| said.public || said.text != UNDECIDABLE), "as it should");
        Ok(said.iter().cloned().map(Speech::Said).collect())
    }

    fn evolve(&mut self, _: &Speech) {}
}

/// What only a newer build can read.
pub const UNREADABLE: &str = "unreadable";

struct Publisher {
    is_newer: bool,
}

/// The facts of such a log, by a newer build of its service or by this one.
pub fn source_of(log: &EventLog, is_newer: bool) -> Source {
    Source::new(log.clone(), Publisher { is_newer })
}

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        let Speech::Said(said) = event.decode().map_err(|error| error.to_string())?;
        if said.text == UNREADABLE && !self.is_newer {
            return Err("it says what nobody knows".to_owned());
        }
        let workspace = event.stream.split('/').next().unwrap_or_default().to_owned();
        let message = RunReleased { workspace, run_id: said.text };
        Ok(said.public.then(|| Publication::new("RunReleased", &message)))
    }
}

/// The log of a service in a folder.
pub async fn open(folder: &Path, service: &'static str) -> EventLog {
    let options = Options {
        service,
        store: Store::sqlite(folder.join(format!("{service}.sqlite"))),
        migrations: &[],
        views: Vec::new(),
        clock: Arc::new(MachineClock),
        entropy: Arc::new(MachineEntropy::default()),
    };
    EventLog::open(options).await.expect("the log opens")
}
