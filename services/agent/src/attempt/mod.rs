//! One attempt of a job on this node, from the order to the acknowledged end. Every step can be taken again by a later
//! agent.

mod best;
mod content;
mod copies;
mod end;
mod environment;
mod inputs;
mod keeper;
mod outputs;
mod overdue;
mod places;
mod python;
mod requirements;
mod setup;
mod shim;
mod state;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::compute::JobEnd;
use vocabulary::job::{Outcome, StopBy};

use crate::folder;
use crate::keep;
use crate::node::Node;
use crate::process;
use crate::record::{Exit, Stage};
use crate::uplink::Uplink;
use crate::watch::Watched;

pub use state::{Attempt, phase_report};

use keeper::Keeper;
use places::Refused;

/// Takes the attempt from where its folder stands to its acknowledged end. What the machine refuses (a full disk, no
/// more processes) is tried again, and what breaks too: nobody else looks after the attempt.
pub async fn drive(node: Arc<Node>, attempt: Arc<Attempt>) {
    keep::until_done("attempt", &attempt, || live(&node, &attempt)).await;
    node.forget(&attempt);
}

async fn live(node: &Arc<Node>, attempt: &Arc<Attempt>) -> anyhow::Result<()> {
    let path = attempt.folder.join(folder::ENDED);
    let end = match folder::read_json::<JobEnd>(&path)? {
        Some(end) => end,
        None => {
            let end = run(node, attempt).await?;
            let (stderr_tail, unkept) =
                (attempt.mask.cover_text(&end.stderr_tail), attempt.mask.cover_text(&end.unkept));
            let end = JobEnd { stderr_tail, unkept, ..end };
            // Not synced: after a crash of the machine it is made again of what is on disk.
            folder::write_json(&path, &end)?;
            end
        }
    };
    attempt.set_gone();
    let is_over = is_over(&end);
    node.link.report(attempt.set_end(end)).await;
    attempt.acknowledged().await;
    let (node_folder, folder) = (node.options.folder.clone(), attempt.folder.clone());
    let is_time_to_look = node.ended.fetch_add(1, Ordering::Relaxed).is_multiple_of(end::ENDED_PER_LOOK);
    let owned = Arc::clone(attempt);
    let clean_up = move || {
        if let Some(best) = owned.best.as_ref().filter(|_| is_over) {
            best.clean_up()?;
        }
        end::clean_up(&folder)?;
        // The attempt is over from here on: nothing may lead back to its beginning.
        if is_time_to_look && let Err(error) = end::drop_oldest(&node_folder) {
            tracing::warn!("older attempts stay on disk: {error}");
        }
        io::Result::Ok(())
    };
    tokio::task::spawn_blocking(clean_up).await??;
    Ok(())
}

/// From the order, or from what runs already, to the end that will be reported.
async fn run(node: &Arc<Node>, attempt: &Arc<Attempt>) -> anyhow::Result<JobEnd> {
    let clock = &*node.options.clock;
    if !attempt.folder.join(folder::PLAN).exists() {
        let prepared = tokio::select! {
            prepared = setup::prepare(node, attempt) => prepared?,
            () = attempt.stopped() => return Ok(end::of(attempt, None, clock)),
        };
        if let Err(Refused(reason)) = prepared {
            return Ok(end::refused(reason));
        }
    }
    let watched = node.watcher.watch(&attempt.folder);
    if let Some(best) = &attempt.best {
        best.begin()?;
    }
    let (mut uplink, keeper) = (Uplink::start(node, attempt, &watched), Keeper::start(attempt));
    let exit = tokio::select! {
        exit = shim::run(node, attempt) => exit?,
        never = follow_phases(node, attempt, &watched) => match never {},
        never = overdue::enforce(attempt) => match never {},
    };
    // A short command may have ended before its stage was seen.
    report_stage(node, attempt).await;
    if exit.is_none() {
        let (run, number) = (attempt.run_name().to_owned(), attempt.order.attempt);
        tokio::task::spawn_blocking(move || process::kill_leftovers(&run, number)).await?;
    }
    attempt.set_gone();
    let end = end::of(attempt, exit.as_ref(), clock);
    let has_outputs = has_completed(&end) && exit.as_ref().is_some_and(Exit::is_success) && !attempt.is_service();
    uplink.finish_metrics().await?;
    // Before its log ends: what is left out is said there.
    let unkept = keeper.finish(attempt).await?.filter(|_| is_over(&end)).unwrap_or_default();
    let end = JobEnd { unkept, ..end };
    let files = match has_outputs {
        true => outputs::files(attempt),
        false if is_stopped_early(&end) || has_completed(&end) => outputs::kept_files(attempt),
        false => Vec::new(),
    };
    // What it wrote before its end belongs to it, whether anybody still waits for it or not.
    uplink.finish().await?;
    let end = finalize(node, attempt, end, files).await;
    if let Some(best) = attempt.best.as_ref().filter(|_| is_over(&end)) {
        best.leave_checkpoint()?;
    }
    Ok(end)
}

/// Whether the attempt has come to its end, be it on the notice that its trial had gone on for too long: such a trial
/// has completed, and what it leaves is wanted.
fn has_completed(end: &JobEnd) -> bool {
    let is_over = end.outcome == Outcome::Canceled.to_string() && end.by == StopBy::MaxResource.to_string();
    end.outcome == Outcome::Completed.to_string() || is_over
}

/// Whether a policy has stopped its trial.
fn is_stopped_early(end: &JobEnd) -> bool {
    end.outcome == Outcome::Canceled.to_string() && end.by == StopBy::Policy.to_string()
}

/// Whether no other attempt can follow. After a failure one may.
fn is_over(end: &JobEnd) -> bool {
    let holds = end.by.parse().is_ok_and(StopBy::holds);
    end.outcome == Outcome::Completed.to_string() || (end.outcome == Outcome::Canceled.to_string() && !holds)
}

/// Uploads the outputs of a command that has ended well.
async fn finalize(node: &Arc<Node>, attempt: &Arc<Attempt>, end: JobEnd, files: Vec<outputs::File>) -> JobEnd {
    if files.is_empty() {
        return end;
    }
    set_phase(node, attempt, "finalizing").await;
    match outputs::upload(node, attempt, files).await {
        Ok(()) => end,
        Err(reason) => JobEnd { phase: "finalize".to_owned(), ..end::refused(reason) },
    }
}

async fn set_phase(node: &Node, attempt: &Attempt, phase: &'static str) {
    attempt.set_phase(phase);
    node.link.report(phase_report(&attempt.order.job_id, attempt.order.attempt, phase)).await;
}

/// Reports the stage that the shim has written, once; the phase afterwards.
async fn report_stage(node: &Node, attempt: &Attempt) -> &'static str {
    if let Ok(Some(stage)) = folder::read_json::<Stage>(&attempt.folder.join(folder::STATE)) {
        let phase = stage.known_phase();
        if attempt.phase() != phase {
            set_phase(node, attempt, phase).await;
        }
    }
    attempt.phase()
}

/// Reports what the shim says that runs.
async fn follow_phases(node: &Node, attempt: &Attempt, watched: &Watched) -> std::convert::Infallible {
    let mut changes = watched.changes.clone();
    loop {
        changes.borrow_and_update();
        if report_stage(node, attempt).await == "running" {
            break;
        }
        if changes.changed().await.is_err() {
            break;
        }
    }
    std::future::pending().await
}
