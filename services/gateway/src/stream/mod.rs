//! Streams: facts as server-sent events, objects in and out.

mod facts;
mod objects;
mod rendered;
mod sse;

pub use facts::readable;
pub use objects::{content, store};
pub use rendered::Rendered;
pub use sse::{Begin, EventsOf, follow};
