//! Why something is as it is, in words.

use serde_json::Value;

use super::output::{field, text};

/// States that nothing comes after.
pub const RUN_ENDED: [&str; 4] = ["Completed", "Failed", "Canceled", "EarlyStopped"];

/// Why a trial is as it is; empty when there is nothing to say.
pub fn of_trial(trial: &Value) -> String {
    if let Some(stop) = trial.get("stop").filter(|stop| !stop.is_null()) {
        return stopped(stop);
    }
    if field(trial, "state") == "Failed" {
        return failure(trial);
    }
    let reason = field(trial, "reason");
    match reason.as_str() {
        "no_objective" => "reported no finite value",
        "max_resource" => "went on beyond its max_resource",
        "target_reached" => "the target is reached",
        "user" => "canceled by a user",
        "cluster" => "canceled with its cluster, which was deleted",
        "sweep" => "canceled with its sweep",
        "sweep_timeout" => "the sweep's time is up",
        "trial_timeout" => "its time is up",
        "policy" => "stopped by its policy",
        other => other,
    }
    .to_owned()
}

/// `asha: rmse 4.73 > 1.84 at step 3`.
fn stopped(stop: &Value) -> String {
    let (policy, metric, value) = (field(stop, "policy"), field(stop, "metric"), field(stop, "value"));
    let against = match field(stop, "threshold") {
        threshold if threshold.is_empty() => String::new(),
        threshold => format!(" {} {threshold}", if field(stop, "goal") == "minimize" { ">" } else { "<" }),
    };
    format!("{policy}: {metric} {value}{against} at step {}", field(stop, "interval"))
}

/// How a trial failed: phase and cause, and the last line that it wrote to stderr.
pub fn failure(trial: &Value) -> String {
    let (reason, error) = (field(trial, "reason"), field(trial, "error"));
    // What was told of an external trial is both.
    if error.is_empty() || reason.ends_with(&error) { reason } else { format!("{reason}: {error}") }
}

/// Why a sweep is as it is; empty when there is nothing to say.
pub fn of_sweep(sweep: &Value) -> String {
    let reason = field(sweep, "reason");
    let words = match reason.as_str() {
        "max_total_trials" | "max_new_trials" => "all its trials were made",
        "space_exhausted" => "every configuration was tried",
        "timeout" => "its time was up",
        "target_reached" => "the target was reached",
        "no_improvement" => "the best did not get better any more",
        "converged" => "the best hardly got better any more",
        "imported" => "its trials were imported",
        "population_ended" => "the population has ended",
        "" => "",
        who if field(sweep, "state") == "Canceled" => return format!("canceled by {who}"),
        other => other,
    };
    words.to_owned()
}

/// What there is in the place of the result of a trial that has ended without one.
pub fn no_value(trial: &Value) -> Option<String> {
    if !RUN_ENDED.contains(&field(trial, "state").as_str()) || !field(trial, "best_value").is_empty() {
        return None;
    }
    let reports = trial.get("non_finite_reports").and_then(Value::as_u64).unwrap_or_default();
    Some(if reports == 0 { "no value".to_owned() } else { format!("no value ({reports} x not finite)") })
}

/// The best value of a trial, or what there is in its place.
pub fn value(trial: &Value) -> String {
    let best = trial.get("best_value").map(text).unwrap_or_default();
    if best.is_empty() { no_value(trial).unwrap_or_default() } else { best }
}

/// What a trial should have left and has not, e.g. `outputs/model`.
pub fn lost(trial: &Value) -> Vec<String> {
    super::output::entries(trial, "missing_outputs").map(|id| format!("outputs/{}", text(id))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_words() {
        let stop = json!({"policy": "asha", "metric": "rmse", "goal": "minimize", "value": 4.731_23e0,
            "threshold": 1.84, "interval": 3});
        assert_eq!(of_trial(&json!({"reason": "policy", "stop": stop})), "asha: rmse 4.73123 > 1.84 at step 3");
        let cut =
            json!({"policy": "truncation_selection", "metric": "acc", "goal": "maximize", "value": 0.5, "interval": 2});
        assert_eq!(of_trial(&json!({"stop": cut})), "truncation_selection: acc 0.5 at step 2");
        let failed = json!({"state": "Failed", "reason": "run: exit code 3", "error": "ValueError: no"});
        assert_eq!(of_trial(&failed), "run: exit code 3: ValueError: no");
        let told = json!({"state": "Failed", "reason": "run: GPU gone", "error": "GPU gone"});
        assert_eq!(of_trial(&told), "run: GPU gone");
        assert_eq!(of_trial(&json!({"state": "Completed", "reason": ""})), "");
        assert_eq!(of_sweep(&json!({"state": "Canceled", "reason": "ann"})), "canceled by ann");
        assert_eq!(
            of_sweep(&json!({"state": "Failed", "reason": "TooManyFailed: 5 trials"})),
            "TooManyFailed: 5 trials"
        );
    }

    #[test]
    fn a_trial_without_a_value_says_so() {
        // An empty cell looks like one that is still to come.
        assert_eq!(value(&json!({"state": "Completed", "non_finite_reports": 3})), "no value (3 x not finite)");
        assert_eq!(value(&json!({"state": "Failed"})), "no value");
        assert_eq!(value(&json!({"state": "Running"})), "");
        assert_eq!(value(&json!({"state": "Completed", "best_value": 0.25})), "0.25");
    }
}
