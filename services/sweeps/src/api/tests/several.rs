//! Sweeps with several objectives and constraints, through the calls.

use super::asking::{ask, external, tell};
use super::*;

fn sought(changes: Value) -> Value {
    let mut document = external(json!({
        "objective": null,
        "objectives": [{"primary_metric": "loss", "goal": "minimize"}, {"primary_metric": "speed", "goal": "maximize"}],
        "constraints": [{"metric": "memory", "op": "<=", "value": 1.2}],
        "search_space": {
            "x": {"type": "uniform", "min_value": 0, "max_value": 1},
            "y": {"type": "uniform", "min_value": 0, "max_value": 1},
        },
        "sampling_algorithm": {"type": "bayesian", "seed": 7},
        "early_termination": null,
        "limits": {"max_total_trials": 60, "max_concurrent_trials": 8, "max_failed_trials": 60},
    }));
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    document
}

fn values(parameters: &str) -> [(&'static str, f64); 3] {
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let at = |name: &str| parameters[name].as_f64().unwrap();
    let (x, y) = (at("x"), at("y"));
    [("loss", (x - 0.2).powi(2) + y), ("speed", x - y * y), ("memory", x + y)]
}

/// Asks for a trial and tells its values, all but those named in `without`.
async fn pair(api: &Core, sweep: SweepId, without: &[&str]) -> wire::OfferedTrial {
    let offered = api.ask_trials(Request::new(ask(sweep, 1))).await.unwrap().into_inner().trials.remove(0);
    let values = values(&offered.parameters_json).into_iter().filter(|(name, _)| !without.contains(name));
    let told = wire::TellTrialRequest {
        value: None,
        r#final: true,
        values: values.map(|(name, value)| (name.to_owned(), value)).collect(),
        ..tell(sweep, offered.index, 0.0)
    };
    api.tell_trial(Request::new(told)).await.unwrap();
    offered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_several_outputs_follows_from_the_log_over_a_restart() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&sought(json!({}))).await;
    for number in 0..30 {
        if number == 15 {
            bench.again().await;
        }
        // One in nine lacks a value and counts as one that failed.
        let without: &[&str] = if number % 9 == 8 { &["memory"] } else { &[] };
        let offered = pair(bench.api(), sweep, without).await;
        assert_eq!((offered.index, offered.basis_lag), (number, 0));
    }
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(30)), "{verified}");
    assert!(verified["checked"]["fits"].as_u64() > Some(0), "{verified}");
    let shown = bench.sweep(sweep).await;
    assert_eq!((shown.objectives.len(), shown.constraints[0].op.as_str(), shown.best), (2, "<=", None));
    assert!(shown.pareto_count > 2 && shown.pareto.len() == shown.pareto_count as usize, "{:?}", shown.pareto);
    let trials = bench.trials(sweep).await;
    for found in &shown.pareto {
        let trial = &trials[found.trial_index as usize];
        assert_eq!((trial.feasible, &trial.values, trial.best_value), (Some(true), &found.values, None));
        assert!(found.values["memory"] <= 1.2);
        let better = |other: &&wire::ParetoTrial| {
            other.values["loss"] <= found.values["loss"] && other.values["speed"] >= found.values["speed"]
        };
        assert_eq!(shown.pareto.iter().filter(better).count(), 1, "none of the front is better than another");
    }
    assert_eq!((trials[8].feasible, trials[8].values.len()), (None, 2));
    let document: Value = serde_json::from_str(&shown.spec_json).unwrap();
    assert_eq!(document["objectives"][1], json!({"primary_metric": "speed", "goal": "maximize"}));
    let why =
        wire::ExplainTrialRequest { workspace: "default".into(), sweep: sweep.to_string(), index: 29, deleted: false };
    let why = bench.api().explain_trial(Request::new(why)).await.unwrap().into_inner();
    let why: Value = serde_json::from_str(&why.explanation_json).unwrap();
    let explained = &why["proposal"]["explained"];
    assert_eq!(explained["weights"].as_array().map(Vec::len), Some(2), "{why}");
    assert!(explained["feasible"].is_f64() && explained["outputs"][1]["name"] == "memory", "{why}");
    assert!(why["measured"]["constraints"][0]["holds"].is_boolean(), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_workers_leave_a_log_of_several_outputs_that_can_be_recomputed() {
    let bench = Bench::new().await;
    let constrained = json!({"objectives": null, "objective": {"primary_metric": "loss", "goal": "minimize"}});
    let sweep = bench.submit(&sought(constrained)).await;
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let api = bench.api().clone();
            tokio::spawn(async move {
                for _ in 0..8 {
                    pair(&api, sweep, &["speed"]).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let verified = bench.verify(sweep).await;
    assert_eq!((&verified["differences"], &verified["checked"]["proposals"]), (&json!([]), &json!(32)), "{verified}");
    let (shown, trials) = (bench.sweep(sweep).await, bench.trials(sweep).await);
    let feasible = trials.iter().filter(|trial| trial.feasible == Some(true));
    let best = feasible.map(|trial| trial.best_value.unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!(shown.best.map(|best| best.value), Some(best), "the best of the feasible ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fit_of_a_further_output_that_was_tampered_with_is_found() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&sought(json!({}))).await;
    for _ in 0..20 {
        pair(bench.api(), sweep, &[]).await;
    }
    let events = bench.api().log.read_stream(&crate::stream::stream_of(sweep), 0, 10_000).await.unwrap();
    let mut audit = crate::audit::Audit::new(None);
    for event in &events {
        let mut decoded: crate::sweep::SweepEvent = event.decode().unwrap();
        if let crate::sweep::SweepEvent::ModelFitted(fitted) = &mut decoded
            && fitted.previous.is_none()
        {
            let number = &mut fitted.fit.outputs[1][0];
            *number = f64::from_bits(number.to_bits() ^ 1);
        }
        audit.take(event, &decoded);
    }
    assert!(audit.differences.iter().any(|difference| difference.what == "hyperparameters"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_one_objective_says_so_and_importance_is_asked_by_metric() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&sought(json!({"sampling_algorithm": {"type": "random", "rule": "sobol"}}))).await;
    for _ in 0..12 {
        pair(bench.api(), sweep, &[]).await;
    }
    let request = wire::WhatIfRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        document: json!({"policies": [{"type": "median_stopping"}]}).to_string().into_bytes(),
        format: "json".into(),
    };
    assert_eq!(problem(bench.api().what_if(Request::new(request)).await).code, "SeveralObjectives");
    let importance = |metric: &str| {
        let (workspace, sweep, metric) = ("default".into(), sweep.to_string(), metric.into());
        let request = wire::ParameterImportanceRequest { workspace, sweep, metric };
        async { bench.api().parameter_importance(Request::new(request)).await }
    };
    let of_speed = importance("speed").await.unwrap().into_inner();
    assert_eq!((of_speed.trials, of_speed.parameters[0].parameter.as_str()), (12, "x"), "x moves it more than y");
    let of_loss = importance("").await.unwrap().into_inner();
    assert_eq!(of_loss.parameters[0].parameter, "y");
    assert_eq!(problem(importance("size").await).code, "UnknownMetric");
    let patience = json!({"limits": {"max_trials_without_improvement": 3}}).to_string().into_bytes();
    let request = wire::UpdateSweepRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        document: patience,
        format: "json".into(),
    };
    let refused = problem(bench.api().update_sweep(Request::new(request)).await);
    assert_eq!(refused.code, "SeveralObjectives");
    // What was told of each metric goes to the trial's run.
    let facts = bench.facts().await;
    let reported = facts.iter().find(|(kind, _)| kind == "TrialReported").unwrap();
    let reported = wire::TrialReported::decode(reported.1.as_slice()).unwrap();
    let others: Vec<&str> = reported.others.iter().map(|other| other.metric.as_str()).collect();
    assert_eq!((reported.points.len(), others), (1, vec!["memory", "speed"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_keeps_the_values_of_its_trials() {
    let bench = Bench::new().await;
    let sweep = bench.submit(&sought(json!({}))).await;
    for _ in 0..14 {
        pair(bench.api(), sweep, &[]).await;
    }
    let at = bench
        .api()
        .log
        .read_stream(&crate::stream::stream_of(sweep), 0, 10_000)
        .await
        .unwrap()
        .last()
        .unwrap()
        .position;
    let request = wire::ForkSweepRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        document: json!({"at": at, "name": "again"}).to_string().into_bytes(),
        format: "json".into(),
    };
    let fork = bench.api().fork_sweep(Request::new(request)).await.unwrap().into_inner();
    let fork = SweepId::parse(&fork.id).unwrap();
    let values = |trials: Vec<wire::Trial>| trials.into_iter().map(|trial| trial.values).collect::<Vec<_>>();
    assert_eq!(values(bench.trials(fork).await), values(bench.trials(sweep).await));
    for _ in 0..4 {
        pair(bench.api(), fork, &[]).await;
    }
    let verified = bench.verify(fork).await;
    assert_eq!(verified["differences"], json!([]), "{verified}");
}

#[tokio::test]
async fn a_managed_trial_reports_all_that_is_watched() {
    let mut bench = Bench::new().await;
    let changes = json!({
        "constraints": [{"metric": "loss", "op": "<=", "value": 50}],
        "sampling_algorithm": "random",
    });
    let sweep = bench.submit(&document(changes)).await;
    bench.fill(sweep).await;
    // Every report of the bench has a loss of 100, too.
    bench.reports(sweep, 0, 0, 0.5).await;
    bench.ends(sweep, 0, "completed").await;
    let shown = bench.sweep(sweep).await;
    assert_eq!((shown.best, shown.conditions.len()), (None, 1));
    assert!(shown.conditions[0].starts_with("NoFeasibleTrial"), "{:?}", shown.conditions);
    let trial = &bench.trials(sweep).await[0];
    assert_eq!((trial.feasible, trial.values["loss"], trial.values["val_acc"]), (Some(false), 100.0, 0.5));
    let facts = bench.facts().await;
    let proposed = facts.iter().find(|(kind, _)| kind == "TrialProposed").unwrap();
    let proposed = wire::TrialProposed::decode(proposed.1.as_slice()).unwrap();
    assert_eq!(proposed.job.unwrap().watched_metrics, ["loss"]);
}
