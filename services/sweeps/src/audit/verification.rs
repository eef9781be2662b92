//! An audit as `verify` answers it.

use serde_json::{Value, json};

use super::replay::Audit;

/// `{checked, differences, log}`, and `unverifiable` when another version of the samplers made proposals.
pub(crate) fn verification(audit: &Audit) -> Value {
    let log: serde_json::Map<String, Value> =
        audit.log_checks().into_iter().map(|(name, wrong)| (name.to_owned(), Value::from(wrong))).collect();
    let mut shown = json!({
        "checked": {"proposals": audit.proposals_checked, "decisions": audit.decisions_checked},
        "differences": audit.differences,
        "log": log,
    });
    if audit.fits_checked() > 0 {
        shown["checked"]["fits"] = json!(audit.fits_checked());
    }
    if audit.imported > 0 {
        shown["imported"] = json!(audit.imported);
    }
    if !audit.unverifiable.is_empty() {
        let made = audit.unverifiable.iter().map(|(version, count)| json!({"made_by": version, "proposals": count}));
        shown["unverifiable"] = made.collect();
    }
    shown
}
