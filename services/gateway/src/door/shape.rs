//! Checks a message against the very OpenAPI document that describes it, so that the two cannot disagree: unknown
//! fields with what was probably meant, and values of the wrong type, all at once and with their places.

use documents::{Findings, Node, Place, Tree};
use serde_json::Value;
use vocabulary::{FieldError, Problem};

use crate::openapi;

/// Checks `tree` against the component `name`.
///
/// # Errors
/// All unknown fields (400) and all values of the wrong type (422).
pub fn check(tree: &Node, name: &str) -> Result<(), Problem> {
    find(tree, name).finish(Some(())).map(|_| ())
}

/// What is wrong with `tree` by the component `name`.
pub fn find(tree: &Node, name: &str) -> Findings {
    let findings = Findings::new();
    walk(tree, component(name), &Place::root(), &findings);
    findings
}

fn component(name: &str) -> &'static Value {
    &openapi::document()["components"]["schemas"][name]
}

fn walk<'a>(node: &'a Node, schema: &Value, at: &Place<'a>, findings: &Findings) {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return walk(node, component(name), at, findings);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let nullable = choices.iter().any(|choice| allows(choice, "null"));
        let real = choices.iter().find(|choice| !allows(choice, "null"));
        match real {
            Some(real) if !(nullable && node.value == Tree::Null) => walk(node, real, at, findings),
            _ => {}
        }
        return;
    }
    match &node.value {
        Tree::Map(entries) if allows(schema, "object") => map(entries, schema, at, findings),
        Tree::List(items) if allows(schema, "array") => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &schema["items"], &at.item(index), findings);
            }
        }
        value => {
            if let Some(received) = mismatch(value, schema) {
                findings.add_with(|| {
                    let message = format!("{}: expected {}, received {received}", at.path(), wanted(schema));
                    FieldError::new(at.pointer(), "WrongType", message)
                });
            }
        }
    }
}

/// What only the platform fills in a job: nobody is told that it is there.
const FILLED: [&str; 5] = ["service", "sweep_id", "trial_index", "contract_variables", "watched_metrics"];

fn map<'a>(entries: &'a [(String, Node)], schema: &Value, at: &Place<'a>, findings: &Findings) {
    let properties = &schema["properties"];
    let is_known = |key: &str| properties.get(key).is_some();
    for (key, value) in entries.iter().filter(|(key, _)| is_known(key)) {
        walk(value, &properties[key], &at.key(key), findings);
    }
    let others = entries.iter().filter(|(key, _)| !is_known(key));
    match (&schema["additionalProperties"], properties) {
        (any @ Value::Object(_), _) => others.for_each(|(key, value)| walk(value, any, &at.key(key), findings)),
        // An object without properties takes anything.
        (Value::Null | Value::Bool(true), Value::Null) => {}
        _ => {
            let Some(first) = others.clone().map(|(key, _)| key).min() else { return };
            let all = properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let names: Vec<&str> = all.filter(|name| !FILLED.contains(name)).collect();
            others.for_each(|(key, _)| findings.add_unknown(at, key, &names, &names, key == first));
        }
    }
}

fn allows(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(kinds) => kinds.iter().any(|one| one == kind),
        // No type: anything goes.
        _ => kind != "null",
    }
}

/// What was received, when it is not what the schema allows.
fn mismatch(value: &Tree, schema: &Value) -> Option<String> {
    let (fits, received) = match value {
        Tree::Null => (allows(schema, "null") || schema["type"].is_null(), "null".to_owned()),
        Tree::Bool(value) => (allows(schema, "boolean"), value.to_string()),
        Tree::Text(text) if allows(schema, "string") => return None,
        Tree::Text(text) => (false, format!("the text {:?}", shorten(text))),
        Tree::List(_) => (allows(schema, "array"), "a list".to_owned()),
        Tree::Map(_) => (allows(schema, "object"), "a map".to_owned()),
        Tree::Number(text) => {
            let whole = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-' || byte == b'+');
            (allows(schema, "number") || (allows(schema, "integer") && whole && in_range(text, schema)), shorten(text))
        }
    };
    (!fits).then_some(received)
}

/// Longest received text in a message, in characters: enough to recognise it.
const SHOWN: usize = 80;

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn in_range(text: &str, schema: &Value) -> bool {
    let Ok(value) = text.parse::<i128>() else { return false };
    let unsigned = schema["minimum"].as_f64() == Some(0.0);
    let (least, most) = match (schema["format"].as_str(), unsigned) {
        (Some("int32"), false) => (i128::from(i32::MIN), i128::from(i32::MAX)),
        (Some("int32"), true) => (0, i128::from(u32::MAX)),
        (_, true) => (0, i128::from(u64::MAX)),
        (_, false) => (i128::from(i64::MIN), i128::from(i64::MAX)),
    };
    (least..=most).contains(&value)
}

fn wanted(schema: &Value) -> String {
    let names: Vec<_> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let spoken = names.iter().map(|name| match *name {
        "object" => "a map",
        "array" => "a list",
        "string" => "a text",
        "integer" if schema["minimum"].as_f64() == Some(0.0) => "an integer from 0",
        "integer" => "an integer",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    });
    spoken.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use documents::Format;

    use super::*;

    fn refused(text: &str) -> Problem {
        check(&documents::read(text.as_bytes(), Format::Json).unwrap(), "CreateRunRequest").unwrap_err()
    }

    #[test]
    fn messages_are_checked_by_their_published_schema() {
        let good =
            r#"{"experiment": "e", "tags": {"a": "b"}, "job": {"command": ["x"], "resources": {"cpu_count": 1.5}}}"#;
        assert_eq!(check(&documents::read(good.as_bytes(), Format::Json).unwrap(), "CreateRunRequest"), Ok(()));

        let unknown = refused(r#"{"experimint": "e", "job": {"comand": []}}"#);
        assert_eq!((unknown.status, unknown.code.as_str()), (400, "UnknownField"));
        let pointers: Vec<_> = unknown.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/experimint", "/job/comand"]);
        assert!(unknown.errors[0].message.contains("did you mean experiment?"), "{unknown:?}");
        let in_job = &unknown.errors[1].message;
        assert!(in_job.contains("cluster, code_sha256, command, environment, environment_variables"), "{in_job}");

        let wrong = refused(r#"{"name": 5, "params": {"lr": 0.1}, "job": {"max_retries": 99999999999}}"#);
        assert_eq!((wrong.status, wrong.errors.len()), (422, 3));
        // The workspace is said by the path; a second one in the body could only contradict it.
        assert_eq!(refused(r#"{"workspace": "w2"}"#).code, "UnknownField");
    }

    /// A value of a schema, with one entry in each list and map.
    fn sample(schema: &Value) -> Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            return sample(component(name));
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            return choices.iter().find(|choice| !allows(choice, "null")).map(sample).unwrap_or_default();
        }
        if allows(schema, "object") && schema["type"] != Value::Null {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let mut entries: serde_json::Map<_, _> = properties.map(|(name, of)| (name.clone(), sample(of))).collect();
            if schema["additionalProperties"].is_object() {
                entries.insert("k".to_owned(), sample(&schema["additionalProperties"]));
            }
            return Value::Object(entries);
        }
        let kinds = ["array", "string", "integer", "number", "boolean"];
        match kinds.into_iter().find(|kind| allows(schema, kind)) {
            Some("array") => Value::Array(vec![sample(&schema["items"])]),
            Some("integer") => 1.into(),
            Some("number") => 1.5.into(),
            Some("boolean") => true.into(),
            _ => "x".into(),
        }
    }

    #[test]
    fn the_work_of_every_message_grows_with_its_length() {
        // The messages are those of the published document: a new route is tested as it comes.
        let schemas = openapi::document()["components"]["schemas"].as_object().unwrap();
        let messages = schemas.keys().filter(|name| name.ends_with("Request"));
        let mut count = 0;
        for name in messages {
            let good = sample(component(name));
            let text = good.to_string();
            assert_eq!(check(&documents::read(text.as_bytes(), Format::Json).unwrap(), name), Ok(()), "{name}: {text}");
            documents::hostile::assert_linear(&good, |text| {
                if let Ok(tree) = documents::read(text, Format::Json) {
                    let _ = check(&tree, name);
                }
            });
            count += 1;
        }
        assert!(count >= 15, "{count} messages");
    }
}
