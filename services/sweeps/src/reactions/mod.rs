//! What happens by itself: fact in, command out. Each is idempotent by construction.

mod deadlines;
mod follow_runs;
mod own_events;
mod propose_trials;

use std::sync::Arc;

use feed::Feeds;
use runtime::{Shutdown, Task};

#[cfg(test)]
pub(crate) use deadlines::check;
#[cfg(test)]
pub(crate) use follow_runs::FollowRuns;
#[cfg(test)]
pub(crate) use propose_trials::{fill, keep_filling, run as propose};

use crate::service::Core;

/// The tasks of the service.
pub(crate) fn tasks(core: &Core, feeds: &Feeds, shutdown: &Shutdown) -> Vec<Task> {
    let (proposing, watching) = (core.clone(), core.clone());
    let (end_proposing, end_watching) = (shutdown.clone(), shutdown.clone());
    let following = follow_runs::FollowRuns { log: core.log.clone() };
    vec![
        Task::new("propose_trials", move || propose_trials::run(proposing.clone(), end_proposing.clone())),
        Task::new("deadlines", move || deadlines::run(watching.clone(), end_watching.clone())),
        feeds.follow(&core.log, Arc::new(following), shutdown),
    ]
}
