//! What is the same on every route: parameters of paths, headers, the form of a refusal, and words where the handlers
//! have none.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::documents;

/// What the parameters of paths are.
pub(super) const PATH_PARAMETERS: &[(&str, &str)] = &[
    ("workspace", "The workspace's name."),
    ("token", "The token's public id."),
    ("cluster", "The cluster's name."),
    ("node", "The node's id."),
    ("sweep", "The sweep's id or name."),
    ("index", "The trial's index, from 0."),
    ("experiment", "The experiment's id or name."),
    ("run", "The run's id, `run_…` or 32 hexadecimal digits."),
    ("name", "The metric's name; it may hold slashes."),
    ("path", "The artifact's path; it may hold slashes."),
    ("model", "The model's name."),
    ("version", "The version's number, `latest` or `@alias`."),
    ("alias", "The alias."),
    ("endpoint", "The endpoint's name."),
    ("deployment", "The deployment's name."),
    ("id", "`req_…`, a run's id, `SWEEP/INDEX`, `MODEL/versions/N` or `MODEL@ALIAS`."),
    ("hash", "The SHA-256 of the content, 64 hexadecimal digits."),
    ("document", "`sweep`, `run`, `cluster`, `endpoint` or `deployment`."),
];

/// Operations whose body may be left out.
const OPTIONAL_BODIES: &[&str] =
    &["put_workspace", "preempt_node", "pause_sweep", "put_endpoint", "ask_trials", "remove_alias"];

/// What the bodies are that no message describes.
const BODIES: &[(&str, &str)] = &[
    ("submit_sweep", "The sweep; see /docs/reference."),
    ("update_sweep", "What changes: `limits`, `description`, `tags`."),
    (
        "fork_sweep",
        "`at`, and what is other than in the sweep: `name`, `seed`, `limits`, `early_termination`, \
        `search_space`.",
    ),
    ("what_if", "`policies`, a list, and by which clock: `workers`, `max_reports`; or nothing for the recorded order."),
    (
        "import_sweep",
        "The sweep's `name`, `objective` and `search_space`, and `trials` with their parameters and values.",
    ),
    ("put_cluster", "The cluster; see /docs/reference."),
    ("update_cluster", "The `scale`; all else of a cluster is fixed."),
    ("put_endpoint", "The endpoint; see /docs/reference."),
    ("put_deployment", "The deployment; see /docs/reference."),
    ("create_run", "The run; see /docs/reference."),
    ("put_object", "The content itself."),
    ("put_artifact", "The content itself."),
    ("append_logs", "The next bytes of the log."),
];

/// Answers that are no message: an object whose members the summary names.
const OBJECTS: &[(&str, &str)] = &[
    ("get_lineage", "The chain from an answer back to what it was made of; a member for each kind of thing."),
    ("explain_run", "`run_id`, `state`, `reason`, `placements`, `attempts`, `end`."),
    ("explain_trial", "`trial`, `reason`, `reported`, `proposal`, `decisions`, `placements`, `attempts`."),
    ("verify_sweep", "`checked`, `differences`, `unverifiable`, `log`."),
    ("what_if", "For each policy: what it would have stopped, saved and lost."),
    ("openapi_document", "An OpenAPI document."),
    ("document_schema", "A JSON Schema."),
];

/// The paths that need no token.
const OPEN: &[&str] = &["/health", "/readyz", "/version", "/metrics", "/openapi.json"];

/// Whether a path needs no token.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path) || path.starts_with("/docs") || path.starts_with("/schemas/")
}

/// Completes an operation.
pub(super) fn complete(path: &str, method: &str, operation: &mut Value) {
    if method == "head" {
        complete_head(operation);
    }
    documents::complete(operation);
    complete_body(operation);
    complete_answers(path, method, operation);
    let mut parameters: Vec<Value> = operation["parameters"].as_array().cloned().unwrap_or_default();
    for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
        let described =
            PATH_PARAMETERS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text).unwrap_or_default();
        parameters.push(parameter("path", name, described));
    }
    if !is_open(path) {
        operation["security"] = json!([{ "bearer": [] }, { "basic": [] }]);
        if path.starts_with("/api/") {
            parameters.extend(headers(method, &parameters, operation));
        }
        operation["responses"]["default"] = json!({ "$ref": "#/components/responses/Problem" });
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
}

/// The same handler answers GET and HEAD; each operation has an id of its own.
fn complete_head(operation: &mut Value) {
    let name = operation["operationId"].as_str().unwrap_or_default().replace("get_", "head_");
    operation["operationId"] = name.into();
    for (_, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        response.as_object_mut().into_iter().for_each(|response| drop(response.remove("content")));
    }
}

fn complete_body(operation: &mut Value) {
    let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
    if OPTIONAL_BODIES.contains(&name.as_str()) {
        operation["requestBody"]["required"] = Value::Bool(false);
    }
    let Some(body) = operation.get_mut("requestBody") else { return };
    let known = BODIES.iter().find(|(operation, _)| *operation == name).map(|(_, text)| *text);
    if let Some(text) = known.or((!body["description"].is_string()).then_some("The message.")) {
        body["description"] = text.into();
    }
    let untyped = json!({ "type": "object", "description": known.unwrap_or_default(), "additionalProperties": true });
    of_contents(body, &untyped);
}

/// What the headers of an answer say.
fn answer_headers(path: &str, method: &str, status: &str, response: &mut Value) {
    let is_read = ["get", "head"].contains(&method);
    if !is_read && path.starts_with("/api/") && status.starts_with('2') {
        response["headers"]["Trialog-Position"] = header("The position that was committed, e.g. `sweeps=1234`.");
    }
    let message = response.pointer("/content/application~1json/schema/$ref").and_then(Value::as_str);
    let message = message.and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    if VERSIONED.contains(&message.as_str()) {
        response["headers"]["ETag"] = header("The version, e.g. `\"v3\"`, for If-Match and If-None-Match.");
    }
    if status == "206" {
        response["headers"]["Content-Range"] = header("Which part it is, e.g. `bytes 0-99/1000`.");
    }
}

/// Messages that have a version.
const VERSIONED: &[&str] =
    &["Cluster", "Endpoint", "Deployment", "Model", "Run", "Sweep", "SubmitSweepReply", "Workspace"];

fn complete_answers(path: &str, method: &str, operation: &mut Value) {
    let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
    let described = OBJECTS.iter().find(|(operation, _)| *operation == name).map(|(_, text)| *text);
    let untyped =
        json!({ "type": "object", "description": described.unwrap_or_default(), "additionalProperties": true });
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        // A description is required, even where there is nothing to say.
        if response["description"].as_str().is_none_or(str::is_empty) {
            let reason = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
            response["description"] = reason.unwrap_or_default().into();
        }
        answer_headers(path, method, status, response);
        of_contents(response, &untyped);
    }
}

/// Bytes are bytes, and what has no schema has at least that of an object.
fn of_contents(of: &mut Value, untyped: &Value) {
    let contents = of.get_mut("content").and_then(Value::as_object_mut);
    for (kind, content) in contents.into_iter().flatten() {
        if kind == "application/octet-stream" {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        } else if content["schema"].as_object().is_none_or(serde_json::Map::is_empty) {
            content["schema"] = untyped.clone();
        }
    }
}

fn headers(method: &str, parameters: &[Value], operation: &Value) -> Vec<Value> {
    let mut headers: Vec<(&str, &str)> = match method {
        "get" | "head" => vec![("Trialog-At-Least", "Answer only once this position is reached, e.g. `sweeps=1234`.")],
        _ => vec![
            (
                "Idempotency-Key",
                "A repeat with the same key gets the first answer again; with another body it is refused.",
            ),
            ("If-Match", "Only change this version, e.g. `\"v3\"`; else 412."),
        ],
    };
    let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    if has("after_version") {
        headers.push(("If-None-Match", "The version that the caller has, e.g. `\"v3\"`: 304 while it is still that."));
    }
    if has("from") && !operation["responses"]["200"]["content"]["text/event-stream"].is_null() {
        headers.push(("Last-Event-ID", "The position of the last event that was received, as `from`."));
    }
    if !operation["responses"]["206"].is_null() {
        headers.push(("Range", "The part that is wanted, e.g. `bytes=0-99`."));
    }
    headers.iter().map(|(name, text)| parameter("header", name, text)).collect()
}

fn header(description: &str) -> Value {
    json!({ "description": description, "schema": { "type": "string" } })
}

fn parameter(place: &str, name: &str, description: &str) -> Value {
    let (required, schema) = (place == "path", json!({ "type": "string" }));
    json!({ "name": name, "in": place, "description": description, "required": required, "schema": schema })
}
