//! The Python of tests that need packages: `TRIALOG_TEST_PYTHON`, which `make test` makes.

use std::path::PathBuf;
use std::process::Command;

use crate::required::missing;

/// An interpreter that can import these modules; `None` where there is none and it is not required.
///
/// # Panics
/// When there is none and `TRIALOG_REQUIRE` names `python`.
pub fn python_with(modules: &[&str]) -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("TRIALOG_TEST_PYTHON").unwrap_or_else(|| "python3".into()));
    let imports = format!("import {}", modules.join(", "));
    let found = Command::new(&python).args(["-c", &imports]).output().is_ok_and(|output| output.status.success());
    if found {
        return Some(python);
    }
    missing("python", &format!("{} has not all of {}: make test installs them", python.display(), modules.join(", ")));
    None
}
