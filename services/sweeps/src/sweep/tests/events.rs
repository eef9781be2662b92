//! Every event that was ever written still means what it meant.

use std::collections::BTreeMap;

use jiff::Timestamp;
use testkit::StoredForms;
use tuning::bayes::Fit;
use tuning::{Decision, Draw, Goal, Input, Value};
use vocabulary::{RunId, SweepId};

use crate::document::{FailedTrials, Limits, Resources, ServerLimits, read_sweep};
use crate::sweep::*;

/// The document that the sweep of the files was submitted with.
const DOCUMENT: &str = "
name: digits
cluster: spot
objective: {goal: maximize, primary_metric: val_acc}
search_space: {lr: {type: uniform, min_value: 0, max_value: 1}}
sampling_algorithm: {type: random, seed: 7}
early_termination: {type: bandit, slack_amount: 0.1, evaluation_interval: 1}
limits:
  {max_total_trials: 3, max_concurrent_trials: 3, timeout_seconds: 5184000, max_failed_trials: 3, max_retries: 0}
record_keeps: true
trial: {command: [python, train.py, --lr, '${{search_space.lr}}']}
";

fn at() -> Timestamp {
    "2026-11-01T10:00:00Z".parse().unwrap()
}

fn run(number: u32) -> RunId {
    RunId::parse(&format!("run_00000000000000000000000{number}")).unwrap()
}

fn source() -> SweepId {
    SweepId::parse("sweep_00000000000000000000000abc").unwrap()
}

fn workspace() -> String {
    "default".to_owned()
}

fn limits(max_total_trials: u32) -> Limits {
    Limits {
        max_total_trials,
        max_new_trials: None,
        max_concurrent_trials: 3,
        timeout_seconds: 5_184_000.0,
        trial_timeout_seconds: None,
        max_failed_trials: FailedTrials::InARow(3),
        max_retries: 0,
        max_trials_without_improvement: None,
        convergence: None,
    }
}

fn draw(value: f64) -> Vec<Draw> {
    vec![Draw { name: "lr".into(), u: value, value: Value::Number(value) }]
}

fn bandit(value: f64, population: u32) -> Decision {
    Decision {
        policy: "bandit".into(),
        interval: 1,
        value,
        threshold: Some(0.8),
        population,
        best: Some(0.9),
        inputs: vec![Input { trial: 0, position: 6, value: 0.9 }],
        ..Decision::default()
    }
}

fn asha(value: f64, rank: u32) -> Decision {
    Decision {
        policy: "asha".into(),
        interval: 4,
        threshold: Some(0.75),
        population: 9,
        best: None,
        rank: Some(rank),
        rung: Some(1),
        kept: Some(2),
        ..bandit(value, 9)
    }
}

fn completed() -> TrialEnd {
    TrialEnd::completed(false)
}

fn closing(counts: &[(&str, u32)], proposals: u32, preemptions: u32) -> Closing {
    let trial_counts = counts.iter().map(|(state, count)| ((*state).to_owned(), *count)).collect();
    Closing { best: None, trial_counts, proposals, preemptions, without_value: 0, inherited: 0 }
}

#[test]
fn every_stored_form_means_what_it_meant() {
    // An upgrade that reads an old event as something else would tell another sweep than the one that was.
    let mut forms = StoredForms::of(env!("CARGO_MANIFEST_DIR"));
    sweeps(&mut forms);
    endings(&mut forms);
    trials(&mut forms);
    reports(&mut forms);
    stops(&mut forms);
    inherited(&mut forms);
    forms.complete_but(&["ObservationsInherited.1.json", "SweepSubmitted.1.json", "TrialsAdopted.1.json"]);
}

fn sweeps(forms: &mut StoredForms) {
    let server = ServerLimits { max_total_trials: 1_000, max_concurrent_trials: 100 };
    let (spec, _) = read_sweep(DOCUMENT.as_bytes(), documents::Format::Yaml, &server, None, false).unwrap();
    let submitted = SweepSubmitted {
        workspace: workspace(),
        sweep_id: SweepId::parse("sweep_000000000000000000000002NW").unwrap(),
        name: "digits".into(),
        spec,
        seed: 7,
        document: "{}".into(),
        warnings: Vec::new(),
        tuner_version: 1,
        parent: None,
        at: at(),
    };
    forms.is::<SweepEvent>(1, submitted);
    forms.is::<SweepEvent>(1, SweepStarted { workspace: workspace(), at: at() });
    forms.is::<SweepEvent>(1, SweepPaused { workspace: workspace(), mode: PauseMode::default(), at: at() });
    forms.is::<SweepEvent>(1, SweepResumed { workspace: workspace(), at: at() });
    let state = SweepState::Running;
    forms.is::<SweepEvent>(1, SweepExtended { workspace: workspace(), limits: limits(5), state, at: at() });
    forms.is::<SweepEvent>(1, LimitsChanged { limits: limits(3), at: at() });
    let tags = [("team".to_owned(), "vision".to_owned())].into();
    forms.is::<SweepEvent>(1, SweepDescribed { description: "the second".into(), tags, at: at() });
    let message = "val_accuracy is not the primary metric val_acc; did you mean it?".to_owned();
    let code = "OtherMetric".to_owned();
    forms.is::<SweepEvent>(1, SweepWarned { workspace: workspace(), code, message, at: at() });
    let reason = "trial 2 was preempted 5 times without a new report".to_owned();
    forms.is::<SweepEvent>(1, SweepStalled { workspace: workspace(), trial: 2, reason, at: at() });
    forms.is::<SweepEvent>(1, SweepUnstalled { trial: 2 });
    forms.is::<SweepEvent>(1, SweepArchived { at: at() });
    forms.is::<SweepEvent>(1, SweepUnarchived { state: SweepState::Completed, at: at() });
    forms.is::<SweepEvent>(1, SweepDeleted { workspace: "default".into(), runs: true, at: at() });
}

fn endings(forms: &mut StoredForms) {
    let reason = CompletedReason::MaxTotalTrials;
    let outcome = Outcome::Completed { reason };
    forms.is::<SweepEvent>(1, SweepCompleting { workspace: workspace(), outcome, at: at() });
    let parameters = r#"{"lr":0.090716886524845}"#.to_owned();
    let (missing_outputs, unkept) = (Vec::new(), String::new());
    let best = Some(Best { trial: 0, run_id: run(401), value: 0.9, parameters, missing_outputs, unkept });
    let closed = Closing { best, ..closing(&[("Completed", 2), ("EarlyStopped", 1)], 3, 5) };
    forms.is::<SweepEvent>(1, SweepCompleted { workspace: workspace(), reason, closing: closed, at: at() });
    let detail = "1 trials in a row failed (the last: run: exit code 1); the first said: trial 0 broke".to_owned();
    let (code, closed) = ("TrialsKeepFailing".to_owned(), closing(&[("Failed", 1)], 1, 0));
    forms.is::<SweepEvent>(1, SweepFailed { workspace: workspace(), code, detail, closing: closed, at: at() });
    let by = "token:ab12".to_owned();
    forms.is::<SweepEvent>(1, SweepCanceling { workspace: workspace(), by: by.clone(), at: at() });
    let closed = closing(&[("Canceled", 2)], 2, 0);
    forms.is::<SweepEvent>(1, SweepCanceled { workspace: workspace(), by, closing: closed, at: at() });
}

fn variables() -> BTreeMap<String, String> {
    let variables = [
        ("MLFLOW_RUN_ID", "00000000000000000000000000001001"),
        ("TRIALOG_EXPERIMENT", "Default"),
        ("TRIALOG_GOAL", "maximize"),
        ("TRIALOG_PARAM_LR", "0.090716886524845"),
        ("TRIALOG_PRIMARY_METRIC", "val_acc"),
        ("TRIALOG_RUN_ID", "run_00000000000000000000000401"),
        ("TRIALOG_SEED", "9470919011554590072"),
        ("TRIALOG_SWEEP_ID", "sweep_000000000000000000000002NW"),
        ("TRIALOG_TRIAL_INDEX", "0"),
        ("TRIALOG_WORKSPACE", "default"),
    ];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn trials(forms: &mut StoredForms) {
    let job = TrialJob {
        cluster: "spot".into(),
        experiment: "Default".into(),
        run_name: "digits-0".into(),
        command: ["python", "train.py", "--lr", "0.090716886524845"].map(str::to_owned).to_vec(),
        environment_variables: BTreeMap::new(),
        contract_variables: variables(),
        code_sha256: String::new(),
        python: String::new(),
        requirements: None,
        inputs: BTreeMap::new(),
        outputs: Vec::new(),
        keep_best: Vec::new(),
        resources: Resources { cpu_count: 1.0, gpu_count: 0, memory_bytes: 1 << 30, node_count: 1 },
        checkpoint: false,
        checkpoint_from: String::new(),
        prepare: Vec::new(),
        max_retries: 0,
        timeout_seconds: 0.0,
        primary_metric: "val_acc".into(),
        watched_metrics: Vec::new(),
        goal: Goal::Maximize,
        seed: "9470919011554590072".into(),
    };
    let proposed = TrialProposed {
        workspace: workspace(),
        trial: 0,
        run_id: run(401),
        draws: draw(0.090_716_886_524_845),
        sampler_index: 0,
        redraw: 0,
        sampler_version: 1,
        basis: Basis::default(),
        explained: None,
        job: Some(job),
        external: None,
        at: at(),
    };
    forms.is::<SweepEvent>(1, proposed);
    let (state, node) = (TrialState::Running, "node_1".to_owned());
    forms.is::<SweepEvent>(1, TrialStateChanged { trial: 2, attempt: 1, state, node, end: None, at: at() });
    let attempt_end = AttemptEnd { outcome: "completed".into(), phase: "run".into(), ..AttemptEnd::default() };
    let ended = TrialEnded {
        workspace: workspace(),
        trial: 0,
        run_id: run(401),
        attempt: 1,
        end: completed(),
        attempt_end,
        best: Some(0.9),
        missing_outputs: Vec::new(),
        at: at(),
    };
    forms.is::<SweepEvent>(1, ended);
    let lease = Lease { worker: "w1".into(), seconds: 60.0, expires_at: "2026-11-01T10:02:01Z".parse().unwrap() };
    let leased_at = "2026-11-01T10:01:01Z".parse().unwrap();
    forms.is::<SweepEvent>(1, TrialLeased { trial: 0, attempt: 2, lease, at: leased_at });
}

fn reports(forms: &mut StoredForms) {
    let points = vec![Point { step: 0, value: 0.9 }, Point { step: 1, value: f64::NAN }];
    let recorded =
        ObservationRecorded { trial: 0, attempt: 1, points, others: Vec::new(), after_stop: false, tell: None };
    forms.is::<SweepEvent>(1, recorded);
    forms.is::<SweepEvent>(1, DecisionMade { trial: 0, decision: bandit(0.9, 1) });
    let expires_at = "2026-11-01T10:03:01Z".parse().unwrap();
    forms.is::<SweepEvent>(1, TrialLeaseRenewed { trial: 0, attempt: 2, expires_at });
    let fit = Fit { known: 20, parameters: vec![-1.2, 0.3, 0.0, -4.0], outputs: Vec::new(), failures: Vec::new() };
    let fitted_at = "2026-11-01T10:02:01Z".parse().unwrap();
    forms.is::<SweepEvent>(1, ModelFitted { known: 20, previous: Some(41), fit, at: fitted_at });
}

fn stops(forms: &mut StoredForms) {
    let (workspace, trial, run_id, at) = (workspace(), 1, run(402), at());
    let (by, decision) = (StopBy::Policy, Some(bandit(0.5, 2)));
    let stopped = TrialStopRequested { workspace: workspace.clone(), trial, run_id, by, decision, at };
    forms.is::<SweepEvent>(1, stopped);
    let (by, seconds) = (StopBy::MaxResource, 600.0);
    forms.is::<SweepEvent>(1, TrialFinishing { workspace: workspace.clone(), trial, by, seconds, at });
    let (rung, decision) = (1, asha(0.5, 4));
    forms.is::<SweepEvent>(1, TrialPaused { workspace: workspace.clone(), trial, run_id, rung, decision, at });
    let (attempt, decision) = (2, asha(0.75, 1));
    let promoted = TrialPromoted { workspace: workspace.clone(), trial, run_id, rung, attempt, decision, at };
    forms.is::<SweepEvent>(1, promoted);
    forms.is::<SweepEvent>(1, TrialHeld { workspace: workspace.clone(), trial, run_id, at });
    forms.is::<SweepEvent>(1, TrialReleased { workspace, trial, run_id, at });
}

fn inherited(forms: &mut StoredForms) {
    let trial = |trial: u32, value: f64, end: TrialEnd| InheritedTrial {
        trial,
        run_id: run(401 + trial),
        draws: draw(value),
        end,
        best: None,
        others: Vec::new(),
        reports: 0,
        resumed: false,
    };
    let first = InheritedTrial { best: Some(0.9), ..trial(0, 0.25, completed()) };
    let second = InheritedTrial { resumed: true, ..trial(1, 0.5, TrialEnd::Canceled { by: "sweep".into() }) };
    let (source, weight, trials, at) = (source(), 0.5, vec![first, second], at());
    forms.is::<SweepEvent>(1, ObservationsInherited { source, weight, trials, at });
    let adopted = AdoptedTrial {
        trial: 0,
        run_id: run(401),
        draws: draw(0.25),
        sampler_index: Some(0),
        points: vec![Point { step: 1, value: 0.9 }],
        values: Vec::new(),
        end: completed(),
    };
    forms.is::<SweepEvent>(1, TrialsAdopted { source, trials: vec![adopted], at });
}
