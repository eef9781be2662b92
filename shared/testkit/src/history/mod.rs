//! Histories in the manner of Jepsen: what concurrent clients asked and were answered while things were broken, and
//! whether there is any order in which a correct service could have answered so. Nothing here does I/O or reads a
//! clock.
//!
//! The notion is linearizability (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects",
//! TOPLAS 1990): every operation takes effect at one moment between its invocation and its completion. An operation
//! whose outcome nobody knows may take effect at any moment after its invocation, or never.
//!
//! | what is recorded | is checked as |
//! | --- | --- |
//! | a stream: changes under If-Match, reads | [`Register`], a versioned compare-and-set register |
//! | an alias of a model | the same; pointing it to where it points is no change |
//! | asks, tells, heartbeats of a trial | [`Lease`]: each (index, attempt) is offered once, its holder alone is heard |
//! | batches of metric points | [`check_batches`]: a set that only grows, each batch in it once |

mod batches;
mod lease;
mod linearizable;
mod record;
mod register;
#[cfg(test)]
mod tests;

pub use batches::{Batch, BatchCall, check_batches};
pub use lease::{Lease, LeaseAnswer, LeaseCall, LeaseState};
pub use linearizable::{CONFIGURATIONS_MAX, Checked, Fault, Model, check};
pub use record::{Completion, Invocation, Operation, Recorder};
pub use register::{Register, RegisterAnswer, RegisterCall, RegisterState};
