//! A service's facts from its topic, and from its log where the topic has them no more.

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Kafka;
use super::source::Topic;
use crate::source::{Cursor, FactSource, Facts, OpenError, Opened};

/// The topic of a service, and the way to its log.
#[derive(Debug)]
pub struct Carried<L> {
    topic: Topic,
    log: L,
}

impl<L: FactSource> Carried<L> {
    /// The topic of `service`; `log` has all facts that there ever were.
    pub fn new(kafka: Kafka, service: &str, log: L) -> Self {
        Self { topic: Topic::new(kafka, service), log }
    }
}

impl<L: FactSource> FactSource for Carried<L> {
    fn open<'a>(&'a self, cursor: &'a Cursor) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            match self.topic.open(cursor).await {
                Err(expired @ OpenError::Expired { .. }) => {
                    tracing::warn!("{expired}: reads the log");
                    let Opened { source, head, from, facts } = self.log.open(cursor).await?;
                    Ok(Opened { source, head, from, facts: until(facts, head.unwrap_or_default()) })
                }
                opened => opened,
            }
        })
    }
}

/// The facts of a log up to a position: then it is opened again, where the next facts are.
fn until(facts: Facts, head: i64) -> Facts {
    let cut = move |fact: Result<std::sync::Arc<contracts::feed::Fact>, String>| {
        let is_last = fact.as_ref().is_ok_and(|fact| fact.position >= head);
        let end = is_last.then(|| Err("it has caught up, and goes on where its facts are carried".to_owned()));
        stream::iter([Some(fact), end].into_iter().flatten())
    };
    facts.flat_map(cut).boxed()
}
