//! The stories that begin with facts of other services, or with compute's own events.

mod follow_runs;
mod keep_replicas;
mod replica_plan;

use std::sync::Arc;

use feed::Feeds;
use runtime::Task;

use crate::checkpoints::Checkpoints;
use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::serving::EndpointCommands;

/// The followers.
pub(crate) fn tasks(
    (commands, fleet): (&Commands, &Arc<FleetState>),
    checkpoints: &Arc<Checkpoints>,
    endpoints: &EndpointCommands,
    feeds: &Feeds,
) -> Vec<Task> {
    let reaction = follow_runs::FollowRuns {
        commands: commands.clone(),
        fleet: Arc::clone(fleet),
        checkpoints: Arc::clone(checkpoints),
    };
    vec![feeds.follow(&commands.log, Arc::new(reaction), &commands.shutdown), keep_replicas(endpoints)]
}

/// Keeps the replicas and the routes.
pub(crate) fn keep_replicas(endpoints: &EndpointCommands) -> Task {
    let endpoints = endpoints.clone();
    Task::new("replicas", move || keep_replicas::Keeper::new(endpoints.clone()).run())
}
