//! Tells the binary which commit it is built from. Only the repository that has this workspace at its top is asked: a
//! source archive, also one that lies inside of another repository, has no commit.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Characters of a commit: enough to be told from all others for as long as the project lives.
const COMMIT_CHARACTERS: &str = "--short=12";
/// What of a repository changes when another commit is there.
const MOVES: [&str; 3] = ["HEAD", "logs/HEAD", "packed-refs"];

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    println!("cargo::rerun-if-changed=build.rs");
    for path in watched(&workspace) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let commit = commit(&workspace).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=TRIALOG_BUILD_COMMIT={commit}");
    for name in ["TARGET", "PROFILE"] {
        println!("cargo::rustc-env=TRIALOG_BUILD_{name}={}", std::env::var(name).unwrap_or_default());
    }
    let features = std::env::var("CARGO_CFG_FEATURE").unwrap_or_default();
    let features: String = features.split_terminator(',').map(|feature| format!(", {feature}")).collect();
    println!("cargo::rustc-env=TRIALOG_BUILD_FEATURES={features}");
}

/// The commit of a workspace and its day, e.g. `9afa566890fa 2026-11-30`.
pub fn commit(workspace: &Path) -> Option<String> {
    let top = PathBuf::from(git(workspace, &["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != workspace.canonicalize().ok()? {
        return None;
    }
    let short = git(workspace, &["rev-parse", COMMIT_CHARACTERS, "HEAD"])?;
    let day = git(workspace, &["log", "-1", "--format=%cs"])?;
    Some(format!("{short} {day}"))
}

/// The files that change with the commit. Git says where they are: a worktree has some of its own. Only what is there:
/// cargo would build anew each time for a file that is not.
pub fn watched(workspace: &Path) -> Vec<PathBuf> {
    let branch = git(workspace, &["symbolic-ref", "--quiet", "HEAD"]);
    let names = MOVES.iter().map(|name| (*name).to_owned()).chain(branch);
    let place = |name: String| Some(workspace.join(git(workspace, &["rev-parse", "--git-path", &name])?));
    names.filter_map(place).filter(|path| path.exists()).collect()
}

/// What git says on one line; nothing where there is no git, no repository or no such thing in it.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| output.status.success() && !text.is_empty())
}
