//! Private events to public facts: the only file that knows both.

use contracts::compute as job;
use contracts::job::{Word, kind_of};
use contracts::sweeps as wire;
use eventlog::RecordedEvent;
use feed::{Publication, Publish};
use tuning::Decision;
use vocabulary::job::{InputMode, StopBy};
use vocabulary::{RunId, SweepId};

use crate::stream::{decision_id, sweep_of};
use crate::sweep::{
    ObservationRecorded, SweepEvent, SweepState, TrialEnd, TrialEnded, TrialHeld, TrialJob, TrialPaused, TrialPromoted,
    TrialProposed, TrialReleased, parameters_json,
};

/// The map of this service.
pub struct Publisher;

impl Publish for Publisher {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        // Most events are reports, which are private unless they were told: they need not be read.
        let private = match event.kind.as_str() {
            "DecisionMade"
            | "TrialStateChanged"
            | "TrialLeased"
            | "TrialLeaseRenewed"
            | "ModelFitted"
            | "ObservationsInherited"
            | "TrialsAdopted" => true,
            "ObservationRecorded" => !event.data.contains(TELL_MEMBER),
            _ => false,
        };
        if private {
            return Ok(None);
        }
        let sweep_id = sweep_of(&event.stream).ok_or_else(|| format!("'{}' is not a sweep", event.stream))?;
        let decoded = event.decode::<SweepEvent>().map_err(|error| error.to_string())?;
        Ok(if is_imported(&decoded) { None } else { fact(sweep_id, event.position, decoded) })
    }
}

/// The member that only a told report has; its other members hold no texts.
const TELL_MEMBER: &str = "\"told\":";

/// What is imported has no run: a large study would flood `runs` with runs that never ran here.
fn is_imported(event: &SweepEvent) -> bool {
    match event {
        SweepEvent::TrialProposed(event) => event.basis.imported,
        SweepEvent::TrialEnded(event) => event.attempt_end.outcome == crate::sweep::IMPORTED,
        _ => false,
    }
}

fn fact(sweep_id: SweepId, position: i64, event: SweepEvent) -> Option<Publication> {
    let sweep = sweep_id.to_string();
    let moved = |workspace: String, state: SweepState, reason: String| {
        let fact =
            wire::SweepStateChanged { workspace, sweep_id: sweep_id.to_string(), state: state.to_string(), reason };
        Some(Publication::new("SweepStateChanged", &fact))
    };
    match event {
        SweepEvent::SweepSubmitted(event) => {
            let (workspace, name, experiment) = (event.workspace, event.name, event.spec.experiment);
            let fact = wire::SweepSubmitted { workspace, sweep_id: sweep, name, experiment };
            Some(Publication::new("SweepSubmitted", &fact))
        }
        SweepEvent::TrialProposed(event) => Some(Publication::new("TrialProposed", &proposed(sweep, event))),
        SweepEvent::TrialStopRequested(event) => {
            let decision = event.decision.map(|decision| (decision_id(sweep_id, position), decision));
            Some(stop(event.workspace, sweep, (event.trial, event.run_id), decision, event.by.to_string()))
        }
        SweepEvent::TrialPaused(event) => Some(paused(sweep, decision_id(sweep_id, position), event)),
        SweepEvent::TrialPromoted(event) => Some(promoted(sweep, event)),
        SweepEvent::TrialHeld(event) => Some(held(sweep, event)),
        SweepEvent::TrialReleased(event) => Some(released(sweep, event)),
        SweepEvent::TrialEnded(event) => {
            // An external trial ends right behind the stop, in the same append.
            let stop = decision_id(sweep_id, position - 1);
            Some(Publication::new("TrialEnded", &ended(sweep, event, stop)))
        }
        SweepEvent::ObservationRecorded(event) => reported(sweep, event),
        SweepEvent::SweepWarned(event) => {
            let (workspace, code, message) = (event.workspace, event.code, event.message);
            Some(Publication::new("SweepWarned", &wire::SweepWarned { workspace, sweep_id: sweep, code, message }))
        }
        SweepEvent::SweepStalled(event) => {
            let (workspace, code, message) = (event.workspace, "Stalled".to_owned(), event.reason);
            Some(Publication::new("SweepWarned", &wire::SweepWarned { workspace, sweep_id: sweep, code, message }))
        }
        SweepEvent::SweepDeleted(event) => {
            let fact = wire::SweepDeleted { workspace: event.workspace, sweep_id: sweep, runs: event.runs };
            Some(Publication::new("SweepDeleted", &fact))
        }
        SweepEvent::SweepStarted(event) => moved(event.workspace, SweepState::Running, String::new()),
        SweepEvent::SweepPaused(event) => moved(event.workspace, SweepState::Paused, String::new()),
        SweepEvent::SweepResumed(event) => moved(event.workspace, SweepState::Running, String::new()),
        SweepEvent::SweepExtended(event) => moved(event.workspace, event.state, "extended".to_owned()),
        SweepEvent::SweepCompleting(event) => {
            let reason = crate::sweep::Status::Completing(event.outcome).reason();
            moved(event.workspace, SweepState::Completing, reason)
        }
        SweepEvent::SweepCompleted(event) => moved(event.workspace, SweepState::Completed, event.reason.to_string()),
        SweepEvent::SweepFailed(event) => {
            moved(event.workspace, SweepState::Failed, format!("{}: {}", event.code, event.detail))
        }
        SweepEvent::SweepCanceling(event) => moved(event.workspace, SweepState::Canceling, event.by),
        SweepEvent::SweepCanceled(event) => moved(event.workspace, SweepState::Canceled, event.by),
        // What no arm above names is this service's own.
        _ => None,
    }
}

fn stop(
    workspace: String,
    sweep_id: String,
    trial: (u32, RunId),
    decision: Option<(String, Decision)>,
    by: String,
) -> Publication {
    let (trial_index, run_id, by_kind) = (trial.0, trial.1.to_string(), kind_of::<StopBy>(&by));
    let (decision, verdict) = decision.map(|(id, decision)| (id, verdict(decision))).unzip();
    let decision = decision.unwrap_or_default();
    let fact = wire::TrialStopRequested { workspace, sweep_id, trial_index, run_id, decision, by, by_kind, verdict };
    Publication::new("TrialStopRequested", &fact)
}

fn verdict(decision: Decision) -> wire::PolicyVerdict {
    let Decision { policy, interval, value, threshold, .. } = decision;
    wire::PolicyVerdict { policy, interval, value, threshold: threshold.filter(|threshold| threshold.is_finite()) }
}

/// For others it is a stop that ends nothing yet.
fn paused(sweep_id: String, decision: String, event: TrialPaused) -> Publication {
    stop(event.workspace, sweep_id, (event.trial, event.run_id), Some((decision, event.decision)), "rung".to_owned())
}

/// The same, until the sweep goes on.
fn held(sweep_id: String, event: TrialHeld) -> Publication {
    stop(event.workspace, sweep_id, (event.trial, event.run_id), None, "pause".to_owned())
}

fn released(sweep_id: String, event: TrialReleased) -> Publication {
    let (workspace, run_id) = (event.workspace, event.run_id.to_string());
    Publication::new("TrialReleased", &wire::TrialReleased { workspace, sweep_id, trial_index: event.trial, run_id })
}

fn promoted(sweep_id: String, event: TrialPromoted) -> Publication {
    let (workspace, run_id) = (event.workspace, event.run_id.to_string());
    Publication::new("TrialPromoted", &wire::TrialPromoted { workspace, sweep_id, trial_index: event.trial, run_id })
}

fn proposed(sweep_id: String, event: TrialProposed) -> wire::TrialProposed {
    let params = event.draws.iter().map(|draw| (draw.name.clone(), draw.value.argv_text())).collect();
    let tags = [("trialog.sweep_id", sweep_id.clone()), ("trialog.trial_index", event.trial.to_string())];
    let parameters = parameters_json(&event.draws);
    let (experiment, run_name) = match (&event.job, &event.external) {
        (Some(job), _) => (job.experiment.clone(), job.run_name.clone()),
        (None, Some(external)) => (external.experiment.clone(), external.run_name.clone()),
        (None, None) => Default::default(),
    };
    let sought = event.external.and_then(|external| external.objective);
    let (primary_metric, goal) = sought.map(|sought| (sought.metric, sought.goal.to_string())).unwrap_or_default();
    wire::TrialProposed {
        workspace: event.workspace,
        sweep_id: sweep_id.clone(),
        trial_index: event.trial,
        run_id: event.run_id.to_string(),
        experiment,
        run_name,
        params,
        tags: tags.map(|(name, value)| (name.to_owned(), value)).into(),
        job: event.job.map(|job| job_of(sweep_id, event.trial, parameters, job)),
        primary_metric,
        goal,
    }
}

fn job_of(sweep_id: String, trial: u32, parameters_json: String, wanted: TrialJob) -> job::JobSpec {
    let inputs = wanted.inputs.into_iter().map(|(id, input)| {
        let mode = input.mode.to_string();
        job::JobInput { id, uri: input.uri, mode_kind: kind_of::<InputMode>(&mode), mode }
    });
    let (requirements, requirements_file) = contracts::job::written(wanted.requirements);
    job::JobSpec {
        cluster: wanted.cluster,
        command: wanted.command,
        environment_variables: wanted.environment_variables,
        code_sha256: wanted.code_sha256,
        python: wanted.python,
        requirements,
        requirements_file,
        inputs: inputs.collect(),
        outputs: wanted.outputs,
        keep_best: wanted.keep_best,
        resources: Some(job::Resources {
            cpu_count: wanted.resources.cpu_count,
            gpu_count: wanted.resources.gpu_count,
            memory_bytes: wanted.resources.memory_bytes,
            node_count: wanted.resources.node_count,
        }),
        checkpoint: wanted.checkpoint,
        checkpoint_from: wanted.checkpoint_from,
        prepare: wanted.prepare,
        max_retries: i32::try_from(wanted.max_retries).unwrap_or(i32::MAX),
        timeout_seconds: wanted.timeout_seconds,
        sweep_id,
        trial_index: Some(trial),
        experiment: wanted.experiment,
        parameters_json,
        primary_metric: wanted.primary_metric,
        watched_metrics: wanted.watched_metrics,
        goal: wanted.goal.to_string(),
        seed: wanted.seed,
        contract_variables: wanted.contract_variables,
        ..job::JobSpec::default()
    }
}

fn reported(sweep_id: String, event: ObservationRecorded) -> Option<Publication> {
    let tell = event.tell?;
    let points = event.points.iter().map(|point| wire::ToldPoint { step: point.step, value: point.value });
    let others = event.others.iter().map(|other| wire::ToldValue {
        metric: other.name.clone(),
        step: other.step,
        value: other.value,
    });
    let fact = wire::TrialReported {
        workspace: tell.workspace,
        sweep_id,
        trial_index: event.trial,
        run_id: tell.run_id.to_string(),
        attempt: event.attempt,
        metric: tell.metric,
        points: points.collect(),
        others: others.collect(),
    };
    Some(Publication::new("TrialReported", &fact))
}

fn ended(sweep_id: String, event: TrialEnded, stop: String) -> wire::TrialEnded {
    let decision = match &event.end {
        TrialEnd::EarlyStopped { decision } if decision.is_empty() => stop,
        TrialEnd::EarlyStopped { decision } => decision.clone(),
        _ => String::new(),
    };
    wire::TrialEnded {
        workspace: event.workspace,
        sweep_id,
        trial_index: event.trial,
        run_id: RunId::to_string(&event.run_id),
        state: event.end.state().to_string(),
        state_kind: event.end.state().kind(),
        best_value: event.best,
        decision,
        reason: event.end.reason(),
    }
}
