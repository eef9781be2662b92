//! The calls of the service: each is a method that has its name in `proto/`, in one of the files here.

mod ask_tell;
mod change_sweep;
mod document_json;
mod explain_trial;
mod first_trials;
mod fork_sweep;
mod get_sweep;
mod import_sweep;
mod importance;
mod list_sweeps;
mod submit_sweep;
mod to_wire;
mod trials;
mod warm_start;
mod what_if;

#[cfg(test)]
mod tests;

pub(crate) use first_trials::SUBMISSIONS_AT_ONCE;

use contracts::status_of;
use runtime::background::Broken;
use tonic::{Response, Status};
use vocabulary::{Problem, SweepId};

use crate::service::Core;
use crate::stream::stream_of;
use crate::sweep::Sweep;
use crate::views;

/// Sweeps whose ids begin with a text that are looked at: two are as many as a hundred.
const BEGUN_MAX: i32 = 2;

type Answer<T> = Result<Response<T>, Status>;

/// Why a calculation gave nothing: one that panicked would again, a machine without threads recovers.
fn broken(error: Broken) -> Status {
    status_of(&match error {
        Broken::Panicked => Problem::internal(error.to_string()),
        Broken::NoThread(_) => Problem::unavailable("Busy", error.to_string(), 1),
    })
}

impl Core {
    /// The sweep that an id, a name or the beginning of an id means, unless it was deleted.
    async fn find(&self, workspace: &str, sweep: &str) -> Result<SweepId, Status> {
        let id = self.find_any(workspace, sweep).await?;
        match self.look(id, |sweep, _| sweep.deleted_at).await? {
            None => Ok(id),
            Some(at) => Err(status_of(&Problem::new(
                404,
                "NotFound",
                format!("sweep '{sweep}' in workspace '{workspace}': it was deleted at {at}"),
            ))),
        }
    }

    /// The same of one that may have been deleted, where `deleted` says so.
    async fn find_even(&self, workspace: &str, sweep: &str, deleted: bool) -> Result<SweepId, Status> {
        if deleted { self.find_any(workspace, sweep).await } else { self.find(workspace, sweep).await }
    }

    async fn find_any(&self, workspace: &str, sweep: &str) -> Result<SweepId, Status> {
        let absent = || status_of(&Problem::not_found("sweep", sweep, workspace));
        if let Ok(id) = SweepId::parse(sweep) {
            let owner = self.look(id, |sweep, _| sweep.submitted.as_ref().map(|known| known.workspace.clone())).await?;
            return if owner.as_deref() == Some(workspace) { Ok(id) } else { Err(absent()) };
        }
        if let Some(id) = views::by_name(self.log.reader(), workspace, sweep).await.map_err(calls::unreadable)? {
            return Ok(id);
        }
        let (first, last) = calls::begun::<SweepId>(sweep, "sweep_").ok_or_else(absent)?;
        let begun = views::between(self.log.reader(), workspace, first, last, BEGUN_MAX).await;
        match begun.map_err(calls::unreadable)?[..] {
            [] => Err(absent()),
            [id] => Ok(id),
            [..] => Err(status_of(&Problem::conflict(
                "Ambiguous",
                format!("the ids of several sweeps begin with '{sweep}': write more of it"),
            ))),
        }
    }

    /// Looks at a sweep in memory.
    async fn look<R: Send + 'static>(
        &self,
        sweep_id: SweepId,
        look: impl FnOnce(&Sweep, i64) -> R + Send + 'static,
    ) -> Result<R, Status> {
        self.log.inspect::<Sweep, R>(&stream_of(sweep_id), look).await.map_err(calls::unreadable)
    }
}

contracts::sweeps_calls!(Core);
