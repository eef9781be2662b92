//! The scheduler's task: takes committed events in, sends what they mean to agents and to the provider, plans, and
//! carries the plan out.
//!
//! Effects follow from committed events only, and are sent again on each connection: a crash between an event and its
//! effect loses nothing. The task is woken by the log, by agents that come and go, and by the time that the plan
//! names.

mod effects;
mod observe;
#[cfg(test)]
mod outage_tests;
mod parts;
mod perform;
mod run;

#[cfg(test)]
pub(crate) use observe::react;
pub(crate) use parts::Engine;
pub(crate) use run::run;
