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
            assert!(refused.detail.contains("7 completed trials"), "{}", refused.detail);
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
