//! Cancels a run and everything that is nested in it.
//!
//! The run goes first, since it is what is asked for; then its children, level by level. Whatever fails in between, the
//! same request again goes on: what has ended stays as it is. Trials of a sweep are their sweep's to end.

use contracts::CallContext;
use contracts::runs as wire;
use eventlog::ExecuteError;
use futures_util::future::try_join_all;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::RunId;

use super::{command, run_named};
use crate::core::Core;
use crate::run::{self, Command, Rejection, Run};
use crate::views::runs::{self, Child};

/// Runs that are canceled at the same time, so that they share commits; their ids are all that is kept of a level.
const CHILDREN_AT_ONCE: i32 = 256;

pub(super) async fn cancel_run(
    core: &Core,
    request: Request<wire::CancelRunRequest>,
) -> Result<Response<wire::Run>, Status> {
    let call = CallContext::of(&request);
    let wire::CancelRunRequest { workspace, run_id } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    let command = Command::Cancel { workspace: workspace.clone(), run: run_id, at_us: core.clock.now_us() };
    let answer = command::execute(core, &call, run, command).await?;
    cancel_nested(core, &call, &workspace, run).await?;
    Ok(answer)
}

async fn cancel_nested(core: &Core, call: &CallContext, workspace: &str, root: RunId) -> Result<(), Status> {
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        let mut after = 0;
        loop {
            let reader = core.log.reader();
            let children = runs::children(reader, workspace, parent, after, CHILDREN_AT_ONCE).await;
            let children = children.map_err(calls::unreadable)?;
            let Some(last) = children.last() else { break };
            after = last.seq;
            let live = children.iter().filter(|child| child.sweep_id.is_empty() && !child.state.is_terminal());
            try_join_all(live.map(|child| cancel_child(core, call, workspace, child))).await?;
            open.extend(children.iter().filter(|child| child.sweep_id.is_empty()).map(|child| child.run));
        }
    }
    Ok(())
}

async fn cancel_child(core: &Core, call: &CallContext, workspace: &str, child: &Child) -> Result<(), Status> {
    let run = child.run;
    let command_id = call.command_id.map(|id| Uuid::new_v5(&id, run.uuid().as_bytes()));
    // The hash and the version are of the request, which is about the parent.
    let call = CallContext { command_id, request_hash: None, expected_version: None, ..call.clone() };
    let context = calls::context(&call, core.entropy.as_ref(), Vec::new());
    let command = Command::Cancel { workspace: workspace.to_owned(), run: run.to_string(), at_us: core.clock.now_us() };
    match core.log.execute::<Run>(&run::stream(run), command, context).await {
        Ok(_) => {
            core.changed(run);
            Ok(())
        }
        Err(ExecuteError::Rejected(Rejection::NotFound { .. })) => Ok(()),
        Err(error) => Err(calls::refused(error)),
    }
}
