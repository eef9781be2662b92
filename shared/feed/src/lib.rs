//! The same facts for everybody: a service's events, mapped by its `publish.rs`, read by position; and the loop that
//! follows another service's facts with a cursor of its own. It knows no fact's content.
//!
//! [`source`] is where facts come from, behind one trait; [`consumer`] is who follows them; `kafka`, where it is built
//! in, carries them between processes; [`Feeds`] is what a process knows of them all.

pub mod consumer;
mod feeds;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod source;

pub use consumer::{Place, ReactError, Reaction};
pub use feeds::Feeds;
pub use source::{Cursor, FactSource, FeedServer, Publication, Publish, Source};
