//! What runs does about other services' facts. One file a story; a command a fact; the command's id is made of the
//! fact, so that a second delivery changes nothing.

mod follow_jobs;
mod follow_trials;

use std::sync::Arc;

use contracts::feed::Fact;
use eventlog::ExecuteError;
use feed::{ReactError, Reaction};
use prost::Message;
use vocabulary::RunId;

use crate::run::{self, Command, Rejection, Run};
use crate::service::Core;

/// All stories.
pub(crate) fn all(core: &Arc<Core>) -> Vec<Arc<dyn Reaction>> {
    vec![Arc::new(follow_trials::FollowTrials(Arc::clone(core))), Arc::new(follow_jobs::FollowJobs(Arc::clone(core)))]
}

fn decode<M: Message + Default>(fact: &Fact) -> Result<M, ReactError> {
    M::decode(fact.payload.as_slice()).map_err(|error| ReactError::Poison(format!("{}: {error}", fact.r#type)))
}

fn run_of(text: &str) -> Result<RunId, ReactError> {
    RunId::parse(text).map_err(|error| ReactError::Poison(error.to_string()))
}

/// What became of a fact's command.
enum Outcome {
    Done,
    /// There is no such run.
    Absent,
}

/// Executes a fact's command.
async fn execute(core: &Core, fact: &Fact, story: &str, run: RunId, command: Command) -> Result<Outcome, ReactError> {
    let context = calls::reaction_context(fact, story);
    match core.log.execute::<Run>(&run::stream(run), command, context).await {
        Ok(_) => {
            core.changed(run);
            Ok(Outcome::Done)
        }
        Err(ExecuteError::Rejected(Rejection::NotFound { .. })) => Ok(Outcome::Absent),
        Err(error) => Err(calls::problem(error).into()),
    }
}

/// For facts that come beside the one that creates the run: it is on its way.
fn not_yet(run: RunId) -> ReactError {
    ReactError::Transient(format!("{run} is not created yet"))
}
