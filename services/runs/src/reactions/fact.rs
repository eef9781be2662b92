//! A fact's message and its command.

use contracts::feed::Fact;
use eventlog::ExecuteError;
use feed::ReactError;
use prost::Message;
use vocabulary::RunId;

use crate::core::Core;
use crate::run::{self, Command, Rejection, Run};

/// A fact's message.
pub(super) fn decode<M: Message + Default>(fact: &Fact) -> Result<M, ReactError> {
    M::decode(fact.payload.as_slice()).map_err(|error| ReactError::Poison(format!("{}: {error}", fact.r#type)))
}

/// The run that a fact names.
pub(super) fn run_of(text: &str) -> Result<RunId, ReactError> {
    RunId::parse(text).map_err(|error| ReactError::Poison(error.to_string()))
}

/// What became of a fact's command.
pub(super) enum Outcome {
    Done,
    /// There is no such run.
    Absent,
}

/// Executes a fact's command.
pub(super) async fn execute(
    core: &Core,
    fact: &Fact,
    story: &str,
    run: RunId,
    command: Command,
) -> Result<Outcome, ReactError> {
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
pub(super) fn not_yet(run: RunId) -> ReactError {
    ReactError::Waits(format!("{run} is not created yet"))
}
