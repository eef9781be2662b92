//! What is counted of sweeps and trials.

use contracts::sweeps as wire;
use serde_json::json;
use tonic::Request;

use super::{Bench, document};

/// A family's numbers by state, but for zeros.
async fn by_state(bench: &Bench, name: &str) -> Vec<(String, f64)> {
    let families = bench.service.measure().await;
    let family = families.into_iter().find(|family| family.name == name).unwrap();
    let some = family.samples.into_iter().filter(|sample| sample.value > 0.0);
    some.map(|sample| (sample.labels["state"].clone(), sample.value)).collect()
}

fn states(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    expected.iter().map(|(state, count)| ((*state).to_owned(), *count)).collect()
}

#[tokio::test]
async fn every_trial_is_counted_once_also_when_its_sweep_ends_and_goes_on() {
    let mut bench = Bench::new().await;
    let limits = json!({"max_total_trials": 2, "max_concurrent_trials": 2});
    let sweep = bench.submit(&document(json!({"limits": limits}))).await;
    bench.fill(sweep).await;
    for trial in 0..2 {
        bench.moves(sweep, trial, 1, "Running").await;
    }
    assert_eq!(by_state(&bench, "trialog_trials").await, states(&[("Running", 2.0)]));
    assert_eq!(by_state(&bench, "trialog_sweeps").await, states(&[("Running", 1.0)]));
    for trial in 0..2 {
        bench.reports(sweep, trial, 0, 0.9).await;
        bench.ends(sweep, trial, "completed").await;
    }
    assert_eq!(bench.sweep(sweep).await.state, "Completed");
    assert_eq!(by_state(&bench, "trialog_trials").await, states(&[("Completed", 2.0)]));
    assert_eq!(by_state(&bench, "trialog_sweeps").await, states(&[]));
    let extend = wire::ExtendSweepRequest {
        workspace: "default".into(),
        sweep: sweep.to_string(),
        max_total_trials: Some(3),
        timeout_seconds: None,
    };
    bench.api().extend_sweep(Request::new(extend)).await.unwrap();
    bench.fill(sweep).await;
    assert_eq!(by_state(&bench, "trialog_trials").await, states(&[("Completed", 2.0), ("Proposed", 1.0)]));
    bench.again().await;
    assert_eq!(by_state(&bench, "trialog_trials").await, states(&[("Completed", 2.0), ("Proposed", 1.0)]));
}
