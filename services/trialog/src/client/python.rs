//! What a dry run says of the Python of a sweep's trials: which one it is, and which imports of the script it does not
//! have. It is looked at on this machine, which is the node's too unless the server is elsewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use documents::{Node, Tree};
use serde_json::{Value, json};
use vocabulary::FieldError;

use super::document::Document;

/// Lines of a script whose imports are looked at; later ones are mostly inside of functions.
const LINES_MAX: usize = 200;
/// Prints the interpreter's version and then, a line each, which of its arguments cannot be imported.
const LOOK: &str = "import importlib.util as u, sys
print(sys.version.split()[0])
for name in sys.argv[1:]:
    if u.find_spec(name) is None: print(name)";

/// Adds `python` to the answer of a dry run. What is missing is answered.
pub(super) fn describe(document: &Document, code: &Path, answer: &mut Value) -> Option<FieldError> {
    let program = interpreter(document)?;
    let requirements = document.get("trial.environment.requirements").map(Node::to_json);
    let script = script(document);
    let text = script.as_ref().and_then(|script| std::fs::read_to_string(code.join(script)).ok()).unwrap_or_default();
    let imports: Vec<String> = imports(&text).into_iter().filter(|name| !is_own(code, name)).collect();
    let looked = look(&program, &imports);
    let fields = answer.as_object_mut()?;
    let mut shown = json!({ "program": program, "version": looked.as_ref().map(|(version, _)| version) });
    if let Some(requirements) = &requirements {
        shown["requirements"] = requirements.clone();
    }
    fields.insert("python".to_owned(), shown);
    let message = match looked {
        None => format!("{} cannot be run on this machine", program.display()),
        // What pip will bring is not known before it has.
        Some((_, missing)) if missing.is_empty() || requirements.is_some() => return None,
        Some((_, missing)) => format!(
            "{} imports {}, which {} does not have; list it in trial.environment.requirements",
            script.unwrap_or_default(),
            missing.join(", "),
            program.display()
        ),
    };
    Some(FieldError::new("/trial/environment", "MissingImport", message))
}

/// Where the command of a sweep's trials is.
const COMMAND: &str = "trial.command";

/// The words of the command at a path, as far as they are plain.
pub(super) fn words(document: &Document, path: &str) -> Vec<String> {
    match document.get(path).map(|command| &command.value) {
        Some(Tree::Text(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Tree::List(items)) => items.iter().filter_map(text_of).collect(),
        _ => Vec::new(),
    }
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Tree::Text(text) | Tree::Number(text) => Some(text.clone()),
        _ => None,
    }
}

/// The script that the command runs.
fn script(document: &Document) -> Option<String> {
    words(document, COMMAND).into_iter().find(|word| word.ends_with(".py") && !word.starts_with('/'))
}

/// The interpreter that the trials get; `None` when they run none.
fn interpreter(document: &Document) -> Option<PathBuf> {
    let named = document.get("trial.environment.python").and_then(text_of);
    let program = match named.as_deref() {
        Some(path) if path.starts_with('/') => return Some(PathBuf::from(path)),
        Some(version) => format!("python{version}"),
        None => words(document, COMMAND).into_iter().next().filter(|word| word.starts_with("python"))?,
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let found = |name: &str| path.split(':').map(|folder| Path::new(folder).join(name)).find(|file| file.is_file());
    let other = (program == "python").then(|| found("python3")).flatten();
    Some(found(&program).or(other).unwrap_or_else(|| PathBuf::from(program)))
}

/// The modules that a script imports at its top level.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().take(LINES_MAX) {
        let modules = match (line.strip_prefix("import "), line.strip_prefix("from ")) {
            (Some(modules), _) => modules,
            (None, Some(module)) => module.split(" import").next().unwrap_or_default(),
            (None, None) => continue,
        };
        let modules = modules.split('#').next().unwrap_or_default();
        for module in modules.split(',') {
            let name = module.trim().split([' ', '.']).next().unwrap_or_default();
            if !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

/// Whether the code brings the module itself.
fn is_own(code: &Path, name: &str) -> bool {
    code.join(format!("{name}.py")).is_file() || code.join(name).is_dir()
}

/// Version and missing modules; `None` when the interpreter cannot be run.
fn look(program: &Path, imports: &[String]) -> Option<(String, Vec<String>)> {
    // A job has no PYTHONPATH of ours.
    let output = Command::new(program).args(["-c", LOOK]).args(imports).env_remove("PYTHONPATH").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines().map(str::to_owned);
    let version = lines.next().filter(|_| output.status.success())?;
    Some((version, lines.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_read_from_the_top_level_of_a_script() {
        let text =
            "import os, numpy as np  # fast\nfrom sklearn.svm import SVC\nfrom .own import x\nif 1:\n    import lazy\n";
        assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["numpy", "os", "sklearn"]);
    }

    #[test]
    fn a_dry_run_says_which_python_and_what_it_lacks() {
        // The first trial would say so too, after a node was asked for.
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.py"), "import json, own_part, no_such_module\n").unwrap();
        std::fs::write(folder.path().join("own_part.py"), "").unwrap();
        let described = |text: &str| {
            let file = folder.path().join("sweep.yaml");
            std::fs::write(&file, text).unwrap();
            let mut answer = json!({"plan": {}});
            let found = describe(&super::super::document::read(&file).unwrap(), folder.path(), &mut answer);
            answer["warnings"] = json!(found.map(|found| vec![found]).unwrap_or_default());
            answer
        };
        let answer = described("trial: {command: [python3, train.py, --lr, 1]}");
        assert!(answer["python"]["version"].as_str().unwrap().starts_with("3."), "{answer}");
        assert_eq!(answer["warnings"][0]["code"], "MissingImport");
        let message = answer["warnings"][0]["message"].as_str().unwrap();
        assert!(message.starts_with("train.py imports no_such_module, which /"), "{message}");
        let answer = described("trial: {command: python train.py, environment: {requirements: [no-such-module]}}");
        assert_eq!((&answer["warnings"], &answer["python"]["requirements"][0]), (&json!([]), &json!("no-such-module")));
        let answer = described("trial: {command: [python, train.py], environment: {python: /no/python}}");
        assert_eq!(answer["warnings"][0]["message"], "/no/python cannot be run on this machine");
        assert_eq!(described("trial: {command: [sh, -c, 'true']}"), json!({"plan": {}, "warnings": []}));
    }
}
