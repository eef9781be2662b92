//! A sweep whose trials are asked for and told from outside: what it proposes is the same on every machine, so that
//! what was answered can be compared with what is stored.

use serde_json::{Value, json};

use crate::Client;

/// A sweep of so many trials, one after the other, over one parameter.
pub fn external_sweep(name: &str, trials: usize) -> Value {
    json!({
        "name": name, "mode": "external",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "rule": "sobol", "seed": 3},
        "limits": {"max_total_trials": trials, "max_concurrent_trials": 1},
    })
}

/// Asks for a trial of such a sweep and tells its value; its parameter. Whoever is answered to try again does, under
/// the same key.
///
/// # Panics
/// When there is no trial, or its value is refused.
pub fn ask_and_tell(client: &Client, sweep: &str) -> f64 {
    let asked = client.post(&format!("sweeps/{sweep}/trials:ask"), &json!({"count": 1})).expect(200);
    let trial = &asked["trials"][0];
    let x = parameter(trial);
    let result = json!({"attempt": trial["attempt"], "value": (x - 0.3).abs(), "final": true});
    client.post(&format!("sweeps/{sweep}/trials/{}:tell", trial["index"]), &result).expect(200);
    x
}

/// The parameters of the trials of such a sweep, in their order.
///
/// # Panics
/// When one was not told its value.
pub fn asked_parameters(client: &Client, sweep: &str) -> Vec<f64> {
    let trials = client.list(&format!("sweeps/{sweep}/trials"), "trials");
    assert!(trials.iter().all(|trial| trial["state"] == "Completed"), "{trials:?}");
    trials.iter().map(parameter).collect()
}

fn parameter(trial: &Value) -> f64 {
    trial["parameters"]["x"].as_f64().unwrap_or_else(|| panic!("no number: {trial}"))
}
