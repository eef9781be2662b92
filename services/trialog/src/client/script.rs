//! Whether the script that a command runs, and the file of its requirements, are in the code that goes with it: looked
//! at where the files are.

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

/// That the file of requirements which is named at `path` is not in the code: the node would find out, trial by trial.
pub fn missing_requirements(
    document: &Document,
    path: &str,
    code: &Path,
    names: fn(&Path) -> Vec<String>,
) -> Option<FieldError> {
    let file = document.text(path)?;
    // The server refuses what leads out of the code.
    if file.starts_with('/') || code.join(file).is_file() {
        return None;
    }
    let there = names(code);
    let meant = nearest(file, &there).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    let folder = if code.as_os_str().is_empty() { Path::new("./") } else { code };
    let message = format!("{path}: there is no {file} in the code, {}{meant}", folder.display());
    Some(FieldError::new(format!("/{}", path.replace('.', "/")), "BadEnvironment", message))
}

/// The file that was probably meant: misspelt, or another one of requirements.
fn nearest<'n>(file: &str, names: &'n [String]) -> Option<&'n str> {
    let like = documents::did_you_mean(file, names.iter().map(String::as_str));
    let usual = || names.iter().find(|name| name.ends_with(".txt") && name.contains("requirements"));
    like.or_else(|| usual().map(String::as_str))
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

    #[test]
    fn requirements_that_do_not_go_along_are_found_before_a_node_is() {
        // The dry run was content, and trial after trial failed in its preparation.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deps")).unwrap();
        for name in ["requirements.txt", "deps/gpu.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |text: &str, path: &str| {
            let file = folder.path().join("sweep.yaml");
            std::fs::write(&file, text).unwrap();
            let found = missing_requirements(&read(&file).unwrap(), path, folder.path(), |_| {
                ["deps/gpu.txt", "requirements.txt"].map(str::to_owned).into()
            });
            found.map(|found| (found.pointer, found.code, found.message.rsplit_once("; ").unwrap().1.to_owned()))
        };
        let sweep = |file: &str| format!("trial: {{environment: {{requirements: {file}}}}}");
        let missing = |meant: &str| {
            let pointer = "/trial/environment/requirements".to_owned();
            Some((pointer, "BadEnvironment".to_owned(), format!("did you mean {meant}?")))
        };
        let of_sweep = |file: &str| found(&sweep(file), "trial.environment.requirements");
        assert_eq!(of_sweep("req.txt"), missing("requirements.txt"));
        assert_eq!(of_sweep("deps/gpus.txt"), missing("deps/gpu.txt"));
        assert_eq!([of_sweep("requirements.txt"), of_sweep("deps/gpu.txt"), of_sweep("[numpy]")], [None, None, None]);
        let of_run = found("job: {requirements_file: requirement.txt}", "job.requirements_file").unwrap();
        assert_eq!(
            (of_run.0.as_str(), of_run.2.as_str()),
            ("/job/requirements_file", "did you mean requirements.txt?")
        );
    }
}
