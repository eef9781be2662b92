//! Stories of registered models.

use serde_json::{Value, json};
use trialog_testkit::Client;

fn run_with_model(client: &Client, name: &str, end: &str) -> String {
    let run = client.post("runs", &json!({"name": name})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    put.body("application/octet-stream", "def init(): pass\ndef run(raw): return raw\n").send().expect(201);
    client.patch(&format!("runs/{run}"), &json!({"state": end})).expect(200);
    run
}

/// Row R11, versions without a gap, aliases with their history, properties that never change.
pub fn registering_models(client: &Client) {
    let (good, failed) = (run_with_model(client, "good", "Completed"), run_with_model(client, "bad", "Failed"));
    let register = |body: Value| client.post("models/digits/versions", &body);
    let missing = register(json!({"run_id": good, "artifact_path": "outputs/nothing"}));
    assert_eq!(missing.errors(), [("ArtifactMissing".to_owned(), "/artifact_path".to_owned())], "{}", missing.text());
    missing.refused(422, "ArtifactMissing");
    let refused = register(json!({"run_id": failed, "artifact_path": "outputs/model"}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    let unknown = json!({"run_id": "run_00000000000000000000000000", "artifact_path": "x"});
    register(unknown).refused(404, "NotFound");
    let first =
        register(json!({"run_id": good, "artifact_path": "outputs/model", "properties": {"a": "1"}})).expect(201);
    let second = register(json!({"run_id": failed, "artifact_path": "outputs/model", "force": true})).expect(201);
    assert_eq!((&first["version"], &second["version"]), (&json!(1), &json!(2)));
    assert_eq!(first["content_sha256"], second["content_sha256"]);
    client.patch("models/digits/versions/1", &json!({"properties": {"b": "2"}})).expect(200);
    client.patch("models/digits/versions/1", &json!({"properties": {"a": "2"}})).refused(409, "PropertyFixed");
    for (version, reason, status) in [(1, "first", 201), (2, "better", 200)] {
        client.put("models/digits/aliases/champion", &json!({"version": version, "reason": reason})).expect(status);
    }
    client.put("models/digits/aliases/champion", &json!({"version": 9})).refused(404, "NotFound");
    let history = client.get("models/digits/aliases").expect(200);
    let changes = history["changes"].as_array().expect("changes");
    let mut moves: Vec<_> =
        changes.iter().map(|change| (change["version"].as_i64(), change["reason"].as_str())).collect();
    moves.sort();
    assert_eq!(moves, [(Some(1), Some("first")), (Some(2), Some("better"))], "{history}");
    assert!(changes.iter().all(|change| change["changed_by"].as_str().is_some_and(|who| !who.is_empty())), "{history}");
    assert_eq!(client.get("models/digits/versions/@champion").expect(200)["version"], json!(2));
    client.patch("models/digits/versions/1", &json!({"is_archived": true})).expect(200);
    let versions = |view: &str| client.list(&format!("models/digits/versions?view={view}"), "versions").len();
    assert_eq!((versions("active"), versions("archived"), versions("all")), (1, 1, 2));
}
