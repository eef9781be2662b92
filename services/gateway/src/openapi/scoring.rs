//! Scoring, which has a server part of its own: described here, since one document describes the whole surface.

use serde_json::{Value, json};

/// The paths of an endpoint.
pub(super) fn add(paths: &mut Value) {
    paths["/endpoints/{workspace}/{endpoint}/score"] = json!({ "post": scored(
        "score",
        "Hands the body to the model as it is.",
        "Whatever the model takes; for score.py with `run(raw)` any JSON.",
        json!({ "description": "Any JSON value." }),
        json!({ "description": "What the model answers." }),
    )});
    let table = json!({ "type": "object", "properties": {
        "columns": { "type": "array", "items": { "type": "string" } },
        "data": { "type": "array", "items": { "type": "array", "items": {} } },
    }});
    let invocations = json!({ "type": "object", "description": "One of the members.", "properties": {
        "inputs": { "description": "The inputs of the model: a list of rows, or a map of columns." },
        "instances": { "description": "A list of rows." },
        "dataframe_split": table,
    }});
    let predictions = json!({ "type": "object", "required": ["predictions"], "properties": {
        "predictions": { "description": "What the model answers, a value a row." },
    }});
    paths["/endpoints/{workspace}/{endpoint}/invocations"] = json!({ "post": scored(
        "invoke",
        "Asks the model in the form that MLflow's servers take.",
        "The rows, in one of the forms of MLflow.",
        invocations,
        predictions,
    )});
    for path in ["/endpoints/{workspace}/{endpoint}/health", "/endpoints/{workspace}/{endpoint}"] {
        let name = if path.ends_with("health") { "endpoint_health" } else { "endpoint_root" };
        paths[path] = json!({ "get": {
            "tags": ["scoring"],
            "operationId": name,
            "summary": "Answers `Healthy` while a deployment with traffic is ready.",
            "responses": { "200": {
                "description": "It answers requests.",
                "content": { "text/plain": { "schema": { "type": "string" } } },
            }},
        }});
    }
}

fn scored(name: &str, summary: &str, body: &str, takes: Value, answers: Value) -> Value {
    let header = |name: &str, text: &str| {
        json!({ "name": name, "in": "header", "required": false, "description": text,
            "schema": { "type": "string" } })
    };
    let answered = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
    json!({
        "tags": ["scoring"],
        "operationId": name,
        "summary": summary,
        "parameters": [
            header("trialog-deployment", "The deployment that is to answer, whatever the traffic says."),
            header("trialog-idempotent", "`true` or `false`: whether the request may be tried at another replica."),
            header("trialog-non-finite", "`text`: NaN and infinities are answered as texts instead of refused."),
            header("x-client-request-id", "The caller's own id of the request; it comes back."),
        ],
        "requestBody": {
            "description": body,
            "required": true,
            "content": { "application/json": { "schema": takes } },
        },
        "responses": {
            "200": {
                "description": "The model's answer.",
                "headers": {
                    "trialog-endpoint": answered("The endpoint."),
                    "trialog-deployment": answered("The deployment that answered."),
                    "trialog-model-version": answered("The version that answered."),
                    "x-request-id": answered("The id under which lineage knows the request."),
                    "x-client-request-id": answered("The caller's own id."),
                },
                "content": { "application/json": { "schema": answers } },
            },
            "424": {
                "description": "The model failed: what it raised, and where.",
                "content": { "application/problem+json": {
                    "schema": { "$ref": "#/components/schemas/ProblemDocument" },
                }},
            },
        },
    })
}
