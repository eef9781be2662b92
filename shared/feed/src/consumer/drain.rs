//! Handles a parked lane again, from its first fact on.

use std::sync::Arc;
use std::time::Duration;

use contracts::feed::Fact;
use futures_util::StreamExt;
use runtime::Shutdown;
use tokio::sync::oneshot;

use super::entry::Settled;
use super::lanes::{Behind, Cause, Outcome, handle};
use super::parked::{Actor, Key, Park};
use super::reaction::Reaction;
use crate::source::{Cursor, FactSource};

/// Parked facts read at once.
const PARKED_PAGE: u32 = 64;
/// How long the source may take to say again what could not be read.
const REREAD: Duration = Duration::from_secs(5);

/// A parked lane, and what is needed to handle it.
pub(super) struct Lane {
    pub park: Park,
    pub reaction: Arc<dyn Reaction>,
    pub source: Arc<dyn FactSource>,
    pub lane: String,
    /// Who wants it.
    pub by: Actor,
    pub shutdown: Shutdown,
}

/// A lane that was tried from its first parked fact on.
pub(super) struct Drained {
    pub lane: String,
    /// Why it is still parked; `None` when nothing of it was left.
    pub why: Option<Cause>,
}

impl Lane {
    /// Handles its facts until one does not go through or none is left. The reply hears of the first.
    ///
    /// # Errors
    /// When what is parked cannot be read or written.
    pub async fn run(self, mut reply: Option<oneshot::Sender<Settled>>) -> anyhow::Result<Drained> {
        let mut tell = |settled: Settled| {
            if let Some(reply) = reply.take() {
                // Whoever asked may be gone.
                drop(reply.send(settled));
            }
        };
        // What comes after it is parked too, and takes no room.
        let nothing_behind = Behind::default();
        loop {
            let facts = self.park.of_lane(&self.lane, PARKED_PAGE).await?;
            if facts.is_empty() {
                tell(Settled::Absent);
                return Ok(Drained { lane: self.lane, why: None });
            }
            for fact in facts {
                let key = Key::of(&fact);
                let outcome = match self.as_it_is_now(fact).await {
                    Some(fact) => handle(self.reaction.as_ref(), &fact, &nothing_behind, &self.shutdown).await,
                    None => Outcome::Done,
                };
                match outcome {
                    Outcome::Done => {
                        self.park.remove(&key, "retry", &self.by).await?;
                        tell(Settled::Done);
                    }
                    Outcome::Park(cause, error) => {
                        self.park.put_why(&key, cause, &error).await?;
                        tell(Settled::Parked(error));
                        return Ok(Drained { lane: self.lane, why: Some(cause) });
                    }
                    Outcome::Stopped => return Ok(Drained { lane: self.lane, why: Some(Cause::Waiting) }),
                }
            }
        }
    }

    /// A fact that could not be read as its source says it now, which may be able to after an upgrade; `None` when it
    /// turns out to be none. Others are as they were parked.
    async fn as_it_is_now(&self, fact: Arc<Fact>) -> Option<Arc<Fact>> {
        // A source with several partitions sends the fact again only among others.
        if fact.unreadable.is_empty() || fact.partition != 0 {
            return Some(fact);
        }
        let cursor = Cursor::at(fact.source.clone(), fact.position - 1);
        let again = async { self.source.open(&cursor).await.ok()?.facts.next().await?.ok() };
        match tokio::time::timeout(REREAD, again).await {
            Ok(Some(again)) if again.position > fact.position || again.watermark => None,
            Ok(Some(again)) if again.position == fact.position => Some(again),
            _ => Some(fact),
        }
    }
}
