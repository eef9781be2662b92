//! Sweeps with a model: what is proposed follows from the log, whatever ran in parallel or was cut off.

use super::asking::{ask, external, tell};
use super::*;

pub(super) fn modelled(changes: Value) -> Value {
    let mut document = external(json!({
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {
            "x": {"type": "uniform", "min_value": -1, "max_value": 1},
            "y": {"type": "uniform", "min_value": -1, "max_value": 1},
        },
        "sampling_algorithm": {"type": "bayesian", "method": "gp", "seed": 7},
        "early_termination": null,
        "limits": {"max_total_trials": 60, "max_concurrent_trials": 8, "max_failed_trials": 60},
    }));
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    document
}

fn loss(parameters: &str) -> f64 {
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let at = |name: &str| parameters[name].as_f64().unwrap();
    (at("x") - 0.3).powi(2) + (at("y") + 0.4).powi(2)
}

pub(super) async fn pair(api: &Core, sweep: SweepId) -> wire::OfferedTrial {
    let offered = api.ask_trials(Request::new(ask(sweep, 1))).await.unwrap().into_inner().trials.remove(0);
    let value = loss(&offered.parameters_json);
    let last = wire::TellTrialRequest { r#final: true, ..tell(sweep, offered.index, value) };
    // A crash now and then: it must change nothing but what the model thinks of that corner.
    let failed = wire::TellTrialRequest { value: None, r#final: false, state: "failed".into(), ..last.clone() };
    let told = if offered.index % 11 == 10 { failed } else { last };
    api.tell_trial(Request::new(told)).await.unwrap();
    offered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_gets_suggestions_that_know_everything_over_a_restart() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&modelled(json!({}))).await;
    let dry = wire::SubmitSweepRequest { dry_run: true, ..submission(&modelled(json!({"name": "other"}))) };
    let plan = bench.api().submit_sweep(Request::new(dry)).await.unwrap().into_inner().plan_json;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    for number in 0..28 {
        if number == 14 {
            bench.again().await;
        }
        let offered = pair(bench.api(), sweep).await;
        assert_eq!((offered.index, offered.basis_lag), (number, 0), "nothing is pending, so nothing may be missing");
        if number < 3 {
            let parameters: Value = serde_json::from_str(&offered.parameters_json).unwrap();
            assert_eq!(plan["first_proposals"][number as usize]["parameters"], parameters);
        }
    }
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(28)), "{verified}");
    assert!(verified["checked"]["fits"].as_u64() > Some(0), "{verified}");
    let why =
        wire::ExplainTrialRequest { workspace: "default".into(), sweep: sweep.to_string(), index: 27, deleted: false };
    let why = bench.api().explain_trial(Request::new(why)).await.unwrap().into_inner();
    let why: Value = serde_json::from_str(&why.explanation_json).unwrap();
    let proposal = &why["proposal"];
    assert_eq!((&proposal["basis"]["known"], &proposal["basis"]["pending"]), (&json!(27), &json!(0)), "{why}");
    assert!(proposal["explained"]["by"].is_string() && proposal["basis"]["fit"].is_i64(), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_workers_leave_a_log_that_can_be_recomputed() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&modelled(json!({}))).await;
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let api = bench.api().clone();
            tokio::spawn(async move {
                let mut lags = Vec::new();
                for _ in 0..7 {
                    lags.push(pair(&api, sweep).await.basis_lag);
                }
                lags
            })
        })
        .collect();
    let mut lags = Vec::new();
    for worker in workers {
        lags.extend(worker.await.unwrap());
    }
    let mut indices: Vec<u32> = bench.trials(sweep).await.iter().map(|trial| trial.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..42).collect::<Vec<u32>>());
    // As many tells may be missing as trials are pending, unless the budget ran out; the log says so then.
    assert!(lags.iter().filter(|lag| **lag <= 6).count() >= 36, "{lags:?}");
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(42)), "{verified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_managed_sweep_asks_its_model_by_itself() {
    let mut bench = Bench::new().await;
    let sweep = bench
        .submit(&document(json!({
            "search_space": {
                "lr": {"type": "uniform", "min_value": 0, "max_value": 1},
                "opt": {"type": "choice", "values": ["sgd", "adam", "lamb"]},
            },
            "sampling_algorithm": {"type": "bayesian"},
            "early_termination": null,
            "trial": {"command": ["t", "${{search_space.lr}}", "${{search_space.opt}}"]},
            "limits": {"max_total_trials": 16, "max_concurrent_trials": 2},
        })))
        .await;
    for trial in 0..16 {
        bench.fill(sweep).await;
        bench.reports(sweep, trial, 0, f64::from(trial % 5) / 7.0).await;
        bench.ends(sweep, trial, "completed").await;
    }
    assert_eq!(bench.sweep(sweep).await.state, "Completed");
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(16)), "{verified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finite_space_is_used_up_once() {
    let bench = Bench::new().await;
    let space = json!({
        "a": {"type": "choice", "values": ["p", "q", "r"]}, "b": {"type": "choice", "values": [true, false]},
    });
    let sweep = bench.submit(&modelled(json!({"search_space": space}))).await;
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..6 {
        let offered = bench.asked(sweep, 1).await.trials.remove(0);
        assert!(seen.insert(offered.parameters_json.clone()), "{offered:?} again");
        bench.told(wire::TellTrialRequest { r#final: true, ..tell(sweep, number, f64::from(number)) }).await;
    }
    let empty = bench.asked(sweep, 1).await;
    assert_eq!((empty.trials.len(), empty.state.as_str()), (0, "completed"));
    assert_eq!(bench.sweep(sweep).await.reason, "space_exhausted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_that_was_tampered_with_is_found() {
    // A verification that finds nothing wherever one looks would be worth nothing.
    let bench = Bench::new().await;
    let sweep = bench.submit(&modelled(json!({}))).await;
    for _ in 0..24 {
        pair(bench.api(), sweep).await;
    }
    let events = bench.api().log.read_stream(&crate::stream::stream_of(sweep), 0, 10_000).await.unwrap();
    let mut audit = crate::audit::Audit::new(None);
    for event in &events {
        let mut decoded: crate::sweep::SweepEvent = event.decode().unwrap();
        match &mut decoded {
            crate::sweep::SweepEvent::TrialProposed(proposed) if proposed.trial == 20 => {
                proposed.draws[0].u = f64::from_bits(proposed.draws[0].u.to_bits() ^ 1);
            }
            crate::sweep::SweepEvent::ModelFitted(fitted) if fitted.previous.is_none() => {
                fitted.fit.parameters[0] = f64::from_bits(fitted.fit.parameters[0].to_bits() ^ 1);
            }
            _ => {}
        }
        audit.take(event, &decoded);
    }
    let what: Vec<&str> = audit.differences.iter().map(|difference| difference.what.as_str()).collect();
    assert!(what.contains(&"hyperparameters"), "{what:?}");
    assert!(audit.differences.iter().any(|difference| difference.trial == 20), "{what:?}");
}
