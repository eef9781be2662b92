//! Finds an experiment, or makes it: what calls and reactions do alike.

use std::collections::BTreeMap;

use eventlog::Context;
use vocabulary::Problem;

use crate::core::Core;
use crate::experiment::{self, DEFAULT_NAME, ExperimentCreated, Experiments};
use crate::views::experiments as view;

/// The experiment with an id or a name; a new name gets an id.
///
/// # Errors
/// When the log cannot be read or written.
pub(crate) async fn find_or_make(
    core: &Core,
    workspace: &str,
    id_or_name: &str,
    context: Context,
) -> Result<ExperimentCreated, Problem> {
    let name = if id_or_name.is_empty() { DEFAULT_NAME } else { id_or_name };
    if let Some(known) = core.experiments.get(workspace, name) {
        return Ok(known);
    }
    let found = look_or_make(core, workspace, name, context).await?;
    core.experiments.put(workspace, name, found.clone());
    Ok(found)
}

async fn look_or_make(
    core: &Core,
    workspace: &str,
    name: &str,
    context: Context,
) -> Result<ExperimentCreated, Problem> {
    let find = || view::find(core.log.reader(), workspace, name);
    if let Some(found) = find().await.map_err(|error| error.problem())? {
        return Ok(found);
    }
    let command = experiment::Command::Create {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        tags: BTreeMap::new(),
        must_be_new: false,
        at_us: core.clock.now_us(),
    };
    let made = core.log.execute::<Experiments>(&experiment::stream(workspace), command, context).await;
    made.map_err(calls::problem)?;
    let found = find().await.map_err(|error| error.problem())?;
    found.ok_or_else(|| Problem::internal(format!("experiment '{name}' was created and is not there")))
}
