//! A model with early stopping: what trials have on their way counts, and nothing of it depends on the machine.

use super::warming::{founded, is_verified, modelled, runs};
use super::*;

/// Seven parameters, five of which exist with one model only; four at once; successive halving from 3 to 27.
fn conditional() -> Value {
    let when = |model: &str, mut parameter: Value| {
        parameter["when"] = json!({"model": model});
        parameter
    };
    let whole = |low: u32, high: u32| json!({"type": "int_uniform", "min_value": low, "max_value": high});
    let log = |low: f64, high: f64| json!({"type": "log_uniform_values", "min_value": low, "max_value": high});
    document(json!({
        "objective": {"goal": "minimize", "primary_metric": "val_acc"},
        "search_space": {
            "model": {"type": "choice", "values": ["forest", "boosting", "ridge"]},
            "scale": {"type": "choice", "values": ["standard", "none"]},
            "depth": when("forest", whole(2, 20)),
            "leaf": when("forest", whole(1, 20)),
            "rate": when("boosting", log(1e-3, 1.0)),
            "stages": when("boosting", whole(10, 200)),
            "alpha": when("ridge", log(1e-4, 100.0)),
        },
        "sampling_algorithm": {"type": "bayesian", "seed": 11},
        "early_termination": {"type": "asha", "reduction_factor": 3, "min_resource": 3, "max_resource": 27},
        "limits": {"max_total_trials": 40, "max_concurrent_trials": 4, "max_failed_trials": 40},
        "trial": {"command": ["t"]},
    }))
}

fn loss(parameters: &Value, reports: i64) -> f64 {
    let at = |name: &str| parameters[name].as_f64();
    let floor = match (at("depth"), at("rate"), at("alpha")) {
        (Some(depth), ..) => 0.2 + (depth - 9.0).abs() / 30.0,
        (_, Some(rate), _) => 0.1 + (rate.log10() + 1.2).abs() / 4.0,
        (.., alpha) => 0.4 + (alpha.unwrap_or(1.0).log10() - 0.5).abs() / 5.0,
    };
    floor + 1.5 / reports as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn most_proposals_come_from_the_model_although_trials_are_stopped_early() {
    let mut bench = Bench::new().await;
    let sweep = bench.submit(&conditional()).await;
    for step in 1..500 {
        bench.fill(sweep).await;
        let live: Vec<_> = bench.trials(sweep).await.into_iter().filter(|trial| trial.ended_at.is_empty()).collect();
        if live.is_empty() {
            break;
        }
        if step == 20 {
            bench.again().await;
        }
        for trial in live {
            let parameters: Value = serde_json::from_str(&trial.parameters_json).unwrap();
            // A corner of the forests fails.
            if parameters["depth"].as_f64() > Some(17.0) {
                bench.ends(sweep, trial.index, "failed").await;
                continue;
            }
            let reports = i64::from(trial.intervals) + 1;
            bench.reports(sweep, trial.index, reports, loss(&parameters, reports)).await;
            let now = bench.trials(sweep).await.into_iter().find(|now| now.index == trial.index).unwrap();
            if now.stop.is_some() {
                bench.ends(sweep, trial.index, "canceled").await;
            } else if reports == 27 {
                bench.ends(sweep, trial.index, "completed").await;
            }
        }
    }
    assert_eq!(bench.sweep(sweep).await.state, "Completed");
    is_verified(&bench, sweep, 40).await;
    let events = bench.api().log.read_stream(&crate::stream::stream_of(sweep), 0, 10_000).await.unwrap();
    let made = events.iter().filter_map(|event| match event.decode::<crate::sweep::SweepEvent>().unwrap() {
        crate::sweep::SweepEvent::TrialProposed(proposed) => proposed.explained,
        _ => None,
    });
    let of_design: Vec<String> = made.filter(|made| made.by == "sobol").map(|made| made.why).collect();
    assert!(of_design.len() <= 16, "{} of 40 from the design: {of_design:?}", of_design.len());
    assert!(of_design.iter().all(|why| why.contains("proposal") || why.contains("observations")), "{of_design:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_inherited_is_never_proposed_again() {
    // A space of nine: of what the first sweep tried, the second repeats nothing, whatever proposes.
    let whole = json!({"type": "int_uniform", "min_value": 1, "max_value": 3});
    let bench = Bench::new().await;
    let space = json!({"x": whole, "y": whole});
    let limits = json!({"max_total_trials": 4, "max_concurrent_trials": 2, "max_failed_trials": 60});
    let cold = bench.submit(&modelled(json!({"search_space": space, "limits": limits}))).await;
    let first = runs(&bench, cold, 4).await;
    for (name, sampler) in [("b", json!({"type": "bayesian", "seed": 3})), ("r", json!({"type": "random", "seed": 3}))]
    {
        // Five of its own, beside the four that are inherited.
        let limits = json!({"max_new_trials": 5, "max_concurrent_trials": 2, "max_failed_trials": 60});
        let warm = modelled(json!({"name": name, "resume_from": ["cold"], "search_space": space, "limits": limits,
            "sampling_algorithm": sampler}));
        let dry = wire::SubmitSweepRequest { dry_run: true, ..submission(&warm) };
        let plan = bench.api().submit_sweep(Request::new(dry)).await.unwrap().into_inner().plan_json;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        assert_eq!((&plan["inherited"], &plan["trials"]), (&json!(4), &json!(5)), "{plan}");
        let warm = founded(&bench, &warm).await;
        let shown = bench.sweep(warm).await;
        assert_eq!((shown.inherited_trials, shown.trial_limit), (4, 5), "of its own it may have five");
        let next = runs(&bench, warm, 5).await;
        let shown: Vec<Value> =
            next.iter().map(|offered| serde_json::from_str(&offered.parameters_json).unwrap()).collect();
        assert_eq!(plan["first_proposals"][0]["parameters"], shown[0], "{name}: what the plan says comes first");
        let mut all: Vec<&String> = first.iter().chain(&next).map(|offered| &offered.parameters_json).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 9, "{name}: {all:?}");
        is_verified(&bench, warm, 5).await;
        let over = bench.sweep(warm).await;
        assert_eq!((over.state.as_str(), over.reason.as_str()), ("Completed", "max_new_trials"));
        assert_eq!(over.inherited_trials, 4, "also at its end");
        let list = wire::ListSweepsRequest { workspace: "default".into(), ..wire::ListSweepsRequest::default() };
        let listed = bench.api().list_sweeps(Request::new(list)).await.unwrap().into_inner().sweeps;
        let row = listed.iter().find(|sweep| sweep.name == over.name).unwrap();
        assert_eq!((row.trial_limit, row.inherited_trials), (over.trial_limit, 4), "in a list too");
        // What an extension is compared with is the limit in force: nine trials, whatever the total would allow.
        let extend = |total| wire::ExtendSweepRequest {
            workspace: "default".into(),
            sweep: warm.to_string(),
            max_total_trials: Some(total),
            timeout_seconds: None,
        };
        let refused = problem(bench.api().extend_sweep(Request::new(extend(8))).await);
        assert!(refused.detail.contains("must be >= 9"), "{refused:?}");
        let extended = bench.api().extend_sweep(Request::new(extend(12))).await.unwrap().into_inner();
        assert_eq!(extended.state, "Running");
    }
}
