//! Logs: bytes by (attempt, stream, offset), kept as rows. Nothing here decides; a lost line is no event.

pub mod follow;
pub mod store;
pub mod wake;

pub use wake::Wake;

/// The streams that an attempt has: the command's two, and what Trialog itself has to say.
pub const STREAMS: [&str; 3] = ["stdout", "stderr", "trialog"];
