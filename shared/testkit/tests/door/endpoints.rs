//! Stories of endpoints.

use serde_json::{Value, json};
use trialog_testkit::{Answer, Client, await_that};

use super::{LIVELY, PATIENCE, STILL};

/// A model that does what its input says: a request may take as long as it wishes.
const MOODY: &str = r#"
import json, time
def init():
    pass
def run(raw):
    wish = json.loads(raw)
    if wish == "fail":
        raise ValueError("no such mood")
    time.sleep(float(wish))
    return "slept"
"#;

/// Version 1 of a model that is one score.py.
fn register(client: &Client, model: &str, script: &str) {
    let run = client.post("runs", &json!({"name": model})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    put.body("application/octet-stream", script).send().expect(201);
    client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    let version = json!({"run_id": run, "artifact_path": "outputs/model"});
    client.post(&format!("models/{model}/versions"), &version).expect(201);
}

/// Rows R12, R13 and the first part of R14.
pub fn traffic_of_an_endpoint(client: &Client) {
    register(client, "echo", "def init(): pass\ndef run(raw): return raw\n");
    client.put("endpoints/echo", &json!({"description": "says it again"})).expect(201);
    let score = |token: &Client| token.request("POST", "/endpoints/default/echo/score").json(&json!([1])).once().send();
    // Nothing carries weight.
    await_that(PATIENCE, || match score(client) {
        answer if answer.code() == "NoTraffic" => Ok(()),
        answer => Err(format!("the router does not know of the endpoint: {}", answer.text())),
    });
    score(&client.with_token("")).refused(401, "Unauthenticated");
    let deployment = json!({"model": "echo/versions/1", "cluster": STILL, "instance_count": 1});
    for name in ["blue", "green"] {
        client.put(&format!("endpoints/echo/deployments/{name}"), &deployment).expect(201);
    }
    // Row 49: what a document refers to must be there.
    for (model, cluster) in [("nothing/versions/1", STILL), ("echo/versions/1", "nc7")] {
        let unknown = json!({"model": model, "cluster": cluster});
        client.put("endpoints/echo/deployments/red", &unknown).refused(404, "NotFound");
    }

    let traffic = |shares: Value| client.put("endpoints/echo/traffic", &json!({"traffic": shares}));
    let sum = traffic(json!({"blue": 60, "green": 30})).refused(422, "BadTraffic");
    assert!(sum["detail"].as_str().is_some_and(|detail| detail.contains("90")), "{sum}");
    traffic(json!({"blue": 60, "red": 40})).refused(422, "UnknownDeployment");
    let set = traffic(json!({"blue": 60, "green": 40})).expect(200);
    assert_eq!(set["traffic"], json!({"blue": 60, "green": 40}), "{set}");
    assert_eq!(set["effective_traffic"], json!({}), "nothing is ready: {set}");
    client.delete("endpoints/echo/deployments/blue").refused(409, "DeploymentInUse");
    // Weight, but nothing ready in time.
    let waiting = score(client);
    assert_eq!(waiting.status, 503, "{}", waiting.text());
    assert!(!waiting.header("retry-after").is_empty(), "{:?}", waiting.headers);
    traffic(json!({})).expect(200);
    let gone = client.delete("endpoints/echo/deployments/blue");
    assert!([200, 202].contains(&gone.status), "{}", gone.text());
    let gone = client.delete("endpoints/echo");
    assert!([200, 202].contains(&gone.status), "{}", gone.text());
}

/// The rest of row R14: a model error, an answer that comes too late, and more than there is room for.
pub fn answers_that_a_model_does_not_give(client: &Client) {
    register(client, "moody", MOODY);
    client.put("endpoints/moody", &json!({})).expect(201);
    let deployment = json!({
        "model": "moody/versions/1", "cluster": LIVELY, "instance_count": 1, "resources": {"cpu_count": 1},
        "request_settings":
            {"request_timeout_seconds": 1, "max_concurrent_requests_per_instance": 1, "max_queue_wait_seconds": 0.2}
    });
    let path = "endpoints/moody/deployments/only";
    client.put(path, &deployment).expect(201);
    let made = client.await_version(path, PATIENCE, |made| made["provisioning_state"] != "Creating");
    assert_eq!((&made["provisioning_state"], &made["ready_count"]), (&json!("Succeeded"), &json!(1)), "{made}");
    client.put("endpoints/moody/traffic", &json!({"traffic": {"only": 100}})).expect(200);
    client
        .await_version("endpoints/moody", PATIENCE, |endpoint| endpoint["effective_traffic"] == json!({"only": 100.0}));

    let score =
        |wish: Value| -> Answer { client.request("POST", "/endpoints/default/moody/score").json(&wish).once().send() };
    let first = score(json!(0));
    assert_eq!((first.status, first.header("trialog-model-version")), (200, "moody/1"), "{}", first.text());
    let failed = score(json!("fail"));
    assert_eq!(failed.status, 424, "{}", failed.text());
    assert!(failed.text().contains("no such mood") && !failed.header("x-request-id").is_empty(), "{}", failed.text());
    let late = score(json!(3));
    assert_eq!(late.status, 408, "{}", late.text());
    // A worker that still sleeps is not asked; the replica is ready again in time.
    await_that(PATIENCE, || match score(json!(0)) {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("the replica does not come back after a late answer: {}", answer.text())),
    });
    let statuses = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| score(json!(0.7)))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a request does not panic")).collect::<Vec<_>>()
    });
    let count = |status: u16| statuses.iter().filter(|answer| answer.status == status).count();
    assert!(
        count(200) >= 1 && count(429) >= 4,
        "{:?}",
        statuses.iter().map(|answer| answer.status).collect::<Vec<_>>()
    );
    let busy = statuses.iter().find(|answer| answer.status == 429).expect("one was refused");
    assert!(!busy.header("retry-after").is_empty(), "{:?}", busy.headers);
    client.put("endpoints/moody/traffic", &json!({"traffic": {}})).expect(200);
    assert!([200, 202].contains(&client.delete("endpoints/moody").status));
}
