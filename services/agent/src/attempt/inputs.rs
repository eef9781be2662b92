//! Inputs of a job: `file://` addresses, linked or copied into the attempt's folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use contracts::compute::JobInput;
use contracts::job::Word;
use vocabulary::job::InputMode;

use super::places::Refused;

/// Puts every input at its path.
pub(super) fn provide(inputs: &[JobInput], paths: &BTreeMap<String, PathBuf>) -> Result<(), Refused> {
    for input in inputs {
        if let Some(path) = paths.get(&input.id) {
            put(input, path).map_err(|reason| Refused(format!("input '{}': {reason}", input.id)))?;
        }
    }
    Ok(())
}

fn put(input: &JobInput, path: &Path) -> Result<(), String> {
    let Some(source) = input.uri.strip_prefix("file://").map(decoded).filter(|source| source.is_absolute()) else {
        return Err(format!("'{}' is not offered; write file:///absolute/path", input.uri));
    };
    if !source.exists() {
        return Err(format!("{} does not exist on this node", source.display()));
    }
    let placed = || -> io::Result<()> {
        // An earlier agent may have got this far.
        match fs::symlink_metadata(path) {
            Ok(facts) if facts.is_dir() => fs::remove_dir_all(path)?,
            Ok(_) => fs::remove_file(path)?,
            Err(_) => {}
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match InputMode::read(input.mode_kind, &input.mode).map_err(io::Error::other)? {
            Some(InputMode::Download) => copy(&source, path),
            Some(InputMode::Mount) | None => std::os::unix::fs::symlink(&source, path),
        }
    };
    placed().map_err(|error| format!("{}: {error}", source.display()))
}

/// Percent signs in addresses stand for bytes.
fn decoded(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(percent_encoding::percent_decode_str(text).collect()))
}

/// Copies a file or a folder; links inside are copied as links.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    // The address itself may be a link; what it leads to is meant.
    if !fs::metadata(source)?.is_dir() {
        return fs::copy(source, target).map(drop);
    }
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, target.join(entry.file_name()));
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(uri: String, mode: &str) -> JobInput {
        JobInput { id: "data".into(), uri, mode: mode.into(), ..JobInput::default() }
    }

    #[test]
    fn inputs_are_linked_or_copied_and_others_refused_by_name() {
        // A wrong address must be said at the start, not show as a missing file in the script.
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("my data");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("a"), "1").unwrap();
        let uri = format!("file://{}/my%20data", folder.path().display());
        let target = folder.path().join("inputs/data");
        for mode in ["mount", "download", "mount"] {
            put(&input(uri.clone(), mode), &target).unwrap();
            assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
            assert_eq!(fs::symlink_metadata(&target).unwrap().is_symlink(), mode == "mount");
        }
        let refused = put(&input("azureml://x".into(), "mount"), &target).unwrap_err();
        assert!(refused.contains("azureml://x"), "{refused}");
        assert!(put(&input("file:///not/there".into(), "mount"), &target).unwrap_err().contains("does not exist"));
    }
}
