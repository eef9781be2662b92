//! Whether the script that a command runs is in the code that goes with it: looked at where the files are.

use std::path::Path;

use vocabulary::FieldError;

use super::document::Document;
use super::python::words;

/// What is probably not meant, as a document's warnings are; `section` is what has the command and the code.
pub fn warnings(document: &Document, section: &str, code: Option<&Path>) -> Vec<FieldError> {
    let words = words(document, &format!("{section}.command"));
    let script = documents::job::script_of(words.iter().map(String::as_str)).filter(|script| !script.starts_with('/'));
    let Some(script) = script.filter(|script| !script.contains("${{")) else { return Vec::new() };
    let makes = document.get(&format!("{section}.prepare")).is_some();
    let is_named = ["code", "code_sha256"].iter().any(|name| document.get(&format!("{section}.{name}")).is_some());
    let pointer = format!("/{section}/command");
    match code {
        Some(folder) if !makes && !folder.join(script).exists() => {
            let message = format!("{section}.command: there is no {script} in the code, {}", folder.display());
            vec![FieldError::new(&pointer, "MissingScript", message)]
        }
        None if !is_named && !makes && document.folder.join(script).exists() => {
            let message = format!(
                "{section}.command: {script} lies beside the document and does not go with it: write code: ./ into \
                 {section}"
            );
            vec![FieldError::new(&pointer, "NoCode", message)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::read;
    use super::*;

    #[test]
    fn a_script_that_does_not_go_along_is_pointed_out() {
        // A node was asked for, and the job died of "can't open file".
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.py"), "").unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let found = |text: &str, code: Option<&str>| {
            let file = folder.path().join("sweep.yaml");
            std::fs::write(&file, text).unwrap();
            let code = code.map(|code| folder.path().join(code));
            let found = warnings(&read(&file).unwrap(), "trial", code.as_deref());
            found.into_iter().map(|warning| warning.code).collect::<Vec<_>>()
        };
        assert_eq!(found("trial: {command: [python, train.py, --lr, 1]}", None), ["NoCode"]);
        assert_eq!(found("trial: {command: [python, train.py], code: src}", Some("src")), ["MissingScript"]);
        assert_eq!(found("trial: {command: [python, train.py], code: ./}", Some("")), [""; 0]);
        assert_eq!(found("trial: {command: [python, train.py], code: 'sha256:00'}", None), [""; 0]);
        // The server says what it can say of this one.
        assert_eq!(found("trial: {command: python other.py}", None), [""; 0]);
        assert_eq!(found("trial: {command: [/bin/train.py]}", None), [""; 0]);
    }
}
