//! The OpenAPI document: made of the handlers, then completed with what is the same on every route. Bodies are checked
//! against it.

mod documents;
mod operation;
mod scoring;

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::routes;

/// Members of request messages that the path or the server fills: no part of the body.
const FILLED_BY_PATH: &[(&str, &[&str])] = &[
    ("PutWorkspaceRequest", &["name"]),
    ("SettleRequest", &["service"]),
    ("AdoptRequest", &["service"]),
    ("CreateTokenRequest", &["workspace"]),
    ("PreemptNodeRequest", &["workspace", "cluster", "node_id"]),
    ("PauseSweepRequest", &["workspace", "sweep"]),
    ("ExtendSweepRequest", &["workspace", "sweep"]),
    ("AskTrialsRequest", &["workspace", "sweep"]),
    ("TellTrialRequest", &["workspace", "sweep", "index"]),
    ("HeartbeatTrialRequest", &["workspace", "sweep", "index"]),
    ("CreateExperimentRequest", &["workspace"]),
    ("CreateRunRequest", &["workspace"]),
    ("UpdateRunRequest", &["workspace", "run_id"]),
    ("RecordMetricsRequest", &["workspace", "run_id"]),
    ("RecordArtifactsRequest", &["workspace", "run_id"]),
    ("UpdateModelRequest", &["workspace", "model"]),
    ("RegisterVersionRequest", &["workspace", "model", "resolved"]),
    ("UpdateVersionRequest", &["workspace", "model", "version"]),
    ("SetAliasRequest", &["workspace", "model", "alias"]),
    ("RemoveAliasRequest", &["workspace", "model", "alias"]),
    ("PutTrafficRequest", &["workspace", "endpoint"]),
];

/// What the document says of itself.
const DESCRIPTION: &str = "Sweeps, runs, models and endpoints. Every refusal is application/problem+json with a stable \
    `code`. Answers to writes carry `Trialog-Position`; reads take it as `Trialog-At-Least`.";

/// Doubles that may be one of the texts of non-finite values.
const LOOSE_NUMBERS: &[(&str, &str)] =
    &[("MetricPoint", "value"), ("MetricSummary", "last"), ("TellTrialRequest", "value")];

/// The OpenAPI document, ready to be written.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub struct Document(&'static Value);

impl Document {
    /// The text that is served and committed, without the newline at its end.
    ///
    /// # Errors
    /// Never, but for the signature that utoipa's own document has.
    pub fn to_pretty_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self.0)
    }
}

/// The OpenAPI document.
pub fn openapi() -> Document {
    Document(document())
}

/// The document as it is served and committed.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| openapi().to_pretty_json().expect("a JSON value can always be written") + "\n");
    &TEXT
}

/// The document, to look things up in.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut document = serde_json::to_value(routes::described()).expect("an OpenAPI document is JSON");
        complete(&mut document);
        document
    });
    &DOCUMENT
}

fn complete(document: &mut Value) {
    document["info"] = json!({
        "title": "Trialog",
        "version": "v1",
        "description": DESCRIPTION,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["components"]["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer", "description": "A user's token or a run's." },
        "basic": { "type": "http", "scheme": "basic", "description": "The token as the password; any user name." },
    });
    document["components"]["schemas"]["ProblemDocument"] = problem();
    document["components"]["responses"] = json!({ "Problem": {
        "description": "What is wrong (RFC 9457)",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/ProblemDocument" } } },
    }});
    for (message, members) in FILLED_BY_PATH {
        if let Some(properties) = document["components"]["schemas"][*message]["properties"].as_object_mut() {
            members.iter().for_each(|member| {
                properties.remove(*member);
            });
        }
    }
    let loose = json!({ "oneOf": [
        { "type": "number" }, { "type": "string", "enum": ["NaN", "Infinity", "-Infinity"] },
    ]});
    for (message, member) in LOOSE_NUMBERS {
        document["components"]["schemas"][*message]["properties"][*member] = loose.clone();
    }
    close(&mut document["components"]["schemas"]);
    let schemas = &mut document["components"]["schemas"];
    documents::add(schemas);
    // The form that people write: it is taken apart into the fields of the message.
    let written = "As a sweep has it; answers have python, requirements and requirements_file instead.";
    schemas["JobSpec"]["properties"]["environment"] = json!({ "type": "object", "description": written });
    scoring::add(&mut document["paths"]);
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation::complete(path, method, operation);
        }
    }
}

/// No member is required, for absent means the default; no other members are taken.
fn close(schemas: &mut Value) {
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        if let Some(schema) =
            schema.as_object_mut().filter(|schema| schema.contains_key("properties") && name != "ProblemDocument")
        {
            schema.remove("required");
            if name.ends_with("Request") {
                schema.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
    }
}

fn problem() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    let field = json!({
        "type": "object",
        "required": ["pointer", "code", "message"],
        "properties": {
            "pointer": text("RFC 6901 pointer to the value."),
            "code": text("Stable, PascalCase."),
            "message": text("What was received and what is allowed."),
            "hint": text("How to fix it."),
        },
    });
    let mut properties = Map::new();
    properties.insert("type".to_owned(), text("Where the problem is described."));
    properties.insert("title".to_owned(), text("The code in words."));
    properties.insert("status".to_owned(), json!({ "type": "integer" }));
    properties.insert("code".to_owned(), text("Stable, PascalCase."));
    properties.insert("detail".to_owned(), text("What was wrong, what was received, how to fix it."));
    properties.insert("errors".to_owned(), json!({ "type": "array", "items": field }));
    properties.insert("request_id".to_owned(), text("The id under which the server's log speaks of the request."));
    properties.insert("retry_after_seconds".to_owned(), json!({ "type": "integer" }));
    let required = ["type", "title", "status", "code", "detail", "errors", "request_id"];
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_document_is_the_one_that_is_served() {
        // Clients are generated from the committed file. TRIALOG_UPDATE=1 writes it anew.
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/openapi.json");
        if std::env::var_os("TRIALOG_UPDATE").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == text(),
            "proto/openapi.json is not what the handlers say: run this test with TRIALOG_UPDATE=1"
        );
    }

    #[test]
    fn every_query_that_a_handler_takes_is_published() {
        // utoipa publishes what is named beside the handler; a forgotten one works and nobody knows of it.
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/routes");
        let mut queries = 0;
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for handler in text.split("#[utoipa::path(").skip(1) {
                let (attribute, rest) = handler.split_once(")]\n").unwrap();
                let signature = rest.split("async fn").nth(1).unwrap_or_default();
                let signature = signature.split("-> ").next().unwrap_or_default();
                for query in signature.split("Query<").skip(1).filter_map(|rest| rest.split('>').next()) {
                    queries += 1;
                    assert!(attribute.contains(&format!("params({query})")), "{:?}: {query}", entry.path());
                }
            }
        }
        assert!(queries > 25, "{queries} queries");
    }

    #[test]
    fn every_message_in_the_table_exists_and_every_path_parameter_is_described() {
        let schemas = &document()["components"]["schemas"];
        for (message, _) in FILLED_BY_PATH {
            assert!(schemas[*message].is_object(), "{message}");
        }
        let mut names = std::collections::BTreeSet::new();
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        for (path, item) in document()["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{method} {path}: {name} is there twice");
                assert!(text(&operation["summary"]) || text(&operation["description"]), "{method} {path}");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    assert!(text(&parameter["description"]), "{path}: {parameter}");
                }
                let bodies = operation.get("requestBody").into_iter();
                let answers = operation["responses"].as_object().unwrap();
                for described in bodies.chain(answers.iter().filter(|(code, _)| *code != "default").map(|(_, of)| of)) {
                    assert!(text(&described["description"]), "{method} {path}: {described}");
                    for (_, content) in described["content"].as_object().into_iter().flatten() {
                        let schema = &content["schema"];
                        let object = schema["additionalProperties"] == true;
                        assert!(!schema.is_null() && (!object || text(&schema["description"])), "{method} {path}");
                    }
                }
            }
        }
    }
}
