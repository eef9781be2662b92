//! What bodies that are made to break readers cost.

use std::sync::Arc;

use documents::hostile::assert_linear;
use serde_json::{Value, json};

use super::super::{Forked, read_changes, read_fork, read_import, read_policy, read_what_if};
use super::*;

fn sweep() -> Value {
    json!({
        "name": "s", "experiment": "e", "description": "d", "tags": {"a": "b"}, "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "constraints": [{"metric": "size", "op": "<=", "value": 3}],
        "search_space": {
            "kind": {"type": "choice", "values": ["a", "b"], "weights": [1, 2]},
            "lr": {"type": "uniform", "min_value": 0.1, "max_value": 1, "when": {"kind": ["a"]}},
        },
        "sampling_algorithm": {"type": "random", "seed": 7},
        "early_termination": {"type": "bandit", "slack_amount": 0.1},
        "limits": {"max_total_trials": 40, "max_concurrent_trials": 4},
        "resume_from": {"sweeps": ["before"]}, "resume_trials": ["before/1", {"sweep": "before", "trial": 2}],
        "trial": {
            "command": ["python", "${{search_space.kind}}", ["--lr", "${{search_space.lr}}"]],
            "environment_variables": {"A": "${{inputs.data}}"}, "inputs": {"data": {"uri": "file:///d"}},
            "outputs": {"model": {}}, "resources": {"cpu_count": 1}, "prepare": ["pip", "install"],
        },
    })
}

fn known() -> SweepSpec {
    let text = document(&[]);
    read(&text, Format::Yaml, false).unwrap().0
}

#[test]
fn the_work_of_a_sweep_grows_with_its_length() {
    assert_linear(&sweep(), |text| drop(read(std::str::from_utf8(text).unwrap(), Format::Json, false)));
}

#[test]
fn the_work_of_names_and_references_grows_with_their_number() {
    // As many parameters as references to others: each once was compared with each.
    let steps = |count: usize| {
        let named = |start: &str, value: &dyn Fn(usize) -> Value| {
            Value::Object((0..count).map(|number| (format!("{start}{number}"), value(number))).collect())
        };
        let mut document = sweep();
        document["search_space"] = named("k", &|_| json!({"type": "randint", "upper": 3}));
        document["trial"]["inputs"] = named("k", &|_| json!({"uri": "file:///d"}));
        let reference = |number| json!(format!("${{{{search_space.z{number}}}}}"));
        document["trial"]["environment_variables"] = named("V", &reference);
        let text = document.to_string();
        documents::work::of(|| read(&text, Format::Json, false).unwrap_err()).0 as f64
    };
    assert!(steps(2000) < 2.2 * steps(1000), "{} then {}", steps(1000), steps(2000));
}

#[test]
fn the_work_of_changes_forks_and_questions_grows_with_their_length() {
    let (server, spec) = (ServerLimits::default(), known());
    let changes = json!({"limits": {"max_total_trials": 50}, "description": "d", "tags": {"a": "b"}});
    assert_linear(&changes, |text| drop(read_changes(text, Format::Json, &server, &spec)));
    let forked = Forked { spec: Arc::new(known()), seed: 1 };
    let fork = json!({
        "at": 3, "name": "f", "seed": 4, "limits": {"max_total_trials": 50},
        "early_termination": {"type": "asha", "max_resource": 9},
        "search_space": {"lr": {"type": "uniform", "min_value": 0.1, "max_value": 1}},
    });
    assert_linear(&fork, |text| drop(read_fork(text, Format::Json, &server, &forked)));
    let question = json!({"policies": [{"type": "bandit", "slack_amount": 0.1}], "workers": 3, "max_reports": 9});
    assert_linear(&question, |text| drop(read_what_if(text, Format::Json)));
    assert_linear(&question["policies"][0], |text| drop(read_policy(text, Format::Json)));
}

#[test]
fn the_work_of_a_table_grows_with_its_length() {
    let table = json!({
        "name": "t", "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {
            "kind": {"type": "choice", "values": ["a", "b"]},
            "lr": {"type": "uniform", "min_value": 0.1, "max_value": 1, "when": {"kind": ["a"]}},
        },
        "trials": [{"parameters": {"kind": "a", "lr": 0.5}, "state": "completed", "value": 1, "tags": {"a": "b"},
            "intermediate": [{"step": 1, "value": 2}]}],
    });
    assert_linear(&table, |text| drop(read_import(text, Format::Json, &ServerLimits::default())));
    // A table may have more values than a document, and not without end.
    let rows = |count: usize| {
        let points = vec!["1"; 100].join(",");
        let rows = vec![format!("[{points}]"); count].join(",");
        let text = format!("{{\"name\": \"t\", \"trials\": [{rows}]}}");
        read_import(text.as_bytes(), Format::Json, &ServerLimits::default()).unwrap_err().status
    };
    assert_eq!((rows(19_000), rows(20_000)), (422, 413));
}
