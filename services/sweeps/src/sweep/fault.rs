//! That something of ours broke while the sweep waited for it.

use jiff::Timestamp;

use super::events::SweepWarned;
use super::rejection::Decided;
use super::state::Sweep;

/// Warnings of one code that a sweep keeps: a fault that comes back with other words is no news for ever.
const FAULTS_MAX: usize = 5;

impl Sweep {
    /// A warning, once for each message.
    pub(super) fn note_fault(&self, code: &str, message: &str, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let mut same = submitted.warnings.iter().filter(|warning| warning.code == code);
        let is_known = same.clone().any(|warning| warning.message == message);
        if is_known || same.nth(FAULTS_MAX - 1).is_some() || self.status.state().is_terminal() {
            return Ok(Vec::new());
        }
        let (workspace, code, message) = (submitted.workspace.clone(), code.to_owned(), message.to_owned());
        Ok(vec![SweepWarned { workspace, code, message, at }.into()])
    }
}
