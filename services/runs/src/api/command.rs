//! A command on a run whose answer is the run: decided and answered from the same state, and the same answer again for
//! a repeat.

use contracts::CallContext;
use contracts::runs as wire;
use eventlog::{Committed, Context, EventLog, ExecuteError};
use prost::Message;
use tonic::{Response, Status};
use vocabulary::{Problem, RunId};

use super::{status, to_wire};
use crate::core::Core;
use crate::run::{self, Command, Rejection, Run};

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
