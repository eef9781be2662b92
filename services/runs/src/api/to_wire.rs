//! A run as calls answer it.

use contracts::runs as wire;
use vocabulary::RunId;
use vocabulary::job::StopBy;

use crate::run::{Attempt, Run, RunState, shown_time};

/// A run that was created.
pub(crate) fn run(run_id: RunId, run: &Run) -> wire::Run {
    let details = &run.details;
    wire::Run {
        run_id: run_id.to_string(),
        workspace: run.subject.workspace.clone(),
        experiment_id: details.experiment_id.clone(),
        experiment: details.experiment.clone(),
        name: details.name.clone(),
        state: run.shown_state().map(|state| state.to_string()).unwrap_or_default(),
        parent_run_id: details.parent_run_id.clone(),
        sweep_id: run.subject.sweep_id.clone(),
        trial_index: run.subject.trial_index,
        attempt: run.attempt,
        attempts: details.attempts.iter().map(attempt).collect(),
        params: details.params.clone(),
        tags: details.tags.clone(),
        end: details.end.clone().map(Into::into),
        job: details.job.as_deref().cloned().map(Into::into),
        created_at: shown_time(details.created_us),
        started_at: details.started_us.map(shown_time).unwrap_or_default(),
        ended_at: details.ended_us.map(shown_time).unwrap_or_default(),
        preemptions: details.preemptions,
        version: run.version,
        deleted_at: details.deleted_us.map(shown_time).unwrap_or_default(),
        reason: reason(run),
        // Whoever shows it reads them: reports do not touch what a run is.
        best_value: None,
        last_value: None,
    }
}

/// Why it waits; for what a queued one waits compute knows.
fn reason(run: &Run) -> String {
    let words = match run.held_by.filter(|_| run.shown_state() == Some(RunState::Paused)) {
        Some(StopBy::Pause) => "its sweep is paused: it goes on when the sweep does",
        Some(StopBy::Rung) => "it waits at a rung of its sweep until it is promoted or stopped",
        _ => "",
    };
    words.to_owned()
}

fn attempt(attempt: &Attempt) -> wire::Attempt {
    wire::Attempt {
        number: attempt.number,
        node: attempt.node.clone(),
        started_at: shown_time(attempt.started_us),
        ended_at: attempt.ended_us.map(shown_time).unwrap_or_default(),
        end: attempt.end.map(|end| end.to_string()).unwrap_or_default(),
        checkpoint_age_seconds: attempt.checkpoint_age_seconds,
    }
}
