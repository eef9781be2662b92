//! What runs does about other services' facts. One file a story; a command a fact; the command's id is made of the
//! fact, so that a second delivery changes nothing.

mod fact;
mod follow_jobs;
mod follow_trials;

use std::sync::Arc;

use feed::Reaction;

use crate::core::Core;

/// All stories.
pub(crate) fn all(core: &Arc<Core>) -> Vec<Arc<dyn Reaction>> {
    vec![Arc::new(follow_trials::FollowTrials(Arc::clone(core))), Arc::new(follow_jobs::FollowJobs(Arc::clone(core)))]
}
