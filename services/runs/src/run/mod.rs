//! A run: one execution with its params, tags, states and attempts. Its metric points, logs and artifacts are rows, not
//! events.

pub mod decide;
pub mod events;
pub mod fence;
mod job;
pub mod rejection;
pub mod report;
mod series;
pub mod state;

#[cfg(test)]
mod tests;

pub use decide::{Command, Update};
pub use events::*;
pub use fence::{Admitted, Writer};
pub use job::JobNews;
pub use rejection::Rejection;
pub use state::{Attempt, Run, Stop};

use vocabulary::RunId;
pub use vocabulary::job::RunState;

const STREAM_PREFIX: &str = "run-";

/// The stream of a run.
pub fn stream(run: RunId) -> String {
    format!("{STREAM_PREFIX}{}", run.hex())
}

/// The run of a stream; `None` for a stream of something else.
pub fn of_stream(stream: &str) -> Option<RunId> {
    RunId::parse(stream.strip_prefix(STREAM_PREFIX)?).ok()
}

/// A name for a run that was given none: the end of its id, which differs between runs of one moment.
pub fn name_of(run: RunId) -> String {
    let hex = run.hex();
    format!("run-{}", &hex[hex.len() - 8..])
}

/// An instant as it is shown: RFC 3339 with microseconds.
pub fn shown_time(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us).map(|at| format!("{at:.6}")).unwrap_or_default()
}
