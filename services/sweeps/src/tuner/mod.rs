//! The models of modelled sweeps: one in memory for each sweep that was lately asked, fed in log order from the
//! committed state, so that a model that was dropped, or lost in a crash, is made again with the same bits.
//!
//! Suggestions are made ahead, so that an ask takes one that waits, even while the model makes the next; the decider
//! refuses those that lag too far behind, and then the ask makes its own. Fits are made beside all this and come into
//! force through the log.

mod host;
mod model_state;
mod ready;
mod setup;

pub(crate) use host::Tuners;
#[cfg(test)]
pub(crate) use setup::Suggest;
pub(crate) use setup::{based, first_suggestions, setup, suggest};
