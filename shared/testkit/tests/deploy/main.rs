//! What is under deploy/ for those who run Trialog: the image, the compose files, the units of systemd. There is no
//! engine for containers here, so the image is linted and not built, and no container is started. What can be run is:
//! every command line of these files starts our binary, with its addresses and folders moved to this machine, and
//! serves; the files of configuration and the script that makes secrets are the ones that it gets. Each checker also
//! sees a fault that was planted.

mod compose;
mod image;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(180);

/// A file under deploy/.
fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").canonicalize().expect("deploy/").join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that a checker has printed, and whether it was content.
fn verdict(output: &Output) -> (bool, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    (output.status.success(), text)
}

/// Whether the container of a data folder counts as well, by the image's own check.
fn health(python: &Path, data: &Path, urls: &[&str]) -> (bool, String) {
    let mut check = Command::new(python);
    check.arg(deploy("docker/healthcheck.py")).args(urls).env("TRIALOG_DATA", data);
    verdict(&check.output().expect("python"))
}
