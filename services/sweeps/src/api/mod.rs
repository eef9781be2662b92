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
mod sources;
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

/// Sweeps of one former name that are looked through for a trial.
const PAST_MAX: usize = 100;

type Answer<T> = Result<Response<T>, Status>;

/// Why a calculation gave nothing: one that panicked would again, a machine without threads recovers.
fn broken(error: Broken) -> Status {
    status_of(&match error {
        Broken::Panicked => Problem::internal(error.to_string()),
        Broken::NoThread(_) => Problem::unavailable("Busy", error.to_string(), 1),
    })
}

/// 404 for a name that an archived sweep had.
fn archived(workspace: &str, name: &str, id: SweepId) -> Problem {
    let detail = format!(
        "sweep '{name}' in workspace '{workspace}': {id} was archived under that name; use its id, or take it back \
         first (trialog sweep unarchive {id})"
    );
    Problem::new(404, "NotFound", detail).with("archived_sweep_id", id.to_string())
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

    /// The sweep that has a trial: one that may have been deleted, by the name that it had too. For what is told of the
    /// past, where the answer names the sweep that it is about; of several it is the newest that has such a trial.
    async fn find_past(&self, workspace: &str, sweep: &str, index: u32) -> Result<SweepId, Status> {
        let refused = match self.find_any(workspace, sweep).await {
            Ok(id) => return Ok(id),
            Err(refused) => refused,
        };
        let past = views::by_former_name(self.log.reader(), workspace, sweep, true).await;
        for id in past.map_err(calls::unreadable)?.into_iter().take(PAST_MAX) {
            if self.look(id, move |sweep, _| sweep.trials.len() > index as usize).await? {
                return Ok(id);
            }
        }
        Err(refused)
    }

    /// That there is no such sweep. A name is never that of an archived one by itself: it may be another's any time,
    /// and who reads or deletes by it must not meet this one now and that one later. So its id is said instead.
    async fn absent(&self, workspace: &str, sweep: &str) -> Status {
        let problem = match views::by_former_name(self.log.reader(), workspace, sweep, false).await {
            Err(error) => return calls::unreadable(error),
            Ok(former) => match former.first() {
                None => Problem::not_found("sweep", sweep, workspace),
                Some(id) => archived(workspace, sweep, *id),
            },
        };
        status_of(&problem)
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
        let Some((first, last)) = calls::begun::<SweepId>(sweep, "sweep_") else {
            return Err(self.absent(workspace, sweep).await);
        };
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
