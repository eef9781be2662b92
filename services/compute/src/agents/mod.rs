//! The agents: who is connected, and what they report.

mod desk;
mod door;
mod registry;
mod reports;
mod session;

pub(crate) use desk::Desk;
pub(crate) use door::Door;
pub(crate) use registry::Agents;
