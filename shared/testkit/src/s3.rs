//! The S3 of tests that need one: `TRIALOG_TEST_S3`, which `make test` starts, and a server of a test's own, which can
//! stand still and be killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::required::missing;

/// Its endpoint, which takes any keys and has a bucket `trialog`; `None` where there is none and it is not required.
///
/// # Panics
/// When there is none and `TRIALOG_REQUIRE` names `s3`.
pub fn s3() -> Option<String> {
    let found = std::env::var("TRIALOG_TEST_S3").ok().filter(|endpoint| !endpoint.is_empty());
    if found.is_none() {
        missing(
            "s3",
            "TRIALOG_TEST_S3 names no endpoint: make test starts one where moto is installed (python3 -m pip install \
             'moto[server]')",
        );
    }
    found
}

/// The lines of a configuration that keep objects in the bucket of an endpoint, below a prefix.
pub fn objects_in_s3(endpoint: &str, prefix: &str) -> String {
    format!(
        "[objects]\nurl = \"s3://trialog/{prefix}\"\nendpoint = {endpoint:?}\nallow_http = true\n\
         access_key_id = \"test\"\nsecret_access_key = \"test\"\n"
    )
}

/// A server of a test's own. It ends, and what it has goes, when it is dropped.
pub struct S3Server {
    folder: PathBuf,
    /// Its endpoint.
    pub endpoint: String,
}

impl S3Server {
    /// Starts one, with its log in a folder.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(folder: &Path) -> Self {
        let folder = folder.join("s3");
        let endpoint = run(&["up"], &folder, &[]).trim().to_owned();
        Self { folder, endpoint }
    }

    /// Lets it stand still, or go on.
    pub fn freeze(&self, stands_still: bool) {
        run(&["fault"], &self.folder, &[if stands_still { "freeze" } else { "thaw" }]);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        run(&["fault"], &self.folder, &["kill"]);
    }
}

fn run(before: &[&str], folder: &Path, after: &[&str]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/s3-dev/s3-dev");
    let output = Command::new(program).args(before).arg(folder).args(after).output().expect("s3-dev");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "s3-dev: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
