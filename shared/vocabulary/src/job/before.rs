//! Jobs and their ends as builds wrote them that stored protobuf messages: what was absent was an empty text or a zero
//! then, and any field could be missing. Read only; what is in today's form already stays what it is.

use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// Brings a stored job into today's form.
///
/// # Errors
/// When it is no object.
pub fn upcast_spec(spec: &mut Value) -> Result<(), String> {
    let fields = fields(spec, "spec")?;
    let absent = json!({
        "cluster": "", "command": [], "environment_variables": {}, "inputs": [], "outputs": [], "resources": {},
        "checkpoint": false, "prepare": [], "max_retries": 0, "priority": 0, "experiment": "",
        "contract_variables": {}, "watched_metrics": [],
    });
    fill(fields, absent);
    let texts = ["code_sha256", "python", "sweep_id", "primary_metric", "goal", "seed", "checkpoint_from"];
    texts.iter().for_each(|name| forget(fields, name, |value| value == ""));
    // What was no way to go was none.
    forget(fields, "goal", |value| value != "minimize" && value != "maximize");
    for name in ["timeout_seconds", "grace_seconds"] {
        forget(fields, name, |value| value.as_f64().is_some_and(|seconds| seconds <= 0.0));
    }
    // Agents read them as an object, and what was none as nothing.
    forget(fields, "parameters", |value| !value.is_object());
    if fields.get("max_retries").and_then(Value::as_i64).is_some_and(|retries| retries < 0) {
        fields.insert("max_retries".to_owned(), json!(0));
    }
    if let Some(Value::Object(resources)) = fields.get_mut("resources") {
        fill(resources, json!({ "cpu_count": 0.0, "gpu_count": 0, "memory_bytes": 0, "node_count": 0 }));
    }
    for input in fields.get_mut("inputs").and_then(Value::as_array_mut).into_iter().flatten() {
        let input = self::fields(input, "input")?;
        fill(input, json!({ "id": "", "uri": "" }));
        // Agents copied what said so, and mounted everything else.
        if input.get("mode").is_none_or(|mode| mode != "download") {
            input.insert("mode".to_owned(), json!("mount"));
        }
    }
    forget(fields, "service", Value::is_null);
    if let Some(service) = fields.get_mut("service") {
        let service = self::fields(service, "service")?;
        fill(
            service,
            json!({
                "workspace": "", "endpoint": "", "deployment": "", "revision": 0, "model": "", "model_version": 0,
                "files": [], "start_timeout_seconds": 0.0,
            }),
        );
    }
    Ok(())
}

/// Brings a stored end into today's form.
///
/// # Errors
/// When it is no object.
pub fn upcast_end(end: &mut Value) -> Result<(), String> {
    const OUTCOMES: [&str; 5] = ["completed", "failed", "canceled", "preempted", "lost"];
    const PHASES: [&str; 3] = ["prepare", "run", "finalize"];
    let fields = fields(end, "end")?;
    fill(fields, json!({ "reason": "", "stderr_tail": "", "decision": "" }));
    // What was none of the words was a failure to everybody who read it.
    if !is_one_of(fields.get("outcome"), &OUTCOMES) {
        fields.insert("outcome".to_owned(), json!("failed"));
    }
    forget(fields, "phase", |phase| !is_one_of(Some(phase), &PHASES));
    forget(fields, "by", |by| by == "");
    Ok(())
}

fn is_one_of(value: Option<&Value>, words: &[&str]) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| words.contains(&text))
}

fn fields<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Fields, String> {
    value.as_object_mut().ok_or_else(|| format!("{name}: an object is expected"))
}

/// Puts in what is missing or null.
fn fill(fields: &mut Fields, defaults: Value) {
    let Value::Object(defaults) = defaults else { return };
    for (name, default) in defaults {
        let place = fields.entry(name).or_insert(Value::Null);
        if place.is_null() {
            *place = default;
        }
    }
}

fn forget(fields: &mut Fields, name: &str, is_nothing: impl Fn(&Value) -> bool) {
    if fields.get(name).is_some_and(is_nothing) {
        fields.remove(name);
    }
}
