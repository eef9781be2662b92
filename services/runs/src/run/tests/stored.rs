//! Every event that was ever written still means what it meant.

use testkit::StoredForms;
use vocabulary::StoredEvent;
use vocabulary::job::{EndPhase, Goal, InputMode, JobInput, Resources};

use super::*;
use crate::experiment::{ExperimentCreated, ExperimentEvent};

const AT_US: i64 = 1_700_000_000_000_000;
const SWEEP: &str = "sweep_06CS0000000E00000000000000";
const DECISION: &str = "sweep_06CS0000000E00000000000000@17";

fn subject() -> Subject {
    Subject { workspace: "default".into(), sweep_id: SWEEP.into(), trial_index: Some(3) }
}

fn texts<const N: usize>(texts: [(&str, &str); N]) -> std::collections::BTreeMap<String, String> {
    texts.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What the file of schema 1 says.
fn old_job() -> JobSpec {
    JobSpec {
        cluster: "spot".into(),
        command: ["python", "train.py", "--lr", "0.1"].map(str::to_owned).to_vec(),
        environment_variables: texts([("OMP_NUM_THREADS", "1")]),
        code_sha256: Some("ab".repeat(32)),
        python: Some("/opt/python/bin/python".into()),
        inputs: vec![JobInput { id: "data".into(), uri: "file:///data".into(), mode: InputMode::Mount }],
        outputs: vec!["model".into()],
        resources: Resources { cpu_count: 1.0, gpu_count: 0, memory_bytes: 1 << 30, node_count: 1 },
        checkpoint: true,
        grace_seconds: Some(10.0),
        sweep_id: Some(SWEEP.into()),
        trial_index: Some(3),
        experiment: "digits".into(),
        parameters: Some([("lr".to_owned(), serde_json::json!(0.1))].into_iter().collect()),
        primary_metric: Some("val_acc".into()),
        goal: Some(Goal::Maximize),
        seed: Some(u64::MAX.to_string()),
        contract_variables: texts([("TRIALOG_PARAM_LR", "0.1")]),
        ..JobSpec::default()
    }
}

fn created(job: JobSpec) -> RunCreated {
    RunCreated {
        subject: subject(),
        run_id: RunId::parse("run_06CS0000000E0000000000000Z").unwrap(),
        experiment_id: "1".into(),
        experiment: "digits".into(),
        name: "trial 3".into(),
        parent_run_id: "run_06CS0000000E00000000000000".into(),
        params: texts([("lr", "0.1")]),
        tags: texts([("team", "vision")]),
        job: Some(job),
        objective: None,
        at_us: AT_US,
    }
}

fn ran(outcome: Outcome) -> JobEnd {
    JobEnd {
        phase: Some(EndPhase::Run),
        signal: Some(15),
        stderr_tail: "bye\n".into(),
        checkpoint_age_seconds: Some(2.5),
        ..JobEnd::new(outcome)
    }
}

#[test]
fn every_stored_form_means_what_it_meant() {
    // A build that reads an old event as something else shows a user a history that never was.
    let mut forms = StoredForms::of(env!("CARGO_MANIFEST_DIR"));
    forms.is::<RunEvent>(1, created(old_job()));
    let job = JobSpec {
        checkpoint_from: Some("run_06CS0000000E00000000000000".into()),
        max_retries: 1,
        timeout_seconds: Some(60.0),
        watched_metrics: vec!["loss".into()],
        ..old_job()
    };
    forms.is::<RunEvent>(2, created(job));
    lives(&mut forms);
    let updated = RunUpdated {
        name: Some("best".into()),
        params: texts([("batch", "64")]),
        tags: texts([("stage", "x")]),
        remove_tags: vec!["team".into()],
    };
    forms.is::<RunEvent>(1, updated);
    let point = |step, value, timestamp_ms| Point { name: "val_acc".into(), step, value, timestamp_ms };
    let points = vec![point(3, 0.91, 1_700_000_000_000), point(4, f64::NAN, 1_700_000_001_000)];
    forms.is::<RunEvent>(1, MetricReported { subject: subject(), attempt: 2, points });
    forms.is::<RunEvent>(1, MetricNameSeen { subject: subject(), name: "loss".into() });
    forms.is::<RunEvent>(1, ArtifactsRecorded { subject: subject(), attempt: 2, count: 4, outputs: Vec::new() });
    let (workspace, name) = ("default".into(), "digits".into());
    let tags = texts([("team", "vision")]);
    forms.is::<ExperimentEvent>(1, ExperimentCreated { workspace, experiment_id: 1, name, tags, at_us: AT_US });
    forms.complete();
}

fn lives(forms: &mut StoredForms) {
    let (subject, node_id, at_us) = (subject(), "node_06CS0000000E00000000000000".to_owned(), AT_US);
    let (state, attempt) = (RunState::Running, 1);
    let running = RunStateChanged { subject: subject.clone(), state, attempt, node_id: node_id.clone(), at_us };
    forms.is::<RunEvent>(1, running);
    let (cause, end) = (RequeueCause::Preempted, ran(Outcome::Preempted));
    let ended = AttemptEnded { subject: subject.clone(), attempt, cause, end, node_id, at_us };
    forms.is::<RunEvent>(1, ended.clone());
    forms.is::<RunEvent>(2, ended);
    let (decision, by) = (DECISION.to_owned(), StopBy::Policy);
    forms.is::<RunEvent>(1, RunStopRequested { subject: subject.clone(), decision: decision.clone(), by, at_us });
    forms.is::<RunEvent>(1, RunReleased { subject: subject.clone(), at_us });
    forms.is::<RunEvent>(1, RunDeleted { subject: subject.clone(), at_us });
    let end = JobEnd { by: Some(by), decision: decision.clone(), ..ran(Outcome::Canceled) };
    let (state, with_trial, metric_names) = (RunState::EarlyStopped, false, vec!["val_acc".into(), "loss".into()]);
    let ended = RunEnded {
        subject: subject.clone(),
        attempt: 2,
        state,
        end,
        metric_names,
        outputs: Vec::new(),
        with_trial,
        at_us,
    };
    forms.is::<RunEvent>(1, ended.clone());
    forms.is::<RunEvent>(2, RunEnded { with_trial: true, ..ended });
    forms.is::<RunEvent>(1, RunRelabelled { subject, state, decision });
}

#[test]
fn what_the_newest_schema_always_writes_may_not_be_missing() {
    // A default would turn a damaged event into a run that nobody created.
    let text = RunEvent::from(created(old_job())).encode().unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    for field in ["params", "tags", "name", "experiment_id"] {
        let mut damaged = whole.clone();
        damaged.as_object_mut().unwrap().remove(field);
        let error = RunEvent::decode("RunCreated", 2, &damaged.to_string()).unwrap_err();
        assert!(error.contains(field) && error.contains("RunCreated schema 2"), "{error}");
    }
    assert!(RunEvent::decode("RunCreated", 3, &text).is_err(), "a later build's event is not guessed");
}
