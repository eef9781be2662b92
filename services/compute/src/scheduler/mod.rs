//! The scheduler: a pure state machine. [`Fleet`] is folded from the log's events, [`plan`] says what is to be done
//! now and when to look again. No I/O, no clock: time comes in, actions go out.
//!
//! - Deep scan: a job that does not fit never blocks one behind it that does.
//! - Jobs are packed on a node while their claims fit; the fullest node that fits is taken, so that others become
//!   idle and can go.
//! - Only idle nodes are given back. Nodes are asked for only when queued jobs need them, or the cluster's minimum
//!   does.
//! - A job that nobody waits before, and that fits now, is queued and placed by one command: its room is kept from the
//!   look to the event.
//! - Invariant: the claims on a node never exceed its size. Invariant: a job is on one node at most.

mod explain;
mod fleet;
mod fold;
mod pack;
mod plan;
mod reserve;
#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod simulation_world_tests;

pub use fleet::{Entry, Fleet, Place, Pool, Shape};
pub use plan::{Action, BOOT_GRACE, Plan, SILENCE_MAX, plan};
