//! What this binary is: its version, the commit that it is built from, and what is built into it.

/// One line: the version and the commit.
pub const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("TRIALOG_BUILD_COMMIT"), ")");

/// With the target, the kind of build and what is built in: always these two, and what cargo features add.
pub const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("TRIALOG_BUILD_COMMIT"),
    ")\nbuilt for ",
    env!("TRIALOG_BUILD_TARGET"),
    " (",
    env!("TRIALOG_BUILD_PROFILE"),
    ")\nfeatures: events in SQLite, nodes of this machine",
    env!("TRIALOG_BUILD_FEATURES")
);

#[cfg(test)]
#[expect(dead_code, reason = "cargo alone calls main")]
#[path = "../build.rs"]
mod build_script;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::build_script::{commit, watched};

    fn git(folder: &Path, words: &str) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").arg("-C").arg(folder).args(identity).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn content(paths: &[PathBuf]) -> Vec<Vec<u8>> {
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    #[test]
    fn the_commit_is_that_of_the_checkout_and_of_no_other() {
        // A report names the commit: a wrong one sends whoever looks into it astray.
        let folder = tempfile::tempdir().unwrap();
        let (whole, worktree) = (folder.path().join("whole"), folder.path().join("worktree"));
        std::fs::create_dir(&whole).unwrap();
        assert_eq!(commit(&whole), None, "an archive has none");
        git(&whole, "init --quiet --initial-branch=main");
        git(&whole, "commit --quiet --allow-empty -m one");
        git(&whole, "worktree add --quiet ../worktree -b other");
        let first = commit(&whole);
        assert!(first.as_ref().is_some_and(|commit| commit.len() == "9afa566890fa 2026-11-30".len()), "{first:?}");
        assert_eq!(commit(&worktree), first);
        let below = whole.join("vendored");
        std::fs::create_dir(&below).unwrap();
        assert_eq!(commit(&below), None, "an archive within another repository has none");
        // Each has files that change with its own commits.
        for here in [&whole, &worktree] {
            let files = watched(here);
            let before = (content(&files), commit(here));
            git(here, "commit --quiet --allow-empty -m two");
            assert_ne!(commit(here), before.1);
            assert_ne!(content(&files), before.0, "{files:?}");
        }
    }

    #[test]
    fn the_long_version_says_what_is_built_in() {
        let text = super::LONG;
        assert!(text.starts_with(super::SHORT), "{text}");
        assert!(text.contains("\nbuilt for ") && text.contains("\nfeatures: events in SQLite"), "{text}");
    }
}
