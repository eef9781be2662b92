//! When facts are taken in: what is urgent at once, what is not together with what comes within a moment.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use contracts::feed::Fact;
use futures_util::StreamExt;
use futures_util::stream::ReadyChunks;
use tokio::time::Sleep;

use super::reaction::{Place, Reaction};
use crate::source::Facts;

/// Facts taken in at once.
pub(super) const CHUNK_FACTS: usize = 256;
/// So long facts that nobody waits for are gathered: their effects share a commit, and stay out of the way of the calls
/// that made them.
const GATHER: Duration = Duration::from_millis(100);

/// A fact that has its place; watermarks have none.
pub(super) type Placed = (Arc<Fact>, Option<Place>);

/// Chunks of a stream of facts.
pub(super) struct Pace {
    facts: ReadyChunks<Facts>,
    reaction: Arc<dyn Reaction>,
    held: Vec<Placed>,
    /// Ends the gathering; absent while nothing is held.
    over: Option<Pin<Box<Sleep>>>,
    is_due: bool,
    broken: Option<String>,
}

impl Pace {
    pub fn new(facts: Facts, reaction: Arc<dyn Reaction>) -> Self {
        let facts = facts.ready_chunks(CHUNK_FACTS);
        Self { facts, reaction, held: Vec::new(), over: None, is_due: false, broken: None }
    }

    /// The next facts. What was gathered is kept when the call is dropped.
    ///
    /// # Errors
    /// How the stream broke off, after everything that it gave.
    pub async fn next(&mut self) -> Result<Vec<Placed>, String> {
        loop {
            let is_full = self.held.len() >= CHUNK_FACTS;
            if !self.held.is_empty() && (self.is_due || is_full || self.broken.is_some()) {
                (self.over, self.is_due) = (None, false);
                return Ok(std::mem::take(&mut self.held));
            }
            if let Some(broken) = &self.broken {
                return Err(broken.clone());
            }
            let over = async {
                match &mut self.over {
                    Some(over) => over.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                items = self.facts.next() => self.hold(items),
                () = over => self.is_due = true,
            }
        }
    }

    fn hold(&mut self, items: Option<Vec<Result<Arc<Fact>, String>>>) {
        let Some(items) = items else {
            self.broken = Some("it ended".to_owned());
            return;
        };
        for item in items {
            match item {
                Ok(fact) if fact.watermark => self.held.push((fact, None)),
                Ok(fact) => {
                    // Where one belongs that nobody can read is not known, but for its stream.
                    let place = match fact.unreadable.is_empty() {
                        true => self.reaction.place(&fact),
                        false => Place::urgent(&fact.stream),
                    };
                    self.is_due |= place.is_urgent;
                    self.held.push((fact, Some(place)));
                }
                Err(error) => {
                    self.broken = Some(error);
                    return;
                }
            }
        }
        if self.over.is_none() && !self.held.is_empty() {
            self.over = Some(Box::pin(tokio::time::sleep(GATHER)));
        }
    }
}
