//! What external mode changes in a document: nothing is run here, so nothing is said about running.

use documents::Field;

use super::spec::{Limits, Mode};

/// Refuses a section that only managed sweeps have; its content does not matter then.
pub(super) fn nothing_in<'a>(section: &Field<'a>) -> Option<&'a str> {
    if !section.is_present() {
        return Some("");
    }
    section.refuse("NotInExternal", "leave it out in mode external, where trials are asked for and told");
    None
}

/// A trial that failed is told as failed: there is no process to start anew.
pub(super) fn allows(mode: Mode, limits: &Limits, section: &Field<'_>) -> bool {
    if mode == Mode::Managed || limits.max_retries == 0 {
        return true;
    }
    if let Some(mut fields) = section.map() {
        fields.ignore_rest();
        let message = "leave it out in mode external; whoever runs a trial may try again itself";
        fields.field("max_retries").refuse("NotInExternal", message);
    }
    false
}
