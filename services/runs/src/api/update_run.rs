//! What users may do to a run: change its texts, end one without a job.

use contracts::CallContext;
use contracts::runs as wire;
use documents::texts;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::texts::check_run_name;
use super::{command, run_named, status};
use crate::run::{Command, RunState, Update};
use crate::service::Core;

pub(super) async fn update_run(
    core: &Core,
    request: Request<wire::UpdateRunRequest>,
) -> Result<Response<wire::Run>, Status> {
    let call = CallContext::of(&request);
    let wire::UpdateRunRequest { workspace, run_id, name, params, tags, remove_tags, state } = request.into_inner();
    let run = run_named(&run_id, &workspace)?;
    check_run_name(name.as_deref().unwrap_or_default()).map_err(status)?;
    texts::check(&params, "params").map_err(status)?;
    texts::check(&tags, "tags").map_err(status)?;
    let state = state.as_deref().map(ending).transpose().map_err(status)?;
    let update = Update { name, params, tags, remove_tags, state };
    let command = Command::Update { workspace, run: run_id, update, at_us: core.clock.now_us() };
    command::execute(core, &call, run, command).await
}

fn ending(text: &str) -> Result<RunState, Problem> {
    match text.parse() {
        Ok(state @ (RunState::Completed | RunState::Failed | RunState::Canceled)) => Ok(state),
        _ => {
            let message = format!("state {text:?}: a client may end its run as Completed, Failed or Canceled");
            Err(Problem::invalid("/state", "BadState", message))
        }
    }
}
