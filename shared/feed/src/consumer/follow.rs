//! A follower: one session after another, until shutdown.

use std::sync::Arc;
use std::time::Duration;

use eventlog::EventLog;
use runtime::{Part, Shutdown};
use tokio::sync::{Mutex, mpsc};

use super::entry::{Consumers, Entry, Request, State};
use super::parked::PARKED_MAX;
use super::reaction::Reaction;
use super::session::{End, Session};
use crate::source::FactSource;

/// How often a halted follower looks whether what it halted at is over; an adoption wakes it at once.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A story that follows a source, with its cursor in the follower's own log.
pub struct Follower {
    entry: Arc<Entry>,
    reaction: Arc<dyn Reaction>,
    shutdown: Shutdown,
    parked_max: i64,
    /// Kept over sessions.
    requests: Mutex<mpsc::Receiver<Request>>,
}

impl Follower {
    /// A follower that keeps its cursor in `log`, known to `consumers`.
    pub fn new(
        log: EventLog,
        reaction: Arc<dyn Reaction>,
        source: Arc<dyn FactSource>,
        consumers: &Consumers,
        shutdown: Shutdown,
    ) -> Self {
        let (entry, requests) = Entry::new(log, reaction.name(), reaction.service(), source);
        consumers.add(&entry);
        Self { entry, reaction, shutdown, parked_max: PARKED_MAX, requests: Mutex::new(requests) }
    }

    /// Halts beyond another number of parked facts than the usual one.
    #[must_use]
    pub fn with_parked_max(self, parked_max: i64) -> Self {
        Self { parked_max, ..self }
    }

    /// Follows until shutdown.
    ///
    /// # Errors
    /// When the feed breaks off or the follower's own log fails; the caller begins again, from the cursor.
    pub async fn run(&self, part: &Part) -> anyhow::Result<()> {
        let mut requests = self.requests.lock().await;
        loop {
            // After an adoption that is under way.
            let begins = self.entry.cursors.lock().await;
            self.entry.stand(|standing| standing.state = State::Connecting);
            drop(begins);
            let session = Session {
                entry: &self.entry,
                reaction: &self.reaction,
                shutdown: &self.shutdown,
                part,
                parked_max: self.parked_max,
            };
            let reason = match session.run(&mut requests).await? {
                End::Shutdown => return Ok(()),
                End::Halted(reason) => reason,
            };
            tracing::error!(consumer = self.entry.consumer(), "halts: {reason}");
            part.halted(&reason);
            self.entry.stand(|standing| standing.state = State::Halted(reason));
            tokio::select! {
                () = self.entry.adopted.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.shutdown.requested() => return Ok(()),
            }
        }
    }
}
