//! Two workspaces: whatever one of them names of the other is not there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trialog_testkit::{Answer, Client};

use super::access::{await_status, token};
use super::{STILL, put_cluster, sound};

/// The workspace of the stranger.
const OWN: &str = "tenant";
/// What stands in an object of theirs.
const SECRET: &str = "the weights of another workspace";

/// What a route may do for a stranger although the names in its path are theirs: make something of that name.
const MAKES: [&str; 3] = ["put_endpoint", "put_cluster", "put_workspace"];

/// Texts of request messages that name a thing which must be the caller's own, and how it is told that it is not there.
const REFERENCES: [(&str, &str, u16, &str); 6] = [
    ("CreateRunRequest", "parent_run_id", 404, "NotFound"),
    ("CreateRunRequest", "job.checkpoint_from", 404, "NotFound"),
    ("CreateRunRequest", "job.code_sha256", 404, "NotFound"),
    ("CreateRunRequest", "job.service.files.sha256", 422, "ReadOnly"),
    ("RecordArtifactsRequest", "artifacts.sha256", 422, "ObjectMissing"),
    ("RegisterVersionRequest", "run_id", 404, "NotFound"),
];

/// Texts that name nothing, or something of the caller's workspace by its name: a stranger's own. Members that only the
/// platform may fill are refused as such.
const NO_REFERENCES: [&str; 42] = [
    // Of the installation, and for its administrators only.
    "source",
    "consumer",
    "worker",
    "name",
    "experiment",
    "job.cluster",
    "job.command",
    "job.experiment",
    "job.goal",
    "job.inputs.id",
    "job.inputs.mode",
    "job.inputs.uri",
    "job.keep_best",
    "job.outputs",
    "job.prepare",
    "job.primary_metric",
    "job.python",
    "job.requirements",
    "job.requirements_file",
    "job.seed",
    "job.service.deployment",
    "job.service.endpoint",
    "job.service.files.path",
    "job.service.model",
    "job.service.workspace",
    "job.sweep_id",
    "job.watched_metrics",
    "endpoint",
    "scope",
    "expires_at",
    "region",
    "mode",
    "reason",
    "artifacts.path",
    "metrics.name",
    "metrics.value",
    "value",
    "writer",
    "artifact_path",
    "description",
    "remove_tags",
    "state",
];

/// What there is in the other workspace.
struct Theirs {
    run: String,
    sweep: String,
    hash: String,
    token: String,
}

impl Theirs {
    fn make(client: &Client) -> Self {
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        let run = text(&client.post("runs", &json!({"name": "theirs"})).expect(201)["run_id"]);
        let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
        let hash = text(&put.body("application/octet-stream", SECRET).send().expect(201)["sha256"]);
        client.post(&format!("runs/{run}/metrics"), &json!({"metrics": [{"name": "a", "value": 1}]})).expect(200);
        let version = json!({"run_id": run, "artifact_path": "outputs/model", "force": true});
        client.post("models/theirs/versions", &version).expect(201);
        client.put("models/theirs/aliases/best", &json!({"version": 1})).expect(201);
        client.put("endpoints/theirs", &json!({})).expect(201);
        let deployment = json!({"model": "theirs@best", "cluster": STILL});
        client.put("endpoints/theirs/deployments/theirs", &deployment).expect(201);
        let mut external = sound("theirs");
        external.as_object_mut().expect("a map").retain(|name, _| name != "cluster" && name != "trial");
        external["mode"] = json!("external");
        let sweep = text(&client.post("sweeps", &external).expect(201)["id"]);
        client.post(&format!("sweeps/{sweep}/trials:ask"), &json!({"count": 1})).expect(200);
        let (token, _) = token(client, "theirs", "reader");
        Self { run, sweep, hash, token }
    }

    /// A path of the document with the things of theirs in it.
    fn path(&self, template: &str, workspace: &str) -> String {
        let names: BTreeMap<&str, &str> = BTreeMap::from([
            ("workspace", workspace),
            ("run", &self.run),
            ("sweep", &self.sweep),
            ("hash", &self.hash),
            ("token", &self.token),
            ("id", &self.run),
            ("index", "0"),
            ("cluster", STILL),
            ("node", "node_00000000000000000000000000"),
            ("endpoint", "theirs"),
            ("deployment", "theirs"),
            ("model", "theirs"),
            ("version", "1"),
            ("alias", "best"),
            ("experiment", "theirs"),
            ("name", "a"),
            ("path", "outputs/model/score.py"),
        ]);
        names.iter().fold(template.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
    }

    /// Whether an answer tells something of theirs. What was asked may be said again.
    fn is_told_by(&self, answer: &Answer) -> bool {
        let text = answer.text();
        text.contains(SECRET)
            || answer.status < 300 && [&self.run, &self.sweep, &self.hash].iter().any(|id| text.contains(*id))
    }
}

/// All texts of a schema, by their paths.
fn texts(document: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
    let reference = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    if let Some(name) = reference {
        return texts(document, &document["components"]["schemas"][name], at, found);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        texts(document, choice, at, found);
    }
    if !schema["items"].is_null() {
        texts(document, &schema["items"], at, found);
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        texts(document, member, &at, found);
    }
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if kinds.contains(&json!("string")) {
        found.push(at.to_owned());
    }
}

/// A message in which one member names something of theirs, sent by the stranger.
fn referring(theirs: &Theirs, stranger: &Client, message: &str, member: &str) -> Answer {
    let job = |field: &str, value: Value| {
        let mut job = json!({"cluster": "own", "command": ["true"]});
        job[field] = value;
        stranger.post("runs", &json!({"job": job}))
    };
    match (message, member) {
        ("CreateRunRequest", "parent_run_id") => stranger.post("runs", &json!({"parent_run_id": theirs.run})),
        ("CreateRunRequest", "job.checkpoint_from") => job("checkpoint_from", json!(theirs.run)),
        ("CreateRunRequest", "job.code_sha256") => job("code_sha256", json!(theirs.hash)),
        ("CreateRunRequest", _) => job("service", json!({"files": [{"path": "a", "sha256": theirs.hash}]})),
        ("RecordArtifactsRequest", _) => {
            let run = stranger.post("runs", &json!({})).expect(201)["run_id"].clone();
            let artifacts = json!({"artifacts": [{"path": "a", "sha256": theirs.hash}]});
            stranger.post(&format!("runs/{}/artifacts", run.as_str().expect("an id")), &artifacts)
        }
        _ => stranger.post("models/own/versions", &json!({"run_id": theirs.run, "artifact_path": "outputs/model"})),
    }
}

/// Every route of the published document, and every text of its messages: a new one is walked, or has to be sorted
/// here.
pub fn nothing_of_another_workspace_is_there(client: &Client) {
    let theirs = Theirs::make(client);
    client.put(&format!("/api/v1/workspaces/{OWN}"), &json!({})).expect(201);
    let own = client.in_workspace(OWN);
    await_status(&own, "sweeps", 200);
    let (_, stranger) = token(&own, "stranger", "owner");
    await_status(&stranger, "sweeps", 200);
    let document = client.get("/openapi.json").expect(200);
    let mut faults = routes(&document, &theirs, &stranger);
    put_cluster(&own, "own", "D2", 1, 86_000.0);
    faults.extend(messages(&document, &theirs, &stranger));
    faults.extend(documents(&theirs, &stranger));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn routes(document: &Value, theirs: &Theirs, stranger: &Client) -> Vec<String> {
    let mut faults = Vec::new();
    let mut walked = 0;
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(template, item)| {
        item.as_object().into_iter().flatten().map(move |(method, operation)| (template, method, operation))
    });
    let mut operations: Vec<_> = operations.filter(|(template, ..)| template.contains("{workspace}")).collect();
    // What makes things comes last: before, there must be nothing of these names in the stranger's own workspace.
    operations.sort_by_key(|(.., operation)| MAKES.iter().any(|made| operation["operationId"] == **made));
    for (template, method, operation) in operations {
        let ask = |workspace: &str| {
            let path = theirs.path(template, workspace);
            assert!(!path.contains('{'), "{path}: say in this test what the new parameter is");
            let method = method.to_uppercase();
            let request = stranger.request(&method, &path);
            if ["GET", "HEAD"].contains(&method.as_str()) { request.send() } else { request.json(&json!({})).send() }
        };
        let there = ask("default");
        if there.status != 404 {
            faults.push(format!("{method} {template} in their workspace: {} {}", there.status, there.text()));
        }
        walked += 1;
        let names_something = template.matches('{').count() > 1;
        if !names_something && template.ends_with("/events") {
            continue; // a stream that does not end
        }
        let here = ask(OWN);
        let name = operation["operationId"].as_str().unwrap_or_default();
        let reads = ["get", "head", "delete"].contains(&method.as_str());
        let bad = match () {
            () if theirs.is_told_by(&here) => true,
            () if !names_something || MAKES.contains(&name) => here.status >= 500,
            () if reads => here.status != 404,
            () => !(400..500).contains(&here.status),
        };
        if bad {
            faults.push(format!("{method} {template} in its own: {} {}", here.status, here.text()));
        }
    }
    assert!(walked > 60, "{walked} routes");
    faults
}

fn messages(document: &Value, theirs: &Theirs, stranger: &Client) -> Vec<String> {
    let mut faults = Vec::new();
    for (message, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        if !message.ends_with("Request") {
            continue;
        }
        let mut members = Vec::new();
        texts(document, schema, "", &mut members);
        for member in members {
            let known = REFERENCES.iter().find(|(name, text, ..)| name == message && *text == member);
            let Some((_, _, status, code)) = known else {
                if !NO_REFERENCES.contains(&member.as_str()) {
                    faults.push(format!("{message}.{member}: say in this test whether it names something"));
                }
                continue;
            };
            let answer = referring(theirs, stranger, message, &member);
            if (answer.status, answer.code().as_str()) != (*status, *code) {
                faults.push(format!("{message}.{member}: {} {}", answer.status, answer.text()));
            }
        }
    }
    faults
}

/// What documents refer to, which are not described by a schema.
fn documents(theirs: &Theirs, stranger: &Client) -> Vec<String> {
    let sweep = |change: &dyn Fn(&mut Value)| {
        let mut document = sound("strange");
        document["cluster"] = json!("own");
        change(&mut document);
        stranger.post("sweeps", &document)
    };
    let external = |document: &mut Value| {
        document.as_object_mut().expect("a map").retain(|name, _| name != "cluster" && name != "trial");
        document["mode"] = json!("external");
    };
    let resumed = |name: &str| {
        sweep(&|document| {
            external(document);
            document["resume_from"] = json!([name]);
        })
    };
    stranger.put("endpoints/own", &json!({})).expect(201);
    let deployed = |model: &str, cluster: &str| {
        stranger.put("endpoints/own/deployments/own", &json!({"model": model, "cluster": cluster}))
    };
    let asked = [
        ("cluster of a sweep", sweep(&|document| document["cluster"] = json!(STILL))),
        ("code of a sweep", sweep(&|document| document["trial"]["code"] = json!(format!("sha256:{}", theirs.hash)))),
        ("resume_from by id", resumed(&theirs.sweep)),
        ("resume_from by name", resumed("theirs")),
        ("model of a deployment", deployed("theirs/versions/1", "own")),
        ("alias of a deployment", deployed("theirs@best", "own")),
        ("parent of a list", stranger.get(&format!("runs?parent={}", theirs.run))),
    ];
    let faults = asked.iter().filter(|(_, answer)| answer.status != 404 || theirs.is_told_by(answer));
    faults.map(|(what, answer)| format!("{what}: {} {}", answer.status, answer.text())).collect()
}
