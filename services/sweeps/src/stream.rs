//! The names of sweeps' streams, and of the decisions in them.

use uuid::Uuid;
use vocabulary::SweepId;

/// What the streams of sweeps begin with.
const STREAM_PREFIX: &str = "sweep-";

/// The stream of a sweep.
pub(crate) fn stream_of(sweep_id: SweepId) -> String {
    format!("{STREAM_PREFIX}{}", sweep_id.hex())
}

/// The sweep of a stream.
pub(crate) fn sweep_of(stream: &str) -> Option<SweepId> {
    let hex = stream.strip_prefix(STREAM_PREFIX)?;
    Uuid::parse_str(hex).ok().map(SweepId::new)
}

/// The id of a decision: SWEEP@position.
pub(crate) fn decision_id(sweep_id: SweepId, position: i64) -> String {
    format!("{sweep_id}@{position}")
}
