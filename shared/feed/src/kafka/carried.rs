//! A service's facts from its topic, and from its log where the topic has them no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::feed::Fact;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Kafka;
use super::gaps::{Gap, Gaps};
use super::source::Topic;
use crate::source::{Cursor, FactSource, Facts, OpenError, Opened};

/// So many positions before a fact that is missing are read again, since what went with it may lie there: what was
/// handled is a repeat, which costs no more than a look.
const BEFORE_A_HOLE: i64 = 10_000;

/// The topic of a service, and the way to its log.
#[derive(Debug)]
pub struct Carried<L> {
    service: String,
    topic: Topic,
    log: L,
    /// What a reading has found to be missing: the next opening reads the log from there.
    hole: Arc<Mutex<Option<Hole>>>,
}

/// Facts of a log that its topic lacks.
#[derive(Clone, Debug)]
struct Hole {
    source: String,
    /// They are behind this position.
    after: i64,
}

impl<L: FactSource> Carried<L> {
    /// The topic of `service`; `log` has all facts that there ever were.
    pub fn new(kafka: Kafka, service: &str, log: L) -> Self {
        let topic = Topic::new(kafka, service);
        Self { service: service.to_owned(), topic, log, hole: Arc::default() }
    }

    /// The log from a cursor up to its end as it is now: then it is opened again, where the next facts are, and nothing
    /// is missing any more.
    async fn rest_of_log(&self, cursor: &Cursor) -> Result<Opened, OpenError> {
        let Opened { source, head, from, facts } = self.log.open(cursor).await?;
        let (head, found) = (head.unwrap_or_default(), Arc::clone(&self.hole));
        let cut = move |fact: Result<Arc<Fact>, String>| {
            let is_last = fact.as_ref().is_ok_and(|fact| fact.position >= head);
            let end = is_last.then(|| {
                *locked(&found) = None;
                Err("it has caught up, and goes on where its facts are carried".to_owned())
            });
            stream::iter([Some(fact), end].into_iter().flatten())
        };
        Ok(Opened { source, head: Some(head), from, facts: facts.flat_map(cut).boxed() })
    }

    /// The facts of a topic up to one before which another one is missing.
    fn without_holes(&self, opened: Opened) -> Opened {
        let (service, source) = (self.service.clone(), opened.source.clone());
        let (mut gaps, found) = (Gaps::after(&opened.from), Arc::clone(&self.hole));
        let checked = opened.facts.map(move |fact| {
            let fact = fact?;
            let Err(Gap { missing, after }) = gaps.take(&fact) else { return Ok(fact) };
            let after = after.max(missing.saturating_sub(BEFORE_A_HOLE)).min(missing - 1);
            metrics::counter!("trialog_feed_holes_total", "service" => service.clone()).increment(1);
            *locked(&found) = Some(Hole { source: source.clone(), after });
            let (position, partition) = (fact.position, fact.partition - 1);
            Err(format!(
                "the topic lacks the fact at position {missing} of {source}, which that at {position} in partition \
                 {partition} names as the one before it: the log is read from {after} on"
            ))
        });
        Opened { facts: ended_by_an_error(checked.boxed()), ..opened }
    }
}

impl<L: FactSource> FactSource for Carried<L> {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            let hole = locked(&self.hole).clone();
            if let Some(hole) = hole.filter(|hole| hole.source == cursor.source) {
                let (service, after) = (&self.service, hole.after);
                tracing::warn!(service, after, "facts are missing in the topic: reads the log");
                // One that counts in the log is on its way already.
                let is_before = cursor.reached() <= after || cursor.positions.keys().eq([&0]);
                let at = if is_before { cursor.clone() } else { Cursor::at(hole.source, after) };
                return self.rest_of_log(&at).await;
            }
            match self.topic.open(cursor).await {
                Err(expired @ OpenError::Expired { .. }) => {
                    tracing::warn!("{expired}: reads the log");
                    self.rest_of_log(cursor).await
                }
                opened => opened.map(|opened| self.without_holes(opened)),
            }
        })
    }
}

/// Facts up to the first error.
fn ended_by_an_error(facts: Facts) -> Facts {
    let state = Some(facts);
    stream::unfold(state, |state| async {
        let mut facts = state?;
        let fact = facts.next().await?;
        let rest = fact.is_ok().then_some(facts);
        Some((fact, rest))
    })
    .boxed()
}

fn locked(hole: &Mutex<Option<Hole>>) -> MutexGuard<'_, Option<Hole>> {
    // Whole after every statement that changes it.
    hole.lock().unwrap_or_else(PoisonError::into_inner)
}
