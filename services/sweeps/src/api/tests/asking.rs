//! External mode through the calls.

use super::*;

pub(super) fn external(changes: Value) -> Value {
    let mut document = document(json!({"mode": "external", "cluster": null, "trial": null}));
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    document
}

pub(super) fn ask(sweep: impl ToString, count: u32) -> wire::AskTrialsRequest {
    let (workspace, sweep, worker) = ("default".into(), sweep.to_string(), "w1".into());
    wire::AskTrialsRequest { workspace, sweep, count: Some(count), worker, lease_seconds: None }
}

pub(super) fn tell(sweep: SweepId, index: u32, value: f64) -> wire::TellTrialRequest {
    wire::TellTrialRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        index,
        attempt: 1,
        value: Some(value),
        ..wire::TellTrialRequest::default()
    }
}

impl Bench {
    pub(super) async fn asked(&self, sweep: impl ToString, count: u32) -> wire::AskTrialsReply {
        self.api().ask_trials(Request::new(ask(sweep, count))).await.unwrap().into_inner()
    }

    pub(super) async fn told(&self, request: wire::TellTrialRequest) -> wire::TellTrialReply {
        self.api().tell_trial(Request::new(request)).await.unwrap().into_inner()
    }
}

#[tokio::test]
async fn a_worker_asks_tells_and_is_told_to_stop() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&external(json!({}))).await;
    // By name, too.
    let offered = bench.asked("digits", 2).await;
    assert_eq!((offered.trials.len(), offered.state.as_str()), (2, "running"));
    let first = &offered.trials[0];
    assert_eq!((first.index, first.attempt, first.basis_lag), (0, 1, 0));
    assert_eq!(first.lease_expires_at, "2026-11-01T10:01:00Z");
    let shown = serde_json::to_value(first).unwrap();
    assert!(shown["parameters"]["lr"].is_f64(), "{shown}");
    let empty = bench.asked(sweep, 1).await;
    assert_eq!((empty.trials.len(), empty.state.as_str()), (0, "limit"));
    assert_eq!(bench.told(tell(sweep, 0, 0.9)).await, wire::TellTrialReply::default());
    let stopped = bench.told(tell(sweep, 1, 0.5)).await;
    assert!(stopped.stop);
    // The decision is known by the position of the stop: in the answer, in the list, in the fact.
    let trials = bench.trials(sweep).await;
    assert_eq!((trials[1].state.as_str(), &trials[1].decision), ("EarlyStopped", &stopped.decision));
    let position: i64 = stopped.decision.rsplit('@').next().unwrap().parse().unwrap();
    let event = bench.api().log.read(position - 1, 1).await.unwrap().pop().unwrap();
    assert_eq!(event.kind, "TrialStopRequested");
    let facts = bench.facts().await;
    let kinds: Vec<&str> = facts.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected =
        ["TrialProposed", "TrialProposed", "TrialReported", "TrialReported", "TrialStopRequested", "TrialEnded"];
    assert_eq!(kinds[2..], expected);
    let proposed = wire::TrialProposed::decode(facts[2].1.as_slice()).unwrap();
    assert_eq!((proposed.job, proposed.run_name.as_str(), proposed.experiment.as_str()), (None, "digits-0", "Default"));
    assert_eq!((proposed.primary_metric.as_str(), proposed.goal.as_str()), ("val_acc", "maximize"), "for its run");
    let reported = wire::TrialReported::decode(facts[4].1.as_slice()).unwrap();
    assert_eq!((reported.metric.as_str(), reported.points[0].step, reported.points[0].value), ("val_acc", 0, 0.9));
    let ended = wire::TrialEnded::decode(facts[7].1.as_slice()).unwrap();
    assert_eq!(ended.state_kind, contracts::runs::RunState::EarlyStopped as i32, "the enum beside the text");
    assert_eq!((ended.state.as_str(), &ended.decision), ("EarlyStopped", &stopped.decision));
    assert_eq!(bench.verify(sweep).await["checked"], json!({"proposals": 2, "decisions": 2}));
}

#[tokio::test]
async fn a_worker_is_told_whose_checkpoint_its_trial_begins_with() {
    let bench = Bench::new().await;
    let sweep = bench
        .submit(&external(json!({
            "early_termination": {"type": "pbt", "perturbation_interval": 1, "quantile": 0.5},
            "limits": {"max_total_trials": 6, "max_concurrent_trials": 2},
        })))
        .await;
    let initial_members = bench.asked(sweep, 9).await.trials;
    assert!(initial_members.len() == 2 && initial_members.iter().all(|founder| founder.donor.is_none()));
    bench.told(tell(sweep, 0, 0.9)).await;
    assert!(bench.told(tell(sweep, 1, 0.5)).await.stop);
    let child = bench.asked(sweep, 9).await.trials;
    assert_eq!(child.iter().map(|child| (child.index, child.donor)).collect::<Vec<_>>(), [(2, Some(0))]);
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(3)));
}

#[tokio::test]
async fn what_counts_for_nothing_is_said_to_whoever_tells_it() {
    // A value that is dropped without a word looks like the result.
    let bench = Bench::new().await;
    let policy = json!({"type": "asha", "reduction_factor": 2, "max_resource": 2});
    let sweep = bench.submit(&external(json!({"early_termination": policy}))).await;
    bench.asked(sweep, 2).await;
    for value in [0.9, 0.94] {
        assert_eq!(bench.told(tell(sweep, 0, value)).await.not_counted, "");
    }
    let beyond = bench.told(tell(sweep, 0, 0.95)).await;
    assert_eq!((beyond.stop, beyond.not_counted.as_str()), (true, "max_resource"));
    let last = |trial, value, step| wire::TellTrialRequest { r#final: true, step, ..tell(sweep, trial, value) };
    // Most programs tell their end in every case, and say it again when the answer is lost.
    for _ in 0..2 {
        let late = bench.told(last(0, 0.97, None)).await;
        assert_eq!((late.stop, late.not_counted.as_str()), (false, "max_resource"));
    }
    assert_eq!(bench.told(last(0, 0.94, Some(1))).await.not_counted, "", "that step counts");
    let stopped = bench.told(tell(sweep, 1, 0.5)).await;
    assert_eq!((stopped.stop, stopped.not_counted.as_str()), (true, ""), "it counts, and was the reason");
    assert_eq!(bench.told(last(1, 0.6, None)).await.not_counted, "policy");
    bench.asked(sweep, 1).await;
    for _ in 0..2 {
        assert_eq!(bench.told(last(2, 0.5, None)).await.not_counted, "", "an end of its own");
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer() {
    // A worker that lost the answer must get the same trial, not another one, and a value must not count twice.
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&external(json!({}))).await;
    let first = bench.api().ask_trials(keyed(1, 1, ask(sweep, 1))).await.unwrap().into_inner();
    bench.asked(sweep, 1).await;
    let stop = tell(sweep, 1, 0.1);
    bench.told(tell(sweep, 0, 0.9)).await;
    let stopped = bench.api().tell_trial(keyed(2, 1, stop.clone())).await.unwrap().into_inner();
    assert!(stopped.stop);
    bench.again().await;
    assert_eq!(bench.api().ask_trials(keyed(1, 1, ask(sweep, 1))).await.unwrap().into_inner(), first);
    assert_eq!(bench.api().tell_trial(keyed(2, 1, stop)).await.unwrap().into_inner(), stopped);
    assert_eq!(problem(bench.api().ask_trials(keyed(1, 2, ask(sweep, 2))).await).code, "KeyReuse");
    assert_eq!(bench.trials(sweep).await.len(), 2);
}

#[tokio::test]
async fn a_lease_is_kept_by_a_heartbeat_and_given_on_without() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&external(json!({}))).await;
    bench.asked(sweep, 2).await;
    bench.clock.advance_us(50_000_000);
    let beat =
        wire::HeartbeatTrialRequest { workspace: "default".into(), sweep: sweep.to_string(), index: 1, attempt: 1 };
    let kept = bench.api().heartbeat_trial(Request::new(beat)).await.unwrap().into_inner();
    assert_eq!(kept.lease_expires_at, "2026-11-01T10:01:50Z");
    bench.clock.advance_us(20_000_000);
    let offered = bench.asked(sweep, 2).await.trials;
    assert_eq!((offered.len(), offered[0].index, offered[0].attempt), (1, 0, 2));
    let stale = problem(bench.api().tell_trial(Request::new(tell(sweep, 0, 0.3))).await);
    assert_eq!((stale.status, stale.code.as_str()), (409, "StaleAttempt"));
    assert_eq!(stale.extra["current_attempt"], 2);
}

#[tokio::test]
async fn wrong_asks_and_tells_are_told_all_at_once() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&external(json!({}))).await;
    let wrong = wire::AskTrialsRequest { lease_seconds: Some(f64::NAN), worker: "a\u{1}".into(), ..ask(sweep, 0) };
    let codes = |problem: Problem| -> Vec<(String, String)> {
        problem.errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    };
    let named = |errors: &[(&str, &str)]| -> Vec<(String, String)> {
        errors.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
    };
    let refused = codes(problem(bench.api().ask_trials(Request::new(wrong)).await));
    assert_eq!(refused, named(&[("/count", "OutOfRange"), ("/lease_seconds", "OutOfRange"), ("/worker", "BadName")]));
    for (request, errors) in [
        (
            wire::TellTrialRequest { attempt: 0, value: None, ..tell(sweep, 0, 0.0) },
            named(&[("/attempt", "Required"), ("/value", "Required")]),
        ),
        (wire::TellTrialRequest { state: "done".into(), ..tell(sweep, 0, 0.0) }, named(&[("/state", "BadState")])),
        (
            wire::TellTrialRequest { state: "failed".into(), r#final: true, step: Some(1), ..tell(sweep, 0, 0.0) },
            named(&[("/final", "ExactlyOne"), ("/step", "ExactlyOne"), ("/value", "ExactlyOne")]),
        ),
    ] {
        assert_eq!(codes(problem(bench.api().tell_trial(Request::new(request)).await)), errors);
    }
    let absent = problem(bench.api().tell_trial(Request::new(tell(sweep, 7, 0.0))).await);
    assert_eq!((absent.status, absent.code.as_str()), (404, "NotFound"));
    let other = wire::AskTrialsRequest { workspace: "w2".into(), ..ask(sweep, 1) };
    assert_eq!(problem(bench.api().ask_trials(Request::new(other)).await).status, 404);
    let managed = bench.submit(&document(json!({"name": "managed"}))).await;
    assert_eq!(problem(bench.api().ask_trials(Request::new(ask(managed, 1))).await).code, "NotExternal");
}

#[tokio::test]
async fn many_ask_at_once_and_nobody_gets_another_ones_trial() {
    let bench = Bench::new().await;
    let limits = json!({"max_total_trials": 5000, "max_concurrent_trials": 1000});
    let sweep = bench.submit(&external(json!({"limits": limits, "early_termination": null}))).await;
    let workers = (0..32).map(|_| {
        let api = bench.api().clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            for _ in 0..10 {
                let offered = api.ask_trials(Request::new(ask(sweep, 1))).await.unwrap().into_inner();
                let trial = offered.trials[0].index;
                let last = wire::TellTrialRequest { r#final: true, ..tell(sweep, trial, 0.5) };
                api.tell_trial(Request::new(last)).await.unwrap();
                held.push(trial);
            }
            held
        })
    });
    let mut all: Vec<u32> = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..320).collect::<Vec<u32>>());
    assert_eq!(bench.sweep(sweep).await.trial_counts["Completed"], 320);
}

#[tokio::test]
async fn the_limits_of_an_external_sweep_are_its_own() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&external(json!({}))).await;
    let extend = wire::ExtendSweepRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        max_total_trials: Some(1_500_000),
        timeout_seconds: None,
    };
    bench.api().extend_sweep(Request::new(extend)).await.unwrap();
    assert_eq!(bench.sweep(sweep).await.max_total_trials, 1_500_000);
    let spec: Value = serde_json::from_str(&bench.sweep(sweep).await.spec_json).unwrap();
    assert_eq!((&spec["mode"], &spec["trial"], &spec["cluster"]), (&json!("external"), &Value::Null, &Value::Null));
}
