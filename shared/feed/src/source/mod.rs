//! Where facts come from. Everything that hands them out does so behind one trait: the log of a service in this
//! process, `FeedService` of another, and whatever carries facts between them.

mod facts;
mod published;
mod remote;
mod server;
mod tail;

pub use facts::{Cursor, FactSource, Facts, OpenError, Opened};
pub use published::{Publication, Publish, Source};
pub use remote::Remote;
pub use server::FeedServer;
pub use tail::{Begin, Filter};
