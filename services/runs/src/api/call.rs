//! What the calls have in common: runs by name, refusals, streams.

use std::pin::Pin;

use contracts::{AttemptBearer, CallContext};
use futures_util::Stream;
use tonic::Status;
use vocabulary::{Problem, RunId};

use crate::core::Core;
use crate::run::fence::token_is_good;
use crate::views::runs;

/// An answer in parts.
pub(super) type Chunks<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A problem as a status, for `map_err`.
pub(super) fn status(problem: impl Into<Problem>) -> Status {
    contracts::status_of(&problem.into())
}

/// Whether the token that a call came with is still good: one of a run's attempt is not once that is over. Writes to
/// the run ask the run itself.
pub(super) async fn still_good(core: &Core, call: &CallContext) -> Result<(), Status> {
    let Some(AttemptBearer { run_id, attempt }) = &call.attempt else { return Ok(()) };
    // A service job's token names its job: it has no run, and nothing here is its own.
    let Ok(run) = RunId::parse(run_id) else { return Err(status(Problem::new(404, "NotFound", "this run"))) };
    match runs::stands(core.log.reader(), run).await.map_err(calls::unreadable)? {
        Some((state, current)) => token_is_good(state, current, *attempt).map_err(status),
        // It is on its way here: compute knows it already.
        None => Ok(()),
    }
}

/// The run that a text names; a text that is no id names no run.
pub(super) fn run_named(text: &str, workspace: &str) -> Result<RunId, Status> {
    RunId::parse(text).map_err(|_| status(Problem::not_found("run", text, workspace)))
}

/// The run, when it is in the workspace.
pub(super) async fn run_in(core: &Core, workspace: &str, text: &str) -> Result<RunId, Status> {
    let run = run_named(text, workspace)?;
    match runs::state_of(core.log.reader(), workspace, run).await {
        Ok(Some(_)) => Ok(run),
        Ok(None) => Err(status(Problem::not_found("run", text, workspace))),
        Err(error) => Err(calls::unreadable(error)),
    }
}

/// 422 for a page token that this call did not give out.
pub(super) fn bad_token(token: &str) -> Status {
    let message = format!("page_token {token:?} is not one of this list; leave it out to begin anew");
    status(Problem::invalid("/page_token", "BadPageToken", message))
}
