//! What systemd's own checker says about units.

use std::path::Path;
use std::process::Command;

use crate::required::missing;

/// The complaints of `systemd-analyze verify` about unit files; empty when there are none. `None` where systemd is not
/// installed and not required.
///
/// # Panics
/// When it is not there and `TRIALOG_REQUIRE` names `systemd`.
pub fn systemd_verify(units: &[&Path]) -> Option<String> {
    // Without man the pages that Documentation= names are not looked up.
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output() {
        Ok(output) => output,
        Err(error) => {
            missing("systemd", &format!("systemd-analyze: {error}; it checks units (apt-get install systemd)"));
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // A fault that it passes over is told with a success.
    Some(if text.is_empty() && !output.status.success() { output.status.to_string() } else { text })
}
