//! A document from a file: sent as it was written, or with `--set` changes and the code's hash laid in, in the written
//! order.

use std::path::{Path, PathBuf};

use documents::{Format, Node, Tree};

use super::Failure;
use super::http::Body;

/// A file that was read as a document.
pub struct Document {
    /// The file's folder: relative paths inside are meant from here.
    pub folder: PathBuf,
    tree: Node,
    format: Format,
    original: Vec<u8>,
    changed: bool,
}

/// Reads a JSON or YAML file; `-` is the standard input, as YAML.
pub fn read(path: &Path) -> Result<Document, Failure> {
    let shown = path.display();
    let original = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map(String::into_bytes)
    } else {
        std::fs::read(path)
    };
    let original = original.map_err(|error| Failure::Usage(format!("{shown}: {error}")))?;
    let is_json = path.extension().is_some_and(|ending| ending == "json");
    let format = if is_json { Format::Json } else { Format::Yaml };
    let tree =
        documents::read(&original, format).map_err(|problem| Failure::Usage(format!("{shown}: {}", problem.detail)))?;
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    Ok(Document { folder, tree, format, original, changed: false })
}

/// A document that says nothing yet.
pub fn empty() -> Document {
    let tree = Node { value: Tree::Map(Vec::new()), line: 0, column: 0 };
    Document { folder: PathBuf::new(), tree, format: Format::Json, original: Vec::new(), changed: true }
}

impl Document {
    /// All of it.
    pub fn tree(&self) -> &Node {
        &self.tree
    }

    /// The value at a dotted path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(&self.tree, |node, name| node.get(name))
    }

    /// The text at a dotted path.
    pub fn text(&self, path: &str) -> Option<&str> {
        match &self.get(path)?.value {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Takes a value out.
    pub fn take(&mut self, path: &str) -> Option<Node> {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut names = parent.split('.').filter(|name| !name.is_empty());
        let parent = names.try_fold(&mut self.tree, |node, name| match &mut node.value {
            Tree::Map(entries) => entries.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node),
            _ => None,
        })?;
        let Tree::Map(entries) = &mut parent.value else { return None };
        let place = entries.iter().position(|(key, _)| key == name)?;
        self.changed = true;
        Some(entries.remove(place).1)
    }

    /// Sets a value, making the maps on the way.
    pub fn set(&mut self, path: &str, value: Tree) -> Result<(), Failure> {
        self.set_in(&path.split('.').collect::<Vec<_>>(), value)
    }

    /// Sets a value at the end of these names, which may have dots in them. A map is laid over the one that is there.
    pub fn set_in(&mut self, path: &[&str], value: Tree) -> Result<(), Failure> {
        self.changed = true;
        let mut node = &mut self.tree;
        for &name in path {
            if matches!(node.value, Tree::Null) {
                node.value = Tree::Map(Vec::new());
            }
            let Tree::Map(entries) = &mut node.value else {
                return Err(Failure::Usage(format!(
                    "--set {}: what stands before '{name}' is not a map",
                    path.join(".")
                )));
            };
            let place = match entries.iter().position(|(key, _)| key == name) {
                Some(place) => place,
                None => {
                    entries.push((name.to_owned(), Node { value: Tree::Null, line: 0, column: 0 }));
                    entries.len() - 1
                }
            };
            node = &mut entries[place].1;
        }
        lay_over(&mut node.value, value);
        Ok(())
    }

    /// Applies a `--set PATH=VALUE`; the value is read as YAML.
    pub fn set_text(&mut self, change: &str) -> Result<(), Failure> {
        let (path, value) =
            change.split_once('=').ok_or_else(|| Failure::Usage(format!("--set {change:?} is not PATH=VALUE")))?;
        let value = documents::read(value.as_bytes(), Format::Yaml)
            .map_err(|problem| Failure::Usage(format!("--set {path}: {}", problem.detail)))?;
        self.set(path, value.value)
    }

    /// What to send: the original text when nothing was changed, so that the server's lines and columns are the file's.
    pub fn body(&self) -> Body {
        if !self.changed {
            let kind = match self.format {
                Format::Json => "application/json",
                Format::Yaml => "application/yaml",
            };
            return Body::Text(kind, self.original.clone());
        }
        let mut text = String::new();
        write(&self.tree, &mut text);
        Body::Text("application/json", text.into_bytes())
    }
}

/// What a map does not name stays as it is; all else is taken in the place of what was there. The fields of one type
/// mean nothing in another.
fn lay_over(there: &mut Tree, value: Tree) {
    let type_of = |tree: &Tree| match tree {
        Tree::Map(entries) => entries.iter().find(|(name, _)| name == "type").map(|(_, node)| node.value.clone()),
        _ => None,
    };
    let is_another = type_of(&value).is_some_and(|new| type_of(there) != Some(new));
    match (there, value) {
        (Tree::Map(entries), Tree::Map(new)) if !is_another => {
            for (name, node) in new {
                match entries.iter().position(|(known, _)| *known == name) {
                    Some(place) => lay_over(&mut entries[place].1.value, node.value),
                    None => entries.push((name, node)),
                }
            }
        }
        (there, value) => *there = value,
    }
}

/// A tree as a JSON body.
pub fn json_body(node: &Node) -> Body {
    let mut text = String::new();
    write(node, &mut text);
    Body::Text("application/json", text.into_bytes())
}

/// JSON in the written order: the order of parameters is part of a sweep's meaning.
fn write(node: &Node, out: &mut String) {
    match &node.value {
        Tree::Null => out.push_str("null"),
        Tree::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Tree::Number(text) if serde_json::from_str::<serde_json::Number>(text).is_ok() => out.push_str(text),
        Tree::Number(_) => out.push_str(&node.to_json().to_string()),
        Tree::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
        Tree::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Tree::Map(entries) => {
            out.push('{');
            for (place, (key, value)) in entries.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path()).unwrap()
    }

    #[test]
    fn a_change_keeps_the_written_order() {
        // Sorting the parameters would give each another Sobol dimension: another sweep.
        let mut document = document("search_space: {z: {type: choice, values: [1, 1e400]}, a: {type: uniform}}\n");
        document.set_text("trial.environment.python=/bin/python").unwrap();
        document.set_text("limits.max_total_trials=7").unwrap();
        let Body::Text(kind, bytes) = document.body() else { panic!("a text") };
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(kind, "application/json");
        assert!(text.starts_with(r#"{"search_space":{"z":"#), "{text}");
        assert!(text.contains(r#""environment":{"python":"/bin/python"}"#) && text.contains("\"max_total_trials\":7"));
    }

    #[test]
    fn a_map_is_laid_over_the_one_that_is_there() {
        // `--set limits='{max_total_trials: 3}'` must not take the concurrency away.
        let text = "limits: {max_total_trials: 9, max_concurrent_trials: 2}\n\
                    early_termination: {type: asha, max_resource: 27}\ntags: {a: b}\n";
        let mut document = document(text);
        document.set_text("limits={max_total_trials: 3}").unwrap();
        document.set_text("early_termination={type: bandit, slack_amount: 1}").unwrap();
        document.set_text("early_termination={slack_amount: 2}").unwrap();
        document.set_text("tags=none").unwrap();
        let Body::Text(_, bytes) = document.body() else { panic!("a text") };
        let expected = [
            r#"{"limits":{"max_total_trials":3,"max_concurrent_trials":2}"#,
            r#""early_termination":{"type":"bandit","slack_amount":2}"#,
            r#""tags":"none"}"#,
        ];
        assert_eq!(String::from_utf8(bytes).unwrap(), expected.join(","));
    }
}
