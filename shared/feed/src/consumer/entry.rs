//! The followers of this process, by name: how each is, and the way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::feed as wire;
use eventlog::EventLog;
use tokio::sync::{Notify, mpsc, oneshot};

use super::parked::{Actor, Key, Park};
use crate::source::FactSource;

/// Requests that wait for a follower; operators are few.
const REQUESTS_MAX: usize = 16;

/// What an operator wants of a follower.
#[derive(Debug)]
pub(crate) struct Request {
    pub key: Key,
    pub verb: Verb,
    pub by: Actor,
    pub reply: oneshot::Sender<Settled>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    Skip,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It went through.
    Done,
    Skipped,
    /// It did not go through, and why.
    Parked(String),
    /// It is not parked here.
    Absent,
}

/// Where a follower is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub state: State,
    pub source: String,
    pub position: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Connecting,
    Following,
    /// Its cursor counts in no source that is there: it follows nothing.
    Halted(String),
    /// Too much is parked: it follows, and takes nothing in. Others see it as halted too.
    Full(String),
}

/// A follower, as others see it.
pub(crate) struct Entry {
    pub service: String,
    pub name: &'static str,
    pub follows: String,
    pub log: EventLog,
    /// What it follows: asked before a cursor in it is taken over.
    pub source: Arc<dyn FactSource>,
    pub adopted: Notify,
    /// Held while a session begins, and while somebody adopts a source: whoever has it and sees the follower halted
    /// knows that nobody else writes its cursors.
    pub cursors: tokio::sync::Mutex<()>,
    pub requests: mpsc::Sender<Request>,
    standing: Mutex<Standing>,
}

impl Entry {
    /// A follower that begins, and where its requests come in.
    pub fn new(
        log: EventLog,
        name: &'static str,
        follows: &str,
        source: Arc<dyn FactSource>,
    ) -> (Arc<Self>, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let service = log.source().split('@').next().unwrap_or_default().to_owned();
        let follows = follows.to_owned();
        let (adopted, cursors, standing) = (Notify::new(), tokio::sync::Mutex::default(), Mutex::default());
        (Arc::new(Self { service, name, follows, log, source, adopted, cursors, requests, standing }), receiver)
    }

    /// `SERVICE.NAME`.
    pub fn consumer(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }

    pub fn park(&self) -> Park {
        Park::new(self.log.clone(), self.name)
    }

    pub fn stand(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing());
    }

    pub fn standing(&self) -> MutexGuard<'_, Standing> {
        // Whole after every statement that changes it.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As callers see it.
    pub async fn shown(&self) -> Result<wire::Consumer, eventlog::Error> {
        let parked_lanes = self.park().lanes().await?.len();
        let parked_facts = self.park().count().await?;
        let Standing { state, source, position } = self.standing().clone();
        let (state, reason) = match state {
            State::Connecting => ("Connecting", String::new()),
            State::Following => ("Following", String::new()),
            State::Halted(reason) | State::Full(reason) => ("Halted", reason),
        };
        Ok(wire::Consumer {
            consumer: self.consumer(),
            follows: self.follows.clone(),
            source,
            position,
            state: state.to_owned(),
            reason,
            parked_facts,
            parked_lanes: i64::try_from(parked_lanes).unwrap_or(i64::MAX),
        })
    }
}

/// All followers of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Consumers {
    entries: Arc<Mutex<BTreeMap<String, Arc<Entry>>>>,
}

impl Consumers {
    pub(crate) fn add(&self, entry: &Arc<Entry>) {
        self.entries().insert(entry.consumer(), Arc::clone(entry));
    }

    /// Those of a service; all of them for one that is in no process here is none.
    pub(super) fn of(&self, service: &str) -> Vec<Arc<Entry>> {
        self.entries().values().filter(|entry| entry.service == service).cloned().collect()
    }

    pub(super) fn get(&self, consumer: &str) -> Option<Arc<Entry>> {
        self.entries().get(consumer).cloned()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
