//! External mode at the door: trials are asked for and told by whoever runs them.

use serde_json::{Value, json};
use trialog_testkit::Client;

use crate::PATIENCE;

fn external(name: &str) -> Value {
    json!({
        "name": name,
        "mode": "external",
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "search_space": {
            "lr": {"type": "uniform", "min_value": 0.1, "max_value": 1},
            "depth": {"type": "quniform", "min_value": 1, "max_value": 9, "q": 1},
            "optimizer": {"type": "choice", "values": ["sgd", "adam"]}
        },
        "sampling_algorithm": {"type": "random", "seed": 7},
        "early_termination": {"type": "bandit", "slack_amount": 0.1},
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 3}
    })
}

/// The paths of a new sweep's trials.
fn submitted(client: &Client, name: &str) -> (String, String) {
    let sweep = client.post("sweeps", &external(name)).expect(201);
    let path = format!("sweeps/{}", sweep["id"].as_str().expect("an id"));
    (format!("{path}/trials"), path)
}

pub fn an_external_sweep_is_asked_and_told(client: &Client) {
    let (trials, sweep) = submitted(client, "asked");
    let asked = client.post(&format!("{trials}:ask"), &json!({"count": 9, "worker": "w"})).expect(200);
    assert_eq!((asked["trials"].as_array().map(Vec::len), &asked["state"]), (Some(3), &json!("running")), "{asked}");
    let first = &asked["trials"][0];
    assert_eq!((&first["index"], &first["attempt"], &first["basis_lag"]), (&json!(0), &json!(1), &json!(0)));
    assert!(first["parameters"]["lr"].is_f64() && first["parameters"]["depth"].is_u64(), "{first}");
    assert!(first["parameters"]["optimizer"].is_string() && first["lease_expires_at"].is_string(), "{first}");
    let none = client.post(&format!("{trials}:ask"), &json!({})).expect(200);
    assert_eq!((&none["trials"], &none["state"]), (&json!([]), &json!("limit")));
    let beat = client.post(&format!("{trials}/0:heartbeat"), &json!({"attempt": 1})).expect(200);
    assert!(beat["lease_expires_at"].as_str() > first["lease_expires_at"].as_str(), "{beat} after {first}");

    let tell = |index: u32, body: Value| client.post(&format!("{trials}/{index}:tell"), &body);
    let kept = tell(0, json!({"attempt": 1, "step": 3, "value": 0.9})).expect(200);
    assert_eq!(kept, json!({"stop": false}));
    tell(0, json!({"attempt": 1, "step": 3, "value": 0.9})).expect(200);
    tell(0, json!({"attempt": 1, "step": 3, "value": 0.8})).refused(409, "ConflictingPoint");
    tell(0, json!({"attempt": 1, "value": "NaN"})).expect(200);
    let stopped = tell(1, json!({"attempt": 1, "value": 0.5})).expect(200);
    assert_eq!(stopped["stop"], json!(true));
    tell(1, json!({"attempt": 1, "value": 0.5})).refused(409, "RunTerminal");
    // An end that is told again, because its answer was lost, is answered as the first time.
    for _ in 0..2 {
        tell(2, json!({"attempt": 1, "state": "failed", "reason": "no memory"})).expect(200);
        assert_eq!(tell(0, json!({"attempt": 1, "value": 0.95, "final": true})).expect(200), json!({"stop": false}));
    }
    let shown = client.get(&format!("{trials}/1")).expect(200);
    assert_eq!((&shown["state"], &shown["decision"]), (&json!("EarlyStopped"), &stopped["decision"]));
    assert_eq!(client.get(&format!("{trials}/2")).expect(200)["reason"], json!("run: no memory"));

    // Its run follows by itself: what was told is a metric of it, and it ends with the trial.
    let run = client.get(&format!("{trials}/0")).expect(200)["run_id"].as_str().expect("a run").to_owned();
    client.await_run(&run, PATIENCE, |run| run["state"] == "Completed");
    let told = client.get(&format!("runs/{run}/metrics/val_acc")).expect(200);
    let values: Vec<&Value> = told["points"].as_array().expect("points").iter().map(|point| &point["value"]).collect();
    assert_eq!(values, [&json!(0.9), &json!("NaN"), &json!(0.95)]);
    client.post(&format!("{sweep}:cancel"), &json!({})).expect(202);
    assert_eq!(client.get(&sweep).expect(200)["state"], json!("Canceled"), "no trial has to be awaited");
    let none = client.post(&format!("{trials}:ask"), &json!({})).expect(200);
    assert_eq!(none["state"], json!("canceled"));
    let verified = client.post(&format!("{sweep}:verify"), &json!({})).expect(200);
    assert_eq!(verified["difference_count"], json!(0), "{verified}");
}

pub fn several_metrics_are_told_and_have_a_front(client: &Client) {
    let mut document = external("fronted");
    for name in ["objective", "early_termination"] {
        document.as_object_mut().expect("a map").remove(name);
    }
    document["objectives"] =
        json!([{"primary_metric": "val_acc", "goal": "maximize"}, {"primary_metric": "latency", "goal": "minimize"}]);
    document["constraints"] = json!([{"metric": "memory", "op": "<=", "value": 2}]);
    document["sampling_algorithm"] = json!({"type": "bayesian", "seed": 7});
    let sweep = client.post("sweeps", &document).expect(201);
    let sweep = format!("sweeps/{}", sweep["id"].as_str().expect("an id"));
    let trials = format!("{sweep}/trials");
    client.post(&format!("{trials}:ask"), &json!({"count": 3})).expect(200);
    let tell = |index: u32, values: Value| {
        client.post(&format!("{trials}/{index}:tell"), &json!({"attempt": 1, "values": values, "final": true}))
    };
    tell(0, json!({"val_acc": "high"})).refused(422, "BadMetricValue");
    tell(0, json!({"val_acc": 0.5, "speed": 1})).refused(422, "UnknownMetric");
    tell(0, json!({"val_acc": 0.9, "latency": 9, "memory": 1})).expect(200);
    tell(1, json!({"val_acc": 0.5, "latency": 1, "memory": 1})).expect(200);
    tell(2, json!({"val_acc": 0.99, "latency": 0.1, "memory": 3})).expect(200);
    let shown = client.get(&sweep).expect(200);
    let front: Vec<&Value> = shown["pareto"].as_array().expect("a front").iter().map(|at| &at["trial_index"]).collect();
    assert_eq!((front, &shown["best"]), (vec![&json!(0), &json!(1)], &Value::Null), "{shown}");
    let last = client.get(&format!("{trials}/2")).expect(200);
    assert_eq!((&last["feasible"], &last["values"]["memory"]), (&json!(false), &json!(3.0)), "{last}");
    let run = last["run_id"].as_str().expect("a run").to_owned();
    client.await_run(&run, PATIENCE, |run| run["state"] == "Completed");
    let latency = client.get(&format!("runs/{run}/metrics/latency")).expect(200);
    assert_eq!(latency["points"][0]["value"], json!(0.1), "each watched metric is one of the run's");
    let patience = json!({"limits": {"max_trials_without_improvement": 3}});
    client.patch(&sweep, &patience).refused(422, "SeveralObjectives");
    client.post(&format!("{sweep}:cancel"), &json!({})).expect(202);
}

pub fn asks_and_tells_that_are_wrong(client: &Client) {
    let (trials, _) = submitted(client, "asked wrongly");
    let ask = |body: Value| client.post(&format!("{trials}:ask"), &body);
    ask(json!({"count": 0})).refused(422, "OutOfRange");
    ask(json!({"count": 1001, "lease_seconds": 0})).refused(422, "OutOfRange");
    ask(json!({"cuont": 1})).refused(400, "UnknownField");
    ask(json!({"count": "many"})).refused(422, "WrongType");
    ask(json!({})).expect(200);
    let tell = |path: &str, body: &Value| client.post(&format!("{trials}/{path}:tell"), body);
    for (body, status, code) in [
        (json!({"attempt": 1, "value": "high"}), 422, "BadMetricValue"),
        (json!({"attempt": 1, "value": null}), 422, "BadMetricValue"),
        (json!({"attempt": 1}), 422, "Required"),
        (json!({"value": 1}), 422, "Required"),
        (json!({"attempt": 2, "value": 1}), 409, "UnknownAttempt"),
        (json!({"attempt": 1, "state": "done"}), 422, "BadState"),
        (json!({"attempt": 1, "state": "failed", "value": 1}), 422, "ExactlyOne"),
        (json!({"attempt": 1, "value": 1, "finall": true}), 400, "UnknownField"),
    ] {
        let answer = tell("0", &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}: {}", answer.text());
    }
    tell("7", &json!({"attempt": 1, "value": 1})).refused(404, "NotFound");
    tell("x", &json!({"attempt": 1, "value": 1})).refused(404, "NotFound");
    client.post("sweeps/absent/trials:ask", &json!({})).refused(404, "NotFound");
    let managed = client.post("sweeps", &crate::sound("not asked")).expect(201);
    let managed = managed["id"].as_str().expect("an id");
    client.post(&format!("sweeps/{managed}/trials:ask"), &json!({})).refused(422, "NotExternal");
    client
        .post(&format!("sweeps/{managed}/trials/0:tell"), &json!({"attempt": 1, "value": 1}))
        .refused(422, "NotExternal");
    client.post(&format!("sweeps/{managed}:cancel"), &json!({})).expect(202);
    // One key, one answer: a worker that lost it gets the same trial.
    let (trials, _) = submitted(client, "asked twice");
    let keyed = || client.request("POST", &format!("{trials}:ask")).header("Idempotency-Key", "k-ask").json(&json!({}));
    let first = keyed().send().expect(200);
    assert_eq!(keyed().send().expect(200), first);
    assert_eq!(client.get(&trials).expect(200)["trials"].as_array().map(Vec::len), Some(1));
}
