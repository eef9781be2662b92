//! Removes the checkpoints of deleted runs, once no job that is not over begins with them or saves there.
//!
//! What is to go is written down before the deletion counts as handled, and removed by a task of its own: so it goes on
//! after a crash, and the writer does not wait for a disk; the follower of runs only looks whether anything is there. A
//! sweep that others are built on is not deleted before they have ended, so no job comes later that begins with what a
//! deleted run has.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventlog::{Context, ExecuteError, Recorded};
use tokio::sync::Notify;
use vocabulary::{Problem, RunId};

use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::job::Job;
use crate::views::released_checkpoints;

/// Rows need a stream that they go with; nothing happens to a job.
const STREAM: &str = "checkpoints";
/// Runs that are looked at together.
const RUNS_AT_ONCE: i64 = 100;
/// Between two looks while jobs hold something back that may end at any time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the list is looked through, if nobody asks for it: what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(600);

/// See the module.
pub(crate) struct Checkpoints {
    pub commands: Commands,
    pub fleet: Arc<FleetState>,
    /// Where runs keep their checkpoints over attempts.
    pub folder: PathBuf,
    /// More is to go.
    pub released: Notify,
}

/// What is written of a run.
#[derive(Clone, Copy)]
enum Step {
    /// Its checkpoints are to go.
    Release,
    /// They are gone.
    Forget,
}

impl Checkpoints {
    /// Writes down that a deleted run's checkpoints are to go.
    ///
    /// # Errors
    /// When that cannot be written.
    pub async fn release(&self, run: RunId, context: Context) -> Result<(), Problem> {
        let run_id = run.to_string();
        let places = places(&self.folder, &run_id);
        // What cannot be looked at is taken for there: it is tried again when it is removed.
        let looked = move || places.iter().any(|path| path.try_exists().unwrap_or(true));
        if !tokio::task::spawn_blocking(looked).await.unwrap_or(true) {
            return Ok(());
        }
        self.record(vec![run_id], Step::Release, context).await?;
        self.released.notify_one();
        Ok(())
    }

    async fn record(&self, runs: Vec<String>, step: Step, context: Context) -> Result<(), Problem> {
        let runs = Arc::new(runs);
        let recorded = self.commands.log.record::<Job, _>(STREAM, None, context, move |_, tx| {
            let runs = Arc::clone(&runs);
            Box::pin(async move {
                for run_id in runs.iter() {
                    match step {
                        Step::Release => released_checkpoints::put(tx, run_id).await?,
                        Step::Forget => released_checkpoints::forget(tx, run_id).await?,
                    }
                }
                Ok(Recorded { events: Vec::new(), reply: Vec::new() })
            })
        });
        let refused = |error: ExecuteError<Infallible>| error.into_problem(|never| match never {});
        recorded.await.map(drop).map_err(refused)
    }

    /// Removes what is to go: at the start, when something more is, when a job may have ended that held something back,
    /// and every now and then.
    ///
    /// # Errors
    /// When the list cannot be read or written; it is begun again then.
    pub async fn keep_removing(&self) -> anyhow::Result<()> {
        let mut folded = self.fleet.folded.subscribe();
        loop {
            folded.borrow_and_update();
            let is_held_back = self.remove_all().await?;
            let job_ended = async {
                if !is_held_back {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(PAUSE).await;
                // The sender lives in self, so waiting cannot fail.
                let _ = folded.changed().await;
            };
            tokio::select! {
                () = self.released.notified() => {}
                () = job_ended => {}
                () = tokio::time::sleep(AGAIN) => {}
                () = self.commands.shutdown.requested() => return Ok(()),
            }
        }
    }

    /// Whether something stays for the sake of a job.
    async fn remove_all(&self) -> anyhow::Result<bool> {
        let (mut after, mut is_held_back) = (String::new(), false);
        loop {
            let page = released_checkpoints::after(self.commands.log.reader(), &after, RUNS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(is_held_back) };
            after.clone_from(last);
            // What was queued before the deletion is known by now.
            let head = *self.commands.log.head().borrow();
            self.fleet.caught_up(head).await?;
            let (used, free) = page.into_iter().partition::<Vec<_>, _>(|run_id| self.fleet.lock().uses(run_id));
            is_held_back |= !used.is_empty();
            let folder = self.folder.clone();
            let removed = move || free.into_iter().filter(|run_id| remove(&folder, run_id)).collect::<Vec<_>>();
            let gone = tokio::task::spawn_blocking(removed).await?;
            if !gone.is_empty() {
                // Last: what a crash leaves between is found again.
                self.record(gone, Step::Forget, self.commands.context("remove_checkpoints")).await?;
            }
        }
    }
}

/// What there may be of a run: a folder that is being removed, its own, a copy that an agent has broken off, and what
/// one has kept of its best value.
fn places(folder: &Path, run_id: &str) -> [PathBuf; 4] {
    let name = |what: &str| format!(".{run_id}.{what}");
    [name("removed"), run_id.to_owned(), name("partial"), name("best")].map(|name| folder.join(name))
}

/// Removes what there is of a run; false when it is to be tried again.
fn remove(folder: &Path, run_id: &str) -> bool {
    let [going, own, partial, best] = places(folder, run_id);
    let gone = |path: &Path| match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    // Under another name first: nobody takes a part of it for the whole.
    let moved = || match std::fs::rename(&own, &going) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let removed = gone(&going).and_then(|()| moved()).and_then(|()| gone(&going));
    let removed = removed.and_then(|()| gone(&partial)).and_then(|()| gone(&best));
    if let Err(error) = &removed {
        tracing::warn!(run.id = run_id, "its checkpoints stay for now: {error}");
    }
    removed.is_ok()
}
