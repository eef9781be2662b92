//! The stories that begin with facts of other services.

mod follow_runs;
pub(crate) mod replica_jobs;
pub(crate) mod replica_logs;
pub(crate) mod replica_plan;
pub(crate) mod replicas;

use std::sync::Arc;

use feed::Feeds;
use runtime::Task;

use crate::core::Core;

/// The followers.
pub(crate) fn tasks(core: &Arc<Core>, feeds: &Feeds) -> Vec<Task> {
    let reaction = follow_runs::FollowRuns { core: Arc::clone(core) };
    vec![feeds.follow(&core.log, Arc::new(reaction), &core.shutdown)]
}
