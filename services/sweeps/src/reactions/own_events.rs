//! Which sweeps have changed: the tail of this service's own log.

use std::collections::BTreeSet;

use eventlog::EventLog;
use tokio::sync::watch;
use vocabulary::SweepId;

use crate::views;

/// Events read at once.
const PAGE_EVENTS: u32 = 1000;

/// Names sweeps as they change. It begins with every sweep that has not ended, so that nothing is forgotten over a
/// restart.
pub(crate) struct OwnEvents {
    log: EventLog,
    head: watch::Receiver<i64>,
    position: i64,
    first: Option<BTreeSet<SweepId>>,
    /// Whether events of this kind matter to whom it is for.
    matters: fn(&str) -> bool,
}

impl OwnEvents {
    /// Begins at the present.
    pub async fn begin(log: &EventLog, matters: fn(&str) -> bool) -> anyhow::Result<Self> {
        let mut head = log.head();
        let position = *head.borrow_and_update();
        let first = views::active(log.reader()).await?.into_iter().collect();
        Ok(Self { log: log.clone(), head, position, first: Some(first), matters })
    }

    /// The sweeps that have changed since the last call; waits for some. May be empty.
    pub async fn next(&mut self) -> anyhow::Result<BTreeSet<SweepId>> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        if self.position >= *self.head.borrow_and_update() {
            self.head.changed().await?;
        }
        let page = self.log.read(self.position, PAGE_EVENTS).await?;
        if let Some(last) = page.last() {
            self.position = last.position;
        }
        let changed = page.iter().filter(|event| (self.matters)(&event.kind));
        Ok(changed.filter_map(|event| crate::stream::sweep_of(&event.stream)).collect())
    }
}
