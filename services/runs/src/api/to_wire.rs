//! A run as calls answer it.

use contracts::runs as wire;
use vocabulary::RunId;

use crate::run::{Attempt, Run, shown_time};

/// A run that was created.
pub(crate) fn run(run_id: RunId, run: &Run) -> wire::Run {
    let details = &run.details;
    wire::Run {
        run_id: run_id.to_string(),
        workspace: run.subject.workspace.clone(),
        experiment_id: details.experiment_id.clone(),
        experiment: details.experiment.clone(),
        name: details.name.clone(),
        state: run.state.map(|state| state.to_string()).unwrap_or_default(),
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
        // Compute knows that.
        reason: String::new(),
        // Whoever shows it reads them: reports do not touch what a run is.
        best_value: None,
        last_value: None,
    }
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
