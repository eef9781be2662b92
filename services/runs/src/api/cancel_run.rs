//! Cancels a run and everything that is nested in it.
//!
//! The run goes first, since it is what is asked for; from then on nothing begins below it. Then all that is nested in
//! it, whatever its depth, many at a time. Whatever fails in between, the same request again goes on: what has ended
//! stays as it is. Trials of a sweep are their sweep's to end.

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
use crate::views::runs;

/// Runs that are canceled at the same time, so that they share commits.
const AT_ONCE: usize = 256;
/// Children that are read at once.
const CHILDREN_PAGE: i32 = 256;

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
    let (mut open, mut live) = (vec![root], Vec::new());
    while let Some(parent) = open.pop() {
        let mut after = 0;
        loop {
            let children = runs::children(core.log.reader(), workspace, parent, after, CHILDREN_PAGE).await;
            let children = children.map_err(calls::unreadable)?;
            let Some(last) = children.last() else { break };
            after = last.seq;
            let own = children.iter().filter(|child| child.sweep_id.is_empty());
            open.extend(own.clone().map(|child| child.run));
            live.extend(own.filter(|child| !child.state.is_terminal()).map(|child| child.run));
            if live.len() >= AT_ONCE {
                cancel_all(core, call, workspace, std::mem::take(&mut live)).await?;
            }
        }
    }
    cancel_all(core, call, workspace, live).await
}

async fn cancel_all(core: &Core, call: &CallContext, workspace: &str, runs: Vec<RunId>) -> Result<(), Status> {
    try_join_all(runs.into_iter().map(|run| cancel_child(core, call, workspace, run))).await.map(drop)
}

async fn cancel_child(core: &Core, call: &CallContext, workspace: &str, run: RunId) -> Result<(), Status> {
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
