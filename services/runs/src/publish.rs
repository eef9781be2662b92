//! Private events to public facts: the only file that knows both. At most one fact an event.

use contracts::job::Word;
use contracts::runs as facts;
use eventlog::RecordedEvent;
use feed::{Publication, Publish};
use vocabulary::StoredEvent;
use vocabulary::job::RequeueCause;

use crate::experiment::ExperimentEvent;
use crate::run::{self, RunEvent, RunState};

/// The facts of runs.
pub struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        match run::of_stream(&event.stream) {
            Some(run) => {
                let decoded = RunEvent::decode(&event.kind, event.schema, &event.data)?;
                Ok(of_run(run.to_string(), decoded))
            }
            None => {
                let ExperimentEvent::ExperimentCreated(created) =
                    ExperimentEvent::decode(&event.kind, event.schema, &event.data)?;
                let fact = facts::ExperimentCreated {
                    workspace: created.workspace,
                    experiment_id: created.experiment_id.to_string(),
                    name: created.name,
                };
                Ok(Some(Publication::new("ExperimentCreated", &fact)))
            }
        }
    }
}

fn of_run(run_id: String, event: RunEvent) -> Option<Publication> {
    Some(match event {
        RunEvent::RunCreated(event) => created(run_id, event),
        RunEvent::RunStateChanged(event) => state_changed(facts::RunStateChanged {
            workspace: event.subject.workspace,
            run_id,
            sweep_id: event.subject.sweep_id,
            trial_index: event.subject.trial_index,
            state: event.state.to_string(),
            state_kind: event.state.kind(),
            attempt: event.attempt,
            node_id: event.node_id,
            end: None,
        }),
        RunEvent::AttemptEnded(event) => {
            let state = match event.cause {
                RequeueCause::Preempted => RunState::Preempted,
                RequeueCause::Lost => RunState::NotResponding,
                // The Queued that follows says all that others must know.
                RequeueCause::Retry | RequeueCause::Promoted | RequeueCause::Resumed => return None,
            };
            state_changed(facts::RunStateChanged {
                workspace: event.subject.workspace,
                run_id,
                sweep_id: event.subject.sweep_id,
                trial_index: event.subject.trial_index,
                state: state.to_string(),
                state_kind: state.kind(),
                attempt: event.attempt,
                node_id: event.node_id,
                end: Some(event.end.into()),
            })
        }
        RunEvent::RunStopRequested(event) => {
            let (workspace, decision) = (event.subject.workspace, event.decision);
            let (by, by_kind) = (event.by.to_string(), event.by.kind());
            Publication::new("RunStopRequested", &facts::RunStopRequested { workspace, run_id, decision, by, by_kind })
        }
        RunEvent::RunReleased(event) => {
            Publication::new("RunReleased", &facts::RunReleased { workspace: event.subject.workspace, run_id })
        }
        RunEvent::RunEnded(event) => ended(run_id, event),
        RunEvent::RunRelabelled(event) => {
            let (workspace, decision) = (event.subject.workspace, event.decision);
            let (state, state_kind) = (event.state.to_string(), event.state.kind());
            let fact = facts::RunRelabelled { workspace, run_id, state, decision, state_kind };
            Publication::new("RunRelabelled", &fact)
        }
        RunEvent::MetricReported(event) => metric_reported(run_id, event),
        RunEvent::MetricNameSeen(event) => {
            let fact = facts::MetricNameSeen {
                workspace: event.subject.workspace,
                run_id,
                sweep_id: event.subject.sweep_id,
                trial_index: event.subject.trial_index,
                name: event.name,
            };
            Publication::new("MetricNameSeen", &fact)
        }
        RunEvent::ArtifactsRecorded(event) => {
            let fact = facts::ArtifactsRecorded { workspace: event.subject.workspace, run_id, count: event.count };
            Publication::new("ArtifactsRecorded", &fact)
        }
        RunEvent::RunDeleted(event) => {
            Publication::new("RunDeleted", &facts::RunDeleted { workspace: event.subject.workspace, run_id })
        }
        RunEvent::RunUpdated(_) => return None,
    })
}

fn created(run_id: String, event: run::RunCreated) -> Publication {
    let fact = facts::RunCreated {
        workspace: event.subject.workspace,
        run_id,
        experiment: event.experiment,
        sweep_id: event.subject.sweep_id,
        trial_index: event.subject.trial_index,
        job: event.job.map(Into::into),
        parent_run_id: event.parent_run_id,
    };
    Publication::new("RunCreated", &fact)
}

fn ended(run_id: String, event: run::RunEnded) -> Publication {
    let fact = facts::RunEnded {
        workspace: event.subject.workspace,
        run_id,
        sweep_id: event.subject.sweep_id,
        trial_index: event.subject.trial_index,
        attempt: event.attempt,
        end: Some(event.end.into()),
        state: event.state.to_string(),
        state_kind: event.state.kind(),
        metric_names: event.metric_names,
        outputs: event.outputs,
        with_trial: event.with_trial,
    };
    Publication::new("RunEnded", &fact)
}

fn state_changed(fact: facts::RunStateChanged) -> Publication {
    Publication::new("RunStateChanged", &fact)
}

fn metric_reported(run_id: String, event: run::MetricReported) -> Publication {
    let point = |point: run::Point| facts::ReportedPoint {
        name: point.name,
        step: point.step,
        value: point.value,
        timestamp_ms: point.timestamp_ms,
    };
    let fact = facts::MetricReported {
        workspace: event.subject.workspace,
        run_id,
        sweep_id: event.subject.sweep_id,
        trial_index: event.subject.trial_index,
        attempt: event.attempt,
        points: event.points.into_iter().map(point).collect(),
    };
    Publication::new("MetricReported", &fact)
}
