//! The words that every part of Trialog shares: ids, times, names, problems, and the shape of a decider.
//! It does no I/O, reads no clock and draws no randomness.

pub mod clock;
pub mod decider;
pub mod ids;
pub mod job;
pub mod names;
pub mod number;
pub mod problem;
pub mod request_id;
pub mod token;

pub use clock::{Clock, Entropy, ManualClock, SeededEntropy, SteadyTime};
pub use decider::{Decider, SETTLE_ROUNDS_MAX, StoredEvent, Unsettled, settled};
pub use ids::{JobId, NodeId, RunId, SweepId, VersionId};
pub use problem::{FieldError, Problem, Warning};
