//! The feed's promises, for every way of carrying facts and for the followers that rest on it.
//!
//! A carrier is what hands out a log's facts behind `FactSource`; each test of [`reading`] runs on all of [`carriers`],
//! and a new one is one more line there.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod adopting;
#[cfg(feature = "kafka")]
mod brokers;
mod faulty;
mod following;
#[cfg(feature = "kafka")]
mod kafka;
mod parking;
mod reading;
mod speech;
mod world;

use std::sync::Arc;

use trialog_feed::FactSource;

use world::{Talk, through_server};

/// A way of carrying facts, by name: what makes it of a log.
pub type Carrier = (&'static str, fn(&Talk) -> Arc<dyn FactSource>);

/// Every way that there is here.
pub fn carriers() -> Vec<Carrier> {
    let always: [Carrier; 2] =
        [("the log itself", |talk| Arc::new(talk.source.clone())), ("FeedService", |talk| through_server(talk))];
    #[cfg(feature = "kafka")]
    if testkit::kafka().is_some() {
        return always
            .into_iter()
            .chain([("Kafka", kafka::through_kafka as fn(&Talk) -> Arc<dyn FactSource>)])
            .collect();
    }
    always.to_vec()
}
