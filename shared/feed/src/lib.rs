//! The same facts for everybody: a service's events, mapped by its `publish.rs`, read by position through
//! `FeedService`; and the loop
//! that follows another service's facts with a cursor of its own. It knows no fact's content.

mod follow;
mod server;

pub use follow::{ReactError, Reaction, follow};
pub use server::{FeedServer, Publication, Publish, Source};
