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
    if field(trial, "state") == "Queued" {
        return holders_first(&reason);
    }
    match reason.as_str() {
        "no_objective" if non_finite(trial) == 0 => "never reported the primary metric",
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

/// Why a trial waits, with who holds the nodes at the front: in a table the end is cut.
fn holders_first(reason: &str) -> String {
    let (holders, others): (Vec<&str>, Vec<&str>) = reason.split("; ").partition(|part| part.starts_with("busy:"));
    [holders, others].concat().join("; ")
}

fn non_finite(trial: &Value) -> u64 {
    trial.get("non_finite_reports").and_then(Value::as_u64).unwrap_or_default()
}

/// What a trial reported that never reported the metric that counts: `it reported 'val loss' and no 'val_loss'`.
pub fn reported_instead(why: &Value) -> Option<String> {
    let names: Vec<String> = why.get("reported")?.as_array()?.iter().map(|name| format!("'{}'", text(name))).collect();
    let metric = why.get("trial").map(|trial| field(trial, "metric")).unwrap_or_default();
    Some(match names.len() {
        0 => format!("it reported no '{metric}', nor any other metric"),
        count if count > NAMES_SHOWN => {
            let more = count - NAMES_SHOWN;
            format!("it reported {} and {more} more, and no '{metric}'", names[..NAMES_SHOWN].join(", "))
        }
        _ => format!("it reported {} and no '{metric}'", names.join(", ")),
    })
}

/// Metrics that are named in a sentence.
const NAMES_SHOWN: usize = 5;

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
        "max_total_trials" => "all its trials were made",
        "max_new_trials" => return new_trials_made(sweep),
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

/// That the trials of its own were made, whatever the total would allow.
fn new_trials_made(sweep: &Value) -> String {
    match sweep.pointer("/spec/limits/max_new_trials").and_then(Value::as_u64) {
        Some(1) => "its 1 new trial was made".to_owned(),
        Some(new) => format!("its {new} new trials were made"),
        None => "its new trials were made".to_owned(),
    }
}

/// Why a trial is as it is, with what a row of a list cannot leave out: that its model is not that of its value.
pub fn of_row(trial: &Value) -> String {
    let reason = of_trial(trial);
    match (field(trial, "unkept").is_empty(), reason.is_empty()) {
        (true, _) => reason,
        (false, true) => UNKEPT.to_owned(),
        (false, false) => format!("{UNKEPT}; {reason}"),
    }
}

/// Of a trial whose best value was reached, and whose folders as they were then were not kept.
pub const UNKEPT: &str = "its best was not kept";

/// How many trials a sweep may have at most.
pub fn trial_limit(sweep: &Value) -> u64 {
    // A server of before says the total only.
    let limit = ["trial_limit", "max_total_trials"].iter().find_map(|name| sweep.get(name).and_then(Value::as_u64));
    limit.unwrap_or_default()
}

/// What there is in the place of the result of a trial that has ended without one.
pub fn no_value(trial: &Value) -> Option<String> {
    if !RUN_ENDED.contains(&field(trial, "state").as_str()) || !field(trial, "best_value").is_empty() {
        return None;
    }
    let reports = non_finite(trial);
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
        let waits = json!({"state": "Queued", "reason": "claims 1 vCPU; its only node is busy; busy: run a 1 vCPU"});
        assert_eq!(of_trial(&waits), "busy: run a 1 vCPU; claims 1 vCPU; its only node is busy");
        assert_eq!(of_sweep(&json!({"state": "Canceled", "reason": "ann"})), "canceled by ann");
        let new = |limits| of_sweep(&json!({"reason": "max_new_trials", "spec": {"limits": limits}}));
        assert_eq!(new(json!({"max_new_trials": 4, "max_total_trials": 40})), "its 4 new trials were made");
        assert_eq!(new(json!({"max_new_trials": 1})), "its 1 new trial was made");
        assert_eq!(new(json!({})), "its new trials were made", "in a list");
        assert_eq!(
            of_sweep(&json!({"state": "Failed", "reason": "TooManyFailed: 5 trials"})),
            "TooManyFailed: 5 trials"
        );
    }

    #[test]
    fn a_best_that_was_not_kept_is_said_in_a_row_too() {
        // The model of another value was registered, and only the log of the run knew it.
        let unkept = "what belongs to the best acc, 0.9, is not kept";
        assert_eq!(of_row(&json!({"state": "Completed", "unkept": unkept})), "its best was not kept");
        let canceled = json!({"state": "Canceled", "reason": "user", "unkept": unkept});
        assert_eq!(of_row(&canceled), "its best was not kept; canceled by a user");
        assert_eq!(of_row(&json!({"state": "Completed"})), "");
    }

    #[test]
    fn the_limit_is_what_a_sweep_may_really_run() {
        // 4 of 40 looked as if most were still to come.
        assert_eq!(trial_limit(&json!({"max_total_trials": 40, "trial_limit": 4})), 4);
        assert_eq!(trial_limit(&json!({"max_total_trials": 40})), 40, "of an older server");
    }

    #[test]
    fn what_was_reported_in_the_place_of_the_objective_is_named() {
        let why = |names: &[&str]| json!({"trial": {"metric": "val_loss"}, "reported": names});
        let said = |names: &[&str]| reported_instead(&why(names));
        assert_eq!(said(&["val loss"]).as_deref(), Some("it reported 'val loss' and no 'val_loss'"));
        assert_eq!(said(&[]).as_deref(), Some("it reported no 'val_loss', nor any other metric"));
        let many = said(&["a", "b", "c", "d", "e", "f"]).unwrap_or_default();
        assert_eq!(many, "it reported 'a', 'b', 'c', 'd', 'e' and 1 more, and no 'val_loss'");
        assert_eq!(reported_instead(&json!({"trial": {}})), None);
        let ended = |reports: u32| of_trial(&json!({"reason": "no_objective", "non_finite_reports": reports}));
        assert_eq!(
            (ended(0).as_str(), ended(1).as_str()),
            ("never reported the primary metric", "reported no finite value")
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
