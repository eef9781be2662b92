//! `trialog init sweep | run | endpoint`: a script, a document and a README that run at once.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Failure;
use super::stdout::line;

/// What to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A script and a sweep of its parameters.
    Sweep,
    /// A script and a run of it.
    Run,
    /// A script that answers requests, as a model behind an endpoint.
    Endpoint,
}

/// Which script a sweep begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Python alone.
    #[default]
    Plain,
    /// A model of scikit-learn.
    Sklearn,
    /// A network of PyTorch, with checkpoints.
    Pytorch,
    /// Trials that run elsewhere: a worker that asks and tells.
    External,
}

/// A file's name and content.
type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!("presets/", $folder, "/", $name)))),+]
    };
}

fn files(kind: Kind, preset: Preset) -> &'static [File] {
    match (kind, preset) {
        (Kind::Sweep, Preset::Plain) => files!("plain": "train.py", "sweep.yaml", "README.md"),
        (Kind::Sweep, Preset::Sklearn) => files!("sklearn": "train.py", "sweep.yaml", "README.md"),
        (Kind::Sweep, Preset::Pytorch) => files!("pytorch": "train.py", "sweep.yaml", "README.md"),
        (Kind::Sweep, Preset::External) => files!("external": "worker.py", "sweep.yaml", "README.md"),
        (Kind::Run, _) => files!("run": "train.py", "run.yaml", "README.md"),
        (Kind::Endpoint, _) => files!("endpoint": "score.py", "model.yaml", "deployment.yaml", "README.md"),
    }
}

/// Writes the files of a kind into a folder; none of them when one is there already and is not to be written over.
pub fn write(kind: Kind, preset: Preset, folder: &Path, url: &str, force: bool) -> Result<(), Failure> {
    if kind != Kind::Sweep && preset != Preset::Plain {
        return Err(Failure::Usage("trialog init: --preset goes with sweep".to_owned()));
    }
    let wrong = |path: &Path, error: std::io::Error| Failure::Usage(format!("{}: {error}", path.display()));
    let files: Vec<(PathBuf, String)> =
        files(kind, preset).iter().map(|(name, content)| (folder.join(name), content.replace("@URL@", url))).collect();
    let is_other = |(path, text): &&(PathBuf, String)| {
        path.exists() && std::fs::read_to_string(path).ok().as_deref() != Some(text)
    };
    if let Some((path, _)) = files.iter().find(is_other).filter(|_| !force) {
        let shown = path.display();
        return Err(Failure::Usage(format!(
            "{shown} is here already and says something else; name another folder, or --force writes over it"
        )));
    }
    std::fs::create_dir_all(folder).map_err(|error| wrong(folder, error))?;
    for (path, text) in &files {
        std::fs::write(path, text).map_err(|error| wrong(path, error))?;
        line(&format!("wrote {}", path.display()));
    }
    line(&format!("{} says how to run it", folder.join("README.md").display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_over_unless_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("train.py");
        std::fs::write(&own, "mine").unwrap();
        let begin = |force| write(Kind::Sweep, Preset::Plain, folder.path(), "http://h", force);
        assert!(matches!(begin(false), Err(Failure::Usage(text)) if text.contains("train.py is here already")));
        assert!(!folder.path().join("sweep.yaml").exists(), "all or none");
        begin(true).unwrap();
        begin(false).unwrap();
        let document = std::fs::read_to_string(folder.path().join("sweep.yaml")).unwrap();
        assert!(document.starts_with("# yaml-language-server: $schema=http://h/schemas/sweep.json\n"), "{document}");
        let refused = write(Kind::Run, Preset::Sklearn, folder.path(), "http://h", false);
        assert!(matches!(refused, Err(Failure::Usage(text)) if text.contains("--preset goes with sweep")));
    }
}
