//! A command on a run whose answer is the run: decided and answered from the same state, and the same answer again for
//! a repeat.

use std::sync::Arc;

use contracts::CallContext;
use contracts::runs as wire;
use eventlog::{Committed, Context, EventLog, ExecuteError, RecordError, Recorded};
use prost::Message;
use tonic::{Response, Status};
use vocabulary::{Decider, Problem, RunId};

use super::{status, to_wire};
use crate::core::Core;
use crate::run::{self, Command, Rejection, Run};
use crate::views::nested_runs;

/// Decides a command; the reply is the run after it.
pub(super) async fn decide(
    log: &EventLog,
    run: RunId,
    command: Command,
    context: Context,
) -> Result<Committed, ExecuteError<Rejection>> {
    log.execute_answering::<Run>(&run::stream(run), command, context, move |state, _| {
        to_wire::run(run, state).encode_to_vec()
    })
    .await
}

/// The same for a run that begins below another one, which must not have been canceled: a cancellation takes along what
/// began before it, so nothing may begin after it.
pub(super) async fn decide_below(
    log: &EventLog,
    parent: RunId,
    run: RunId,
    command: Command,
    context: Context,
) -> Result<Committed, ExecuteError<Rejection>> {
    let command = Arc::new(command);
    log.record::<Run, _>(&run::stream(run), Some(Arc::clone(&command)), context, move |state, tx| {
        let (decided, mut after) = (state.decide(&command), state.clone());
        Box::pin(async move {
            let events = decided.map_err(RecordError::Rejected)?;
            // First: the way up is as long as the depth says.
            let depth = nested_runs::depth_of(tx, parent).await?;
            if depth >= nested_runs::DEPTH_MAX {
                let (parent, most) = (parent.to_string(), nested_runs::DEPTH_MAX);
                return Err(RecordError::Rejected(Rejection::TooDeep { parent, depth, most }));
            }
            if let Some(canceled) = nested_runs::canceled_at_or_above(tx, parent).await? {
                return Err(RecordError::Rejected(Rejection::ParentCanceled { canceled: canceled.to_string() }));
            }
            events.iter().for_each(|event| after.evolve(event));
            Ok(Recorded { events, reply: to_wire::run(run, &after).encode_to_vec() })
        })
    })
    .await
}

/// The answer to a decided command.
pub(super) fn answer(core: &Core, run: RunId, committed: &Committed) -> Result<Response<wire::Run>, Status> {
    core.changed(run);
    Ok(contracts::with_position(reply(committed)?, committed.position))
}

/// The reply that is stored with a command.
pub(super) fn reply<M: Message + Default>(committed: &Committed) -> Result<M, Status> {
    M::decode(committed.reply.as_slice())
        .map_err(|error| status(Problem::internal(format!("a stored reply cannot be read: {error}"))))
}

/// Decides a user's command and answers the run.
pub(super) async fn execute(
    core: &Core,
    call: &CallContext,
    run: RunId,
    command: Command,
) -> Result<Response<wire::Run>, Status> {
    let context = calls::context(call, core.entropy.as_ref(), Vec::new());
    let committed = decide(&core.log, run, command, context).await.map_err(calls::refused)?;
    answer(core, run, &committed)
}
