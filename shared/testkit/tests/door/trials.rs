//! Stories of trials that run.

use serde_json::{Value, json};
use trialog_testkit::{Client, await_that};

use super::{LIVELY, PATIENCE, sound};

fn submit(client: &Client, name: &str, script: &str, trials: u32, failed: u32) -> String {
    let mut document = sound(name);
    document["cluster"] = json!(LIVELY);
    document["limits"] = json!({"max_total_trials": trials, "max_concurrent_trials": 1, "max_failed_trials": failed});
    document["trial"] = json!({
        "command": ["/bin/sh", "-c", script, "trial", "${{search_space.lr}}"],
        "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
        "checkpoint": true
    });
    client.post("sweeps", &document).expect(201)["id"].as_str().expect("an id").to_owned()
}

fn first_run(client: &Client, sweep: &str) -> String {
    let has_trial = |sweep: &Value| sweep["proposals"].as_u64() > Some(0);
    client.await_version(&format!("sweeps/{sweep}"), PATIENCE, has_trial);
    let trial = client.get(&format!("sweeps/{sweep}/trials/0")).expect(200);
    let run = trial["run_id"].as_str().expect("a run").to_owned();
    client.await_run(&run, PATIENCE, |run| run["run_id"].is_string());
    run
}

fn cancel(client: &Client, sweep: &str) {
    client.post(&format!("sweeps/{sweep}:cancel"), &json!({}));
    client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Canceled");
}

/// Rows R1, R4, R5 on the key that a sweep watches.
pub fn the_points_of_a_running_trial(client: &Client) {
    let sweep = submit(client, "watched", "sleep 300", 1, 3);
    let run = first_run(client, &sweep);
    client.await_run(&run, PATIENCE, |run| run["state"] == "Running");
    let send = |attempt: u32, step: i64, value: Value| {
        let metrics = json!([{"name": "val_acc", "value": value, "step": step}]);
        client.post(&format!("runs/{run}/metrics"), &json!({"attempt": attempt, "metrics": metrics}))
    };
    send(1, 0, json!(0.5)).expect(200);
    send(1, 0, json!(0.5)).expect(200);
    send(1, 0, json!(0.6)).refused(409, "ConflictingPoint");
    send(1, 3, json!("NaN")).expect(200);
    // A lower new step is a new point.
    send(1, 1, json!(0.25)).expect(200);
    send(0, 9, json!(0.25)).refused(422, "Required");
    let early = client
        .request("POST", &format!("runs/{run}/metrics"))
        .json(&json!({"attempt": 2, "metrics": [{"name": "val_acc", "value": 1}]}))
        .once()
        .send();
    assert!([409, 503].contains(&early.status), "{}", early.text());
    let trial =
        client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["best"]["value"] == json!(0.5));
    assert_eq!(trial["best"]["trial_index"], json!(0));
    await_that(PATIENCE, || {
        let trial = client.get(&format!("sweeps/{sweep}/trials/0")).expect(200);
        if trial["intervals"] == json!(3) { Ok(()) } else { Err(format!("three points are three intervals: {trial}")) }
    });
    cancel(client, &sweep);
    client.await_run(&run, PATIENCE, |run| run["state"] == "Canceled");
    let late = send(1, 7, json!(1));
    assert!(late.status == 409 && ["RunTerminal", "StaleAttempt"].contains(&late.code().as_str()), "{}", late.text());
}

/// Rows R2 and R3.
pub fn a_metric_that_is_not_the_primary_one(client: &Client) {
    let script = r#"echo '{"trialog": "metric", "name": "val_accuracy", "value": 0.5}'"#;
    let sweep = submit(client, "misnamed", script, 10, 3);
    let end = client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Failed");
    let text = end.to_string();
    assert!(text.contains("ObjectiveNeverReported") && text.contains("val_accuracy"), "{text}");
    let trials = client.list(&format!("sweeps/{sweep}/trials"), "trials");
    assert_eq!(trials.len(), 3, "three in a row are enough: {trials:?}");
    for trial in &trials {
        assert_eq!((&trial["state"], &trial["reason"]), (&json!("Completed"), &json!("no_objective")), "{trial}");
    }
    let mut events = client.events(&format!("sweeps/{sweep}/events"));
    let mut warned = 0;
    while let Some(event) = events.next_within(std::time::Duration::from_secs(2)) {
        warned += u32::from(event.data["data"]["code"] == "OtherMetric");
    }
    assert_eq!(warned, 1, "one warning event that val_accuracy is not val_acc");
}

/// Row R7.
pub fn trials_that_all_crash(client: &Client) {
    let sweep = submit(client, "crashing", "echo no such data >&2; exit 3", 10, 3);
    let end = client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Failed");
    let text = end.to_string();
    assert!(text.contains("TrialsKeepFailing") && text.contains("no such data"), "{text}");
    let trials = client.list(&format!("sweeps/{sweep}/trials"), "trials");
    assert_eq!(trials.len(), 3);
    for trial in &trials {
        assert_eq!(trial["state"], "Failed", "{trial}");
        let run = client.get(&format!("runs/{}", trial["run_id"].as_str().unwrap_or_default())).expect(200);
        assert_eq!((&run["end"]["reason"], &run["end"]["exit_code"]), (&json!("exit_code"), &json!(3)), "{run}");
    }
}

/// Row R8, and the second half of R5.
pub fn a_preempted_node(client: &Client) {
    let script = r#"
        if [ "$TRIALOG_ATTEMPT" = 1 ]; then
          echo '{"trialog": "metric", "name": "val_acc", "value": 0.1, "step": 0}'
          echo saved > "$TRIALOG_CHECKPOINT_DIR/state"; sleep 300
        fi
        [ "$TRIALOG_RESUME" = 1 ] && [ "$(cat "$TRIALOG_CHECKPOINT_DIR/state")" = saved ] || exit 9
        echo '{"trialog": "metric", "name": "val_acc", "value": 0.2, "step": 1}'"#;
    let sweep = submit(client, "preempted", script, 1, 3);
    let run = first_run(client, &sweep);
    await_that(PATIENCE, || {
        client.list(&format!("runs/{run}/metrics/val_acc"), "points").pop().ok_or("attempt 1 does not report")
    });
    let nodes = client.get(&format!("clusters/{LIVELY}/nodes")).expect(200);
    let on =
        |node: &&Value| node["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(|job| job["run_id"] == json!(run)));
    let node = nodes["nodes"].as_array().and_then(|nodes| nodes.iter().find(on)).expect("the run's node");
    let id = node["node_id"].as_str().expect("an id");
    client.post(&format!("clusters/{LIVELY}/nodes/{id}:preempt"), &json!({"reason": "for the test"})).expect(202);
    let end = client.await_version(&format!("sweeps/{sweep}"), PATIENCE, |sweep| sweep["state"] == "Completed");
    assert_eq!((&end["preemptions"], &end["proposals"]), (&json!(1), &json!(1)), "{end}");
    let done = client.get(&format!("runs/{run}")).expect(200);
    assert_eq!(
        (&done["state"], &done["attempt"], &done["preemptions"]),
        (&json!("Completed"), &json!(2), &json!(1)),
        "{done}"
    );
    let first = &done["attempts"][0];
    assert_eq!(first["end"], "preempted", "{done}");
    assert!(first["checkpoint_age_seconds"].is_number(), "{done}");
    let stale = json!({"attempt": 1, "metrics": [{"name": "val_acc", "value": 1, "step": 5}]});
    let refused = client.post(&format!("runs/{run}/metrics"), &stale);
    assert!(refused.status == 409, "{}", refused.text());
}
