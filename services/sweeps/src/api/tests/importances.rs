//! What matters in a sweep, and when that cannot be said yet.

use contracts::sweeps as wire;
use serde_json::json;
use tonic::{Request, Response, Status};
use vocabulary::SweepId;

use super::{Bench, document, problem};

async fn importance(bench: &Bench, sweep: SweepId) -> Result<Response<wire::ParameterImportanceReply>, Status> {
    let request = wire::ParameterImportanceRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        metric: String::new(),
    };
    bench.api().parameter_importance(Request::new(request)).await
}

#[tokio::test]
async fn what_matters_is_told_once_enough_trials_have_completed() {
    let uniform = json!({"type": "uniform", "min_value": 0, "max_value": 1});
    let mut bench = Bench::new().await;
    let sweep = bench
        .submit(&document(json!({
            "search_space": {"idle": uniform, "lr": uniform},
            "early_termination": null,
            "limits": {"max_total_trials": 40, "max_concurrent_trials": 40},
        })))
        .await;
    bench.fill(sweep).await;
    for trial in bench.trials(sweep).await {
        if trial.index == 7 {
            let refused = problem(importance(&bench, sweep).await);
            assert_eq!((refused.status, refused.code.as_str()), (409, "TooFewTrials"));
            assert!(refused.detail.contains("7 ended trials"), "{}", refused.detail);
        }
        let parameters: serde_json::Value = serde_json::from_str(&trial.parameters_json).unwrap();
        bench.reports(sweep, trial.index, 0, parameters["lr"].as_f64().unwrap()).await;
        bench.ends(sweep, trial.index, "completed").await;
    }
    let found = importance(&bench, sweep).await.unwrap().into_inner();
    assert_eq!((found.trials, found.clipped, found.parameters.len()), (40, 0, 2));
    let (lr, idle) = (&found.parameters[0], &found.parameters[1]);
    assert_eq!((lr.parameter.as_str(), idle.parameter.as_str()), ("lr", "idle"));
    assert!(lr.importance > 0.8 && lr.low > 0.7 && lr.low <= lr.high, "{lr:?}");
    assert!(idle.importance < 0.1, "{idle:?}");
    assert_eq!(found, importance(&bench, sweep).await.unwrap().into_inner());
    let nobody = problem(importance(&bench, SweepId::new(uuid::Uuid::from_u128(9))).await);
    assert_eq!(nobody.status, 404);
}

/// So many of eight trials end, those of small `lr` by the policy at their second report.
async fn with_stops(bench: &mut Bench, trials: u32) -> SweepId {
    let uniform = json!({"type": "uniform", "min_value": 0, "max_value": 1});
    let sweep = bench
        .submit(&document(json!({
            "search_space": {"idle": uniform, "lr": uniform},
            "early_termination": {"type": "asha", "reduction_factor": 2, "min_resource": 2, "max_resource": 8},
            "limits": {"max_total_trials": trials, "max_concurrent_trials": trials},
        })))
        .await;
    bench.fill(sweep).await;
    let mut shown = bench.trials(sweep).await;
    let lr = |trial: &wire::Trial| {
        serde_json::from_str::<serde_json::Value>(&trial.parameters_json).unwrap()["lr"].as_f64().unwrap()
    };
    // The best first, so that the others are stopped.
    shown.sort_by(|a, b| lr(b).total_cmp(&lr(a)));
    for trial in &shown {
        for step in 1..=8 {
            bench.reports(sweep, trial.index, step, lr(trial) + step as f64).await;
        }
        let now = bench.trials(sweep).await.into_iter().find(|now| now.index == trial.index).unwrap();
        bench.ends(sweep, trial.index, if now.stop.is_some() { "canceled" } else { "completed" }).await;
    }
    sweep
}

#[tokio::test]
async fn trials_that_were_stopped_early_count_at_the_deepest_common_rung() {
    let mut bench = Bench::new().await;
    let sweep = with_stops(&mut bench, 20).await;
    assert_eq!(bench.sweep(sweep).await.trial_counts.get("EarlyStopped"), Some(&19));
    let found = importance(&bench, sweep).await.unwrap().into_inner();
    assert_eq!((found.trials, found.stopped_early, found.interval), (20, 19, 2), "{found:?}");
    assert!(found.parameters[0].parameter == "lr" && found.parameters[0].low > 0.5, "{found:?}");
}

#[tokio::test]
async fn after_the_end_there_is_always_an_answer() {
    for trials in [1, 4] {
        let mut bench = Bench::new().await;
        let sweep = with_stops(&mut bench, trials).await;
        let found = importance(&bench, sweep).await.unwrap().into_inner();
        assert_eq!(found.trials, trials);
        let wide = |share: &wire::ParameterShare| share.low <= 0.5 && share.high >= 0.5;
        assert!(found.parameters.iter().all(wide), "{found:?}");
        // One trial differs from no other.
        let expected = if trials == 1 { (0, 2) } else { (2, 0) };
        assert_eq!((found.parameters.len(), found.unjudged.len()), expected, "{found:?}");
    }
}
