//! Facts through Kafka: a topic for each service, keyed by stream, with one record for each fact and watermarks that
//! say up to where nothing is missing.
//!
//! The log stays the truth. A [`Relay`] sends it on, in order, and stores its cursor only when everything up to there
//! is delivered: a crash between the two sends a suffix again, which readers drop by position. A [`Topic`] is read
//! from a cursor that counts positions in each partition; its offsets are hints, which are verified. What a topic has
//! no more, or has lost, is read from the log ([`Carried`]).
//!
//! `record` is what a fact looks like there · `ends` tells of which log a topic is, from its last records · `place`
//! decides where a reader begins · `seen` what of the records is new to it · `gaps` what should have come before ·
//! `sending` is what is under way · `reading` asks Kafka · `source` and `relay` put them together · `topic` makes
//! topics.

mod carried;
mod client;
mod ends;
mod gaps;
mod place;
mod reading;
mod record;
mod relay;
mod seen;
mod sending;
mod source;
mod topic;

use std::path::PathBuf;

pub use carried::Carried;
pub use relay::{NAME as RELAY, Relay};
pub use source::Topic;

/// How its brokers are reached: TLS and SCRAM need the feature `kafka-tls`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Whether they speak TLS.
    pub tls: bool,
    /// A PEM file with the authority that signed their certificates, when it is none that the machine knows.
    pub ca: Option<PathBuf>,
    /// A user and its password, for SCRAM-SHA-512.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for Security {
    /// Without the password: it must not get into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Where Kafka is, and how topics are made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// Brokers to ask first, `HOST:PORT`, separated by commas.
    pub bootstrap: String,
    /// What the names of topics begin with: `PREFIX.SERVICE.v1`.
    pub prefix: String,
    /// Partitions of a topic. They are never changed in place, since its streams would move between them.
    pub partitions: i32,
    /// Replicas of each; 0: as many as the brokers make by themselves.
    pub replication: i32,
    /// How they are reached.
    pub security: Security,
}

impl Kafka {
    /// The topic of a service's facts.
    pub fn topic(&self, service: &str) -> String {
        format!("{}.{service}.v1", self.prefix)
    }
}
