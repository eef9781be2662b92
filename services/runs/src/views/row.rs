//! A run's row, event by event. What a call answers is made of the aggregate; that both say the same is tested for any
//! history.

use contracts::runs as wire;

use vocabulary::job::{JobEnd, RequeueCause};

use crate::run::{RunCreated, RunEvent, RunState, RunUpdated, shown_time};

/// Takes an event into what is shown. The version is the caller's.
pub fn show(run: &mut wire::Run, event: &RunEvent) {
    match event {
        RunEvent::RunCreated(event) => created(run, event),
        RunEvent::RunUpdated(event) => updated(run, event),
        RunEvent::RunStateChanged(event) => {
            run.state = event.state.to_string();
            run.attempt = event.attempt;
            if event.state == RunState::Queued {
                return;
            }
            if event.state == RunState::Running && run.started_at.is_empty() {
                run.started_at = shown_time(event.at_us);
            }
            let attempt = attempt(run, event.attempt, event.at_us);
            if !event.node_id.is_empty() {
                attempt.node.clone_from(&event.node_id);
            }
        }
        RunEvent::AttemptEnded(event) => {
            match event.cause {
                RequeueCause::Preempted => {
                    run.state = RunState::Preempted.to_string();
                    run.preemptions += 1;
                }
                RequeueCause::Lost => run.state = RunState::NotResponding.to_string(),
                RequeueCause::Retry | RequeueCause::Promoted | RequeueCause::Resumed => {}
            }
            let attempt = attempt(run, event.attempt, event.at_us);
            if !event.node_id.is_empty() {
                attempt.node.clone_from(&event.node_id);
            }
            ends(attempt, &event.end, event.at_us);
        }
        RunEvent::RunEnded(event) => {
            run.state = event.state.to_string();
            run.attempt = event.attempt;
            run.ended_at = shown_time(event.at_us);
            run.end = Some(event.end.clone().into());
            // A job that was canceled in the queue never had this attempt.
            if let Some(attempt) = run.attempts.iter_mut().find(|attempt| attempt.number == event.attempt) {
                ends(attempt, &event.end, event.at_us);
            }
        }
        RunEvent::RunRelabelled(event) => {
            run.state = event.state.to_string();
            if let Some(end) = &mut run.end {
                end.decision.clone_from(&event.decision);
            }
        }
        RunEvent::RunDeleted(event) => run.deleted_at = shown_time(event.at_us),
        RunEvent::RunStopRequested(_)
        | RunEvent::RunReleased(_)
        | RunEvent::MetricReported(_)
        | RunEvent::MetricNameSeen(_)
        | RunEvent::ArtifactsRecorded(_) => {}
    }
}

fn created(run: &mut wire::Run, event: &RunCreated) {
    let at = shown_time(event.at_us);
    *run = wire::Run {
        run_id: event.run_id.to_string(),
        workspace: event.subject.workspace.clone(),
        experiment_id: event.experiment_id.clone(),
        experiment: event.experiment.clone(),
        name: event.name.clone(),
        state: RunState::Proposed.to_string(),
        parent_run_id: event.parent_run_id.clone(),
        sweep_id: event.subject.sweep_id.clone(),
        trial_index: event.subject.trial_index,
        attempt: 1,
        params: event.params.clone(),
        tags: event.tags.clone(),
        job: event.job.clone().map(Into::into),
        created_at: at.clone(),
        version: run.version,
        ..wire::Run::default()
    };
    if event.job.is_none() {
        run.state = RunState::Running.to_string();
        run.attempts = vec![wire::Attempt { number: 1, started_at: at.clone(), ..wire::Attempt::default() }];
        run.started_at = at;
    }
}

fn ends(attempt: &mut wire::Attempt, end: &JobEnd, at_us: i64) {
    attempt.ended_at = shown_time(at_us);
    attempt.end = end.outcome.to_string();
    attempt.checkpoint_age_seconds = end.checkpoint_age_seconds;
}

fn updated(run: &mut wire::Run, event: &RunUpdated) {
    if let Some(name) = &event.name {
        run.name.clone_from(name);
    }
    run.params.extend(event.params.clone());
    run.tags.extend(event.tags.clone());
    for key in &event.remove_tags {
        run.tags.remove(key);
    }
}

/// The attempt with this number, which begins now when it is new.
fn attempt(run: &mut wire::Run, number: u32, at_us: i64) -> &mut wire::Attempt {
    let place = run.attempts.iter().position(|attempt| attempt.number == number).unwrap_or_else(|| {
        run.attempts.push(wire::Attempt { number, started_at: shown_time(at_us), ..wire::Attempt::default() });
        run.attempts.len() - 1
    });
    &mut run.attempts[place]
}
