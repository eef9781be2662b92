//! The stories that begin with facts of other services.

mod follow_runs;
pub(crate) mod replica_jobs;
pub(crate) mod replica_logs;
pub(crate) mod replica_plan;
pub(crate) mod replicas;

use std::sync::Arc;

use contracts::Peers;
use runtime::Task;

use crate::core::Core;

/// The followers.
pub(crate) fn tasks(core: &Arc<Core>, peers: &Peers) -> Vec<Task> {
    let reaction = Arc::new(follow_runs::FollowRuns { core: Arc::clone(core) });
    let (peer, log, shutdown) = (peers.runs.clone(), core.log.clone(), core.shutdown.clone());
    vec![Task::new("follow_runs", move || {
        feed::follow(peer.clone(), log.clone(), Arc::clone(&reaction) as Arc<dyn feed::Reaction>, shutdown.clone())
    })]
}
