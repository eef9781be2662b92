//! Who follows another service's facts: at least once, in order per lane, with cursors in the follower's own log.
//!
//! The effect of a fact is a command whose id is made of (source, position, reaction), so that a second delivery
//! changes nothing: the cursor may lag behind the effects, never run ahead of them.
//!
//! [`reaction`] is what a service writes · `pace` decides when facts are taken in · `lanes` handles each lane in order,
//! all beside each other · `progress` knows what is done · `parked` keeps what cannot be handled · `session` puts them
//! together · `desk` answers operators.

mod desk;
mod drain;
mod entry;
mod follow;
mod lanes;
mod pace;
mod parked;
pub(crate) mod progress;
mod reaction;
mod session;

pub use desk::Desk;
pub use entry::Consumers;
pub use follow::Follower;
pub use parked::parked_for_good;
// A relay is shown as a follower is, and keeps its cursor as one does.
#[cfg(feature = "kafka")]
pub(crate) use entry::{Entry, State};
#[cfg(feature = "kafka")]
pub(crate) use parked::{Actor, Park};
pub use reaction::{Place, ReactError, Reaction};
