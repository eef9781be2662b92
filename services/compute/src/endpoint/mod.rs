//! The aggregate: an endpoint with its deployments, revisions and replicas.

mod decide;
mod events;
mod reject;
mod state;

pub use decide::{Command, Replacement};
pub use events::*;
pub use reject::Rejection;
pub use state::{Deployment, Endpoint, Leaving, Replica, Slot};

#[cfg(test)]
mod decide_tests;
