//! Stories of endpoints: no deployment here ever gets a node.

use serde_json::{Value, json};
use trialog_testkit::Client;

use super::STILL;

/// Rows R12, R13 and the first part of R14.
pub fn traffic_of_an_endpoint(client: &Client) {
    let run = client.post("runs", &json!({"name": "served"})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    put.body("application/octet-stream", "def init(): pass\ndef run(raw): return raw\n").send().expect(201);
    client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    client.post("models/echo/versions", &json!({"run_id": run, "artifact_path": "outputs/model"})).expect(201);

    client.put("endpoints/echo", &json!({"description": "says it again"})).expect(200);
    let score = |token: &Client| token.request("POST", "/endpoints/default/echo/score").json(&json!([1])).once().send();
    // Nothing carries weight.
    score(client).refused(404, "NoTraffic");
    score(&client.with_token("")).refused(401, "Unauthenticated");
    let deployment = json!({"model": "echo/versions/1", "cluster": STILL, "instance_count": 1});
    for name in ["blue", "green"] {
        client.put(&format!("endpoints/echo/deployments/{name}"), &deployment).expect(200);
    }
    let unknown = json!({"model": "nothing/versions/1", "cluster": STILL});
    assert_eq!(
        client.put("endpoints/echo/deployments/red", &unknown).errors(),
        [("UnknownModel".into(), "/model".into())]
    );
    let unknown = json!({"model": "echo/versions/1", "cluster": "nc7"});
    let answer = client.put("endpoints/echo/deployments/red", &unknown);
    assert_eq!(answer.errors(), [("UnknownCluster".into(), "/cluster".into())], "{}", answer.text());

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
