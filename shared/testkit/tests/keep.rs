//! What remains of a run whose script gets worse at its end, with real processes: the model of the best value is what
//! is uploaded and registered, the checkpoint of it is what stays, and what follows a death goes on from the last one.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, put_cluster};

/// For everything: two short runs on one node.
const LIMIT: Duration = Duration::from_secs(120);
/// For one of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its values are 0.5, 0.9, 0.7 and 0.6. It writes its folders anew at each, and waits after a better one until that is
/// kept. The first attempt dies after the third.
const SCRIPT: &str = r#"
set -e
step=0
if [ "$TRIALOG_RESUME" = 1 ]; then step=$(cat "$TRIALOG_CHECKPOINT_DIR/step"); fi
echo "begins at $step"
best=0.0
while [ "$step" -lt 4 ]; do
  step=$((step + 1))
  value=$(echo "0.5 0.9 0.7 0.6" | cut -d ' ' -f "$step")
  echo "$value" > "$TRIALOG_OUTPUT_MODEL/weights"
  echo "$value" > "$TRIALOG_OUTPUT_REPORT/said"
  echo "$step" > "$TRIALOG_CHECKPOINT_DIR/draft" && mv "$TRIALOG_CHECKPOINT_DIR/draft" "$TRIALOG_CHECKPOINT_DIR/step"
  echo "{\"trialog\": \"metric\", \"name\": \"acc\", \"value\": $value, \"step\": $step}"
  if [ "$step" -le 2 ]; then
    until grep -qs "\"value\":$value" "$TRIALOG_KEPT_FILE"; do sleep 0.02; done
  fi
  if [ "$step" = 3 ] && [ "$TRIALOG_ATTEMPT" = 1 ]; then kill -9 $$; fi
done
"#;

/// What a trial and a job have in common.
fn work() -> Value {
    json!({
        "command": ["/bin/sh", "-c", SCRIPT],
        "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
        "outputs": {"model": {"keep": "best"}, "report": {"keep": "last"}},
        "checkpoint": {"keep": "best"}
    })
}

fn sweep(objectives: Value) -> Value {
    let mut document = json!({
        "name": "worse", "cluster": "lively",
        "search_space": {"lr": {"type": "choice", "values": [1]}},
        "sampling_algorithm": "grid",
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 1, "max_retries": 1},
        "trial": work(),
    });
    document.as_object_mut().unwrap().extend(objectives.as_object().unwrap().clone());
    document
}

fn job(more: Value) -> Value {
    let mut job = work();
    job.as_object_mut().unwrap().extend(json!({"cluster": "lively", "max_retries": 1}).as_object().unwrap().clone());
    job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "job": job })
}

#[test]
fn what_remains_is_of_the_best_value_and_an_attempt_goes_on_from_the_last() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "what is kept");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    put_cluster(&client, "lively", &json!({}));
    refused(&client);

    let maximize = json!({"objective": {"goal": "maximize", "primary_metric": "acc"}});
    let sweep = client.post("sweeps", &sweep(maximize)).expect(201)["id"].as_str().unwrap().to_owned();
    let trial = format!("sweeps/{sweep}/trials/0");
    client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Completed");
    let of_trial = client.get(&trial).expect(200)["run_id"].as_str().unwrap().to_owned();
    let shown = client.get(&format!("sweeps/{sweep}")).expect(200);
    assert_eq!(shown["spec"]["trial"]["checkpoint"], json!({"keep": "best"}), "the document is shown as it was sent");

    let plain = job(json!({"primary_metric": "acc", "goal": "maximize"}));
    let plain = client.post("runs", &plain).expect(201)["run_id"].as_str().unwrap().to_owned();
    client.await_run(&plain, PATIENCE, |run| run["state"] == "Completed");
    for run in [of_trial, plain] {
        let shown = client.get(&format!("runs/{run}")).expect(200);
        let values = (&shown["best_value"], &shown["last_value"], &shown["attempt"]);
        assert_eq!(values, (&json!(0.9), &json!(0.6), &json!(2)), "{shown}");
        let log = client.get(&format!("runs/{run}/logs")).text();
        let begun: Vec<&str> = log.lines().filter(|line| line.contains("begins at")).collect();
        assert_eq!(begun, ["begins at 0", "begins at 3"], "it goes on from the last checkpoint: {log}");
        let left = |path: &str| client.get(&format!("runs/{run}/artifacts/outputs/{path}")).text();
        assert_eq!((left("model/weights"), left("report/said")), ("0.9\n".into(), "0.6\n".into()));
        let version = json!({"run_id": run, "artifact_path": "outputs/model"});
        let version = client.post("models/kept/versions", &version).expect(201);
        assert!(version.to_string().contains("weights"), "{version}");
        let checkpoints = home.join("d").join("checkpoints");
        assert_eq!(std::fs::read_to_string(checkpoints.join(&run).join("step")).unwrap(), "2\n");
        let besides: Vec<_> =
            std::fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(besides.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{besides:?}");
    }
    stopped_early(&client);
    server.stop();
}

/// The second trial is stopped at its first value, and goes on in vain until then.
const STOPPED: &str = r#"
value=$(echo "0.9 0.5" | cut -d ' ' -f "$1")
echo "$value" > "$TRIALOG_OUTPUT_MODEL/weights"
echo "$value" > "$TRIALOG_OUTPUT_REPORT/said"
echo "{\"trialog\": \"metric\", \"name\": \"acc\", \"value\": $value, \"step\": 1}"
until grep -qs "\"value\":$value" "$TRIALOG_KEPT_FILE"; do sleep 0.02; done
if [ "$1" = 2 ]; then exec tail -f /dev/null; fi
"#;

/// What a trial had at its best value is there, also when it was stopped early.
fn stopped_early(client: &Client) {
    let sweep = json!({
        "name": "stopped", "cluster": "lively",
        "objective": {"goal": "maximize", "primary_metric": "acc"},
        "search_space": {"lr": {"type": "choice", "values": [1, 2]}},
        "sampling_algorithm": "grid",
        "early_termination": {"type": "bandit", "slack_amount": 0.1, "evaluation_interval": 1},
        "limits": {"max_total_trials": 2, "max_concurrent_trials": 1},
        "trial": {
            "command": ["/bin/sh", "-c", STOPPED, "trial", "${{search_space.lr}}"],
            "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
            "outputs": {"model": {"keep": "best"}, "report": {"keep": "last"}},
        },
    });
    client.post("sweeps", &sweep).expect(201);
    client.await_version("sweeps/stopped", PATIENCE, |sweep| sweep["state"] == "Completed");
    let trial = client.get("sweeps/stopped/trials/1").expect(200);
    assert_eq!(trial["state"], "EarlyStopped", "{trial}");
    let run = trial["run_id"].as_str().unwrap();
    let left = |path: &str| client.get(&format!("runs/{run}/artifacts/outputs/{path}"));
    assert_eq!(left("model/weights").text(), "0.5\n");
    assert_eq!(left("report/said").status, 404, "only of what has ended by itself");
}

/// Nobody knows which value is the best where none is named, or several are.
fn refused(client: &Client) {
    let several = json!({"objectives": [
        {"goal": "maximize", "primary_metric": "acc"}, {"goal": "minimize", "primary_metric": "loss"}
    ]});
    let answer = client.post("sweeps", &sweep(several)).refused(422, "NeedsObjective");
    let pointers: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().filter_map(|one| one["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/trial/checkpoint/keep", "/trial/outputs/model/keep"], "{answer}");
    for more in [json!({}), json!({"primary_metric": "acc"}), json!({"goal": "maximize"})] {
        client.post("runs", &job(more)).refused(422, "NeedsObjective");
    }
}
