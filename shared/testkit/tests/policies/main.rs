//! Trials that wait, go on from their checkpoints, and end early: with real processes on one server.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, await_that, put_cluster};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(240);
/// For one sweep.
const PATIENCE: Duration = Duration::from_secs(60);

/// It reports slope + step / 100 and saves the step; a new attempt goes on after the last saved one.
const TRIAL: &str = r#"
step=0
if [ -f "$TRIALOG_CHECKPOINT_DIR/step" ]; then step=$(cat "$TRIALOG_CHECKPOINT_DIR/step"); fi
echo "begins at $step"
while [ "$step" -lt "$2" ]; do
  sleep "$3"
  step=$((step + 1))
  echo "{\"trialog\": \"metric\", \"name\": \"score\", \"value\": $1.$((step + 10)), \"step\": $step}"
  echo "$step" > "$TRIALOG_CHECKPOINT_DIR/draft" && mv "$TRIALOG_CHECKPOINT_DIR/draft" "$TRIALOG_CHECKPOINT_DIR/step"
done
"#;

/// A sweep over four slopes whose trials have so many steps of so many seconds.
fn document(name: &str, steps: u32, seconds: &str) -> Value {
    json!({
        "name": name,
        "cluster": "lively",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"slope": {"type": "choice", "values": [1, 2, 3, 4]}},
        "sampling_algorithm": "grid",
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 4},
        "trial": {
            "command": ["/bin/sh", "-c", TRIAL, "trial", "${{search_space.slope}}", steps.to_string(), seconds],
            "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
            "checkpoint": true
        }
    })
}

fn submit(client: &Client, document: &Value) -> String {
    client.post("sweeps", document).expect(201)["id"].as_str().expect("an id").to_owned()
}

fn ended(client: &Client, sweep: &str) -> Value {
    let is_over = |sweep: &Value| ["Completed", "Failed"].iter().any(|state| sweep["state"] == *state);
    client.await_version(&format!("sweeps/{sweep}"), PATIENCE, is_over)
}

fn trials(client: &Client, sweep: &str) -> Vec<Value> {
    client.list(&format!("sweeps/{sweep}/trials"), "trials")
}

fn count(trials: &[Value], state: &str) -> usize {
    trials.iter().filter(|trial| trial["state"] == state).count()
}

/// Where the last attempt of a trial began.
fn began_at(client: &Client, trial: &Value) -> u32 {
    let run = trial["run_id"].as_str().expect("a run");
    let log = client.get(&format!("runs/{run}/logs")).text();
    let last = log.lines().rev().find_map(|line| line.strip_prefix("begins at ").map(str::to_owned));
    last.and_then(|step| step.trim().parse().ok()).unwrap_or_else(|| panic!("no beginning in {log}"))
}

#[test]
fn trials_wait_and_go_on_and_end_early() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the policies");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    put_cluster(&client, "lively", &json!({"vm_size": "D8"}));
    paused_with_checkpoints(&client);
    promoted_from_rungs(&client);
    bred(&client);
    ended_by_a_target(&client);
    left_with_its_model(&client);
    ended_without_improvement(&client);
    server.stop();
}

fn paused_with_checkpoints(client: &Client) {
    let mut asked = document("held", 12, "0.15");
    asked["limits"] = json!({"max_total_trials": 4, "max_concurrent_trials": 2});
    let sweep = submit(client, &asked);
    let path = format!("sweeps/{sweep}");
    let begun = |trials: &[Value]| trials.iter().filter(|trial| trial["intervals"].as_u64() >= Some(2)).count() == 2;
    until(|| begun(&trials(client, &sweep)), "two trials have begun");
    let paused = client.post(&format!("{path}:pause"), &json!({"mode": "checkpoint"})).expect(200);
    assert_eq!(paused["state"], "Paused");
    until(|| count(&trials(client, &sweep), "Paused") == 2, "both wait");
    let waiting = trials(client, &sweep);
    assert_eq!(waiting.len(), 2, "nothing new comes");
    // Nothing runs, and nothing is lost.
    let steps = |trials: &[Value]| trials.iter().map(|trial| trial["intervals"].as_u64()).collect::<Vec<_>>();
    client.post(&format!("{path}:pause"), &json!({"mode": "checkpoint"})).expect(200);
    assert_eq!(steps(&trials(client, &sweep)), steps(&waiting));
    client.post(&format!("{path}:resume"), &json!({})).expect(200);
    assert_eq!(ended(client, &sweep)["state"], "Completed");
    let over = trials(client, &sweep);
    assert_eq!((over.len(), count(&over, "Completed")), (4, 4));
    for trial in &over[..2] {
        assert_eq!((&trial["attempt"], &trial["preemptions"]), (&json!(2), &json!(0)), "{trial}");
        assert!(began_at(client, trial) >= 2, "it goes on from its checkpoint");
    }
    assert!(over.iter().all(|trial| trial["intervals"] == json!(12)), "each step once: {over:?}");
    client.assert_verified(&format!("sweeps/{sweep}"));
}

fn promoted_from_rungs(client: &Client) {
    let mut asked = document("promoted", 40, "0.02");
    asked["early_termination"] =
        json!({"type": "asha", "variant": "promotion", "reduction_factor": 2, "max_resource": 8});
    let sweep = submit(client, &asked);
    let end = ended(client, &sweep);
    assert_eq!((&end["state"], &end["best"]["parameters"]["slope"]), (&json!("Completed"), &json!(4)), "{end}");
    let over = trials(client, &sweep);
    let best = over.iter().find(|trial| trial["parameters"]["slope"] == 4).expect("the best");
    assert_eq!((&best["state"], &best["intervals"]), (&json!("Completed"), &json!(8)), "{best}");
    assert_eq!(best["attempt"], json!(4), "it waited at 1, 2 and 4: {best}");
    assert!(began_at(client, best) >= 4, "it goes on from its checkpoint");
    assert_eq!(count(&over, "EarlyStopped"), 3, "{over:?}");
    client.assert_verified(&format!("sweeps/{sweep}"));
}

fn bred(client: &Client) {
    let mut asked = document("bred", 12, "0.1");
    asked["search_space"]["slope"] = json!({"type": "choice", "values": [1, 2, 3, 4, 5, 6], "ordered": true});
    asked["limits"] = json!({"max_total_trials": 12, "max_concurrent_trials": 4});
    asked["early_termination"] = json!({"type": "pbt", "perturbation_interval": 3, "resample_probability": 0});
    let sweep = submit(client, &asked);
    let end = ended(client, &sweep);
    assert_eq!(end["state"], json!("Completed"), "{end}");
    assert!(["population_ended", "max_total_trials"].iter().any(|reason| end["reason"] == *reason), "{end}");
    let over = trials(client, &sweep);
    let (founders, children) = over.split_at(4);
    assert!(!children.is_empty(), "the first slope is behind at some perturbation point: {over:?}");
    assert_eq!(count(&over, "EarlyStopped"), children.len(), "a child for each");
    assert!(founders.iter().any(|trial| trial["state"] == "EarlyStopped"), "{founders:?}");
    for child in children {
        let why = client.get(&format!("sweeps/{sweep}/trials/{}/why", child["index"])).expect(200);
        assert_eq!(why["proposal"]["algorithm"], json!("pbt"), "{why}");
        let from = why["proposal"]["exploit"]["donor_interval"].as_u64().expect("a donor's interval");
        assert!(u64::from(began_at(client, child)) >= from, "it goes on from the donor's checkpoint: {why}");
    }
    client.assert_verified(&format!("sweeps/{sweep}"));
}

fn ended_by_a_target(client: &Client) {
    let mut asked = document("targeted", 60, "0.05");
    asked["objective"]["target"] = json!(3.13);
    let sweep = submit(client, &asked);
    let end = ended(client, &sweep);
    assert_eq!((&end["state"], &end["reason"]), (&json!("Completed"), &json!("target_reached")), "{end}");
    assert!(end["best"]["value"].as_f64() >= Some(3.13), "{end}");
    let over = trials(client, &sweep);
    // The one that reached it ends by itself, with all that it has to say; the others were ended.
    let (best, others): (Vec<&Value>, Vec<&Value>) =
        over.iter().partition(|trial| trial["index"] == end["best"]["trial_index"]);
    assert_eq!((&best[0]["state"], &best[0]["intervals"]), (&json!("Completed"), &json!(60)), "{best:?}");
    let canceled = |trial: &&Value| trial["state"] == "Canceled" && trial["reason"] == "target_reached";
    assert!(others.len() == 3 && others.iter().all(canceled), "{others:?}");
    client.assert_verified(&format!("sweeps/{sweep}"));
}

/// It reports three values, and only then writes its model.
const WRITER: &str = r#"
for step in 1 2 3; do
  echo "{\"trialog\": \"metric\", \"name\": \"score\", \"value\": $1.$step, \"step\": $step}"
done
sleep 1
if [ "$1" -eq 4 ]; then echo "model $1" > "$TRIALOG_OUTPUT_MODEL/model.txt"; fi
"#;

fn left_with_its_model(client: &Client) {
    let mut asked = document("writing", 3, "0");
    asked["early_termination"] = json!({"type": "asha", "reduction_factor": 2, "max_resource": 3});
    asked["search_space"]["slope"]["values"] = json!([3, 4]);
    asked["limits"] = json!({"max_total_trials": 2, "max_concurrent_trials": 1});
    asked["trial"]["command"] = json!(["/bin/sh", "-c", WRITER, "trial", "${{search_space.slope}}"]);
    asked["trial"]["outputs"] = json!({"model": {}});
    let sweep = submit(client, &asked);
    let end = ended(client, &sweep);
    let over = trials(client, &sweep);
    assert!(over.iter().all(|trial| trial["state"] == "Completed" && trial["reason"] == ""), "{over:?}");
    assert_eq!((&over[0]["missing_outputs"], &over[1]["missing_outputs"]), (&json!(["model"]), &json!([])));
    // It was the best when it ended, and nobody had to find out later.
    let lost = "trial 0 is best but left no outputs/model: ";
    let warned = |warning: &&Value| warning["message"].as_str().is_some_and(|message| message.starts_with(lost));
    assert_eq!(end["warnings"].as_array().expect("warnings").iter().filter(warned).count(), 1, "{end}");
    let files = client.list(&format!("runs/{}/artifacts", over[1]["run_id"].as_str().expect("a run")), "artifacts");
    assert_eq!(files.iter().map(|file| &file["path"]).collect::<Vec<_>>(), ["outputs/model/model.txt"]);
    client.assert_verified(&format!("sweeps/{sweep}"));
}

fn ended_without_improvement(client: &Client) {
    let mut asked = document("converged", 2, "0.01");
    asked["search_space"]["slope"]["values"] = json!([4, 3, 2, 1]);
    asked["limits"] = json!({
        "max_total_trials": 4, "max_concurrent_trials": 1,
        "convergence": {"patience": 2, "relative_improvement": 0.01},
    });
    let sweep = submit(client, &asked);
    let end = ended(client, &sweep);
    assert_eq!((&end["state"], &end["reason"]), (&json!("Completed"), &json!("converged")), "{end}");
    assert_eq!(end["proposals"], json!(3), "{end}");
    client.assert_verified(&format!("sweeps/{sweep}"));
}

fn until(is_so: impl Fn() -> bool, what: &str) {
    await_that(PATIENCE, || if is_so() { Ok(()) } else { Err(what) });
}
