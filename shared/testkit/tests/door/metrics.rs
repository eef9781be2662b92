//! Stories of runs that their client drives.

use serde_json::{Value, json};
use trialog_testkit::{Answer, Client};

fn run(client: &Client, name: &str) -> String {
    let made = client.post("runs", &json!({"name": name})).expect(201);
    made["run_id"].as_str().expect("an id").to_owned()
}

fn log(client: &Client, run: &str, metrics: Value) -> Answer {
    client.post(&format!("runs/{run}/metrics"), &json!({"metrics": metrics}))
}

/// Rows R1, R4: non-finite values are stored, equal points are one, steps count on, a lower step is accepted.
pub fn points_of_a_plain_run(client: &Client) {
    let run = run(client, "points");
    let point =
        |value: Value| json!({"name": "loss", "value": value, "step": 1, "timestamp_ms": 1_700_000_000_000_i64});
    for _ in 0..2 {
        log(client, &run, json!([point(json!(0.5))])).expect(200);
    }
    let values = ["NaN", "Infinity", "-Infinity"].map(|text| json!({"name": "odd", "value": text}));
    assert_eq!(log(client, &run, json!(values)).expect(200)["accepted"], json!(3));
    log(client, &run, json!([{"name": "odd", "value": 2.5}, {"name": "odd", "value": 1, "step": -7}])).expect(200);
    let points = client.list(&format!("runs/{run}/metrics/loss"), "points");
    assert_eq!(points.len(), 1, "{points:?}");
    let mut odd: Vec<_> = client
        .list(&format!("runs/{run}/metrics/odd"), "points")
        .iter()
        .map(|point| (point["step"].as_i64().expect("a step"), point["value"].clone()))
        .collect();
    odd.sort_by_key(|(step, _)| *step);
    let wanted =
        [(-7, json!(1.0)), (0, json!("NaN")), (1, json!("Infinity")), (2, json!("-Infinity")), (3, json!(2.5))];
    assert_eq!(odd, wanted);
    let summary = client.get(&format!("runs/{run}/metrics")).expect(200);
    let odd = summary["metrics"].as_array().expect("metrics").iter().find(|metric| metric["name"] == "odd");
    let odd = odd.expect("the key is listed");
    assert_eq!((&odd["count"], &odd["min"], &odd["max"]), (&json!(5), &json!(1.0), &json!(2.5)), "{odd}");
}

/// A repeated batch is taken once, a missing one is asked for.
pub fn batches_of_a_writer(client: &Client) {
    let run = run(client, "batches");
    let send = |sequence: i64, value: f64| {
        let metrics = json!([{"name": "loss", "value": value, "step": sequence}]);
        client.post(&format!("runs/{run}/metrics"), &json!({"writer": "w", "sequence": sequence, "metrics": metrics}))
    };
    assert_eq!(send(1, 0.1).expect(200)["repeated"], json!(false));
    assert_eq!(send(2, 0.2).expect(200)["repeated"], json!(false));
    assert_eq!(send(1, 0.1).expect(200)["repeated"], json!(true));
    let gap = send(4, 0.4).refused(409, "SequenceGap");
    assert_eq!(gap["expected"], json!(3), "{gap}");
    assert_eq!(client.list(&format!("runs/{run}/metrics/loss"), "points").len(), 2);
}

/// Row R6.
pub fn values_that_are_none(client: &Client) {
    let run = run(client, "values");
    let path = format!("runs/{run}/metrics");
    let send = |body: &str| client.request("POST", &path).body("application/json", body).send();
    let answer = send(
        r#"{"metrics": [{"name": "a", "value": "high"}, {"name": "a", "value": 1e400}, {"name": "a", "value": 1}]}"#,
    );
    let wanted = ["/metrics/0/value", "/metrics/1/value"].map(|at| ("BadMetricValue".to_owned(), at.to_owned()));
    assert_eq!(answer.errors(), wanted, "{}", answer.text());
    answer.refused(422, "BadMetricValue");
    send(r#"{"metrics": [{"name": "", "value": 1}]}"#).refused(422, "BadMetricName");
    send(r#"{"metrics": [{"name": "a", "valeu": 1}]}"#).refused(400, "UnknownField");
    send(r#"{"metrics": []}"#).refused(422, "Required");
    let many = vec![r#"{"name":"a","value":1}"#; 10_001].join(",");
    assert_eq!(send(&format!(r#"{{"metrics":[{many}]}}"#)).status, 413);
    assert_eq!(client.get(&path).expect(200)["metrics"], json!([]));
    let nobody = "runs/run_00000000000000000000000000/metrics";
    client.post(nobody, &json!({"metrics": [{"name": "a", "value": 1}]})).refused(404, "NotFound");
}

/// Row R5, first half, and R9 for runs.
pub fn a_run_that_is_over(client: &Client) {
    let run = run(client, "over");
    log(client, &run, json!([{"name": "a", "value": 1}])).expect(200);
    let ended = client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    assert_eq!(ended["state"], "Completed");
    let refused = log(client, &run, json!([{"name": "a", "value": 2}])).refused(409, "RunTerminal");
    assert_eq!(refused["state"], "Completed", "{refused}");
    let again = client.post(&format!("runs/{run}:cancel"), &json!({}));
    assert_eq!(again.status / 100, 2, "{}", again.text());
    assert_eq!(again.json()["state"], "Completed");
    // Tags and params: a param is written once, a tag as often as one likes.
    let patch = |body: Value| client.patch(&format!("runs/{run}"), &body);
    patch(json!({"tags": {"a": "1"}})).expect(200);
    patch(json!({"tags": {"a": "2"}})).expect(200);
}
