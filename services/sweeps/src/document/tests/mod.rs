//! The sweep document against the table of bad input: one line a rule, with the exact errors and warnings.

mod hostile;
mod reading;
mod rows_compat;
mod rows_native;
mod rows_space;
mod rows_sweep;
mod rows_trial;
mod tables;

use documents::{Format, Node, Tree};
use vocabulary::{Problem, Warning};

use super::{ClusterFacts, ServerLimits, SweepSpec, read_sweep};

/// A sound document, section by section.
const BASE: [(&str, &str); 6] = [
    ("cluster", "spot"),
    ("objective", "{goal: maximize, primary_metric: val_acc}"),
    ("search_space", "{lr: {type: uniform, min_value: 0.1, max_value: 1}}"),
    ("sampling_algorithm", "random"),
    ("limits", "{max_total_trials: 40, max_concurrent_trials: 4}"),
    ("trial", "{command: [python, /train.py]}"),
];

/// Code and pointer of what is found.
type Found = [(&'static str, &'static str)];

/// What a document leads to.
enum Expect {
    /// Exactly these errors with this status.
    Refused(u16, &'static Found),
    /// Accepted, with exactly these warnings; all of them refuse it when it is read strictly.
    Warned(&'static Found),
    /// Accepted without a warning.
    Accepted,
}

/// The number of the rule in the table, the sections that differ from the base (empty: left out), and the answer.
struct Case(u32, &'static [(&'static str, &'static str)], Expect);

fn document(changes: &[(&str, &str)]) -> String {
    let mut sections: Vec<(&str, &str)> = BASE.to_vec();
    for (name, text) in changes {
        sections.retain(|(known, _)| known != name);
        if !text.is_empty() {
            sections.push((name, text));
        }
    }
    sections.iter().map(|(name, text)| format!("{name}: {text}\n")).collect()
}

fn cluster() -> ClusterFacts {
    ClusterFacts { max_nodes: 4, node_vcpus: 1, node_memory_bytes: 1 << 30, node_gpus: 0 }
}

fn read(text: &str, format: Format, strict: bool) -> Result<(SweepSpec, Vec<Warning>), Problem> {
    read_sweep(text.as_bytes(), format, &ServerLimits::default(), Some(&cluster()), strict)
}

fn found_in(problem: &Problem) -> Vec<(&str, &str)> {
    problem.errors.iter().map(|error| (error.code.as_str(), error.pointer.as_str())).collect()
}

/// serde_json sorts the keys of a map, but the order of the parameters means something.
fn json_in_written_order(node: &Node) -> String {
    match &node.value {
        Tree::Map(entries) => {
            let quoted = |key: &str| serde_json::Value::from(key).to_string();
            let entry = |(key, value): &(String, Node)| format!("{}: {}", quoted(key), json_in_written_order(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Tree::List(items) => format!("[{}]", items.iter().map(json_in_written_order).collect::<Vec<_>>().join(", ")),
        Tree::Number(text) => text.clone(),
        _ => node.to_json().to_string(),
    }
}

fn check(cases: &[Case]) {
    for Case(row, changes, expect) in cases {
        let text = document(changes);
        let answer = read(&text, Format::Yaml, false);
        match (expect, &answer) {
            (Expect::Refused(status, errors), Err(problem)) => {
                assert_eq!(found_in(problem), *errors, "row {row}: {text}{problem:#?}");
                assert_eq!((problem.status, problem.code.as_str()), (*status, errors[0].0), "row {row}");
                assert!(problem.errors.iter().all(|error| error.message.len() > 10), "row {row}: {problem:#?}");
            }
            (Expect::Warned(expected), Ok((_, warnings))) => {
                let found: Vec<_> = warnings.iter().map(|w| (w.code.as_str(), w.pointer.as_str())).collect();
                assert_eq!(found, *expected, "row {row}: {text}");
                let problem = read(&text, Format::Yaml, true).expect_err("strict refuses warnings");
                assert_eq!((problem.status, found_in(&problem)), (422, expected.to_vec()), "row {row}: {text}");
            }
            (Expect::Accepted, Ok((_, warnings))) => assert_eq!(warnings, &[], "row {row}: {text}"),
            (_, answer) => panic!("row {row}: {text}{answer:#?}"),
        }
        // JSON says the same, where it can say it at all.
        if let Ok(tree) = documents::read(text.as_bytes(), Format::Yaml)
            && !text.contains("1e999")
            && !text.contains(".nan")
            && !text.contains(".inf")
        {
            let json = json_in_written_order(&tree);
            assert_eq!(read(&json, Format::Json, false), answer, "row {row}: {json}");
        }
    }
}
