//! What may change on a sweep that exists: limits, description, tags.

use std::collections::BTreeMap;

use documents::{Field, Findings, Format};
use vocabulary::{Problem, Warning};

use super::spec::{Limits, ServerLimits, SweepSpec};
use super::{external, limits, objectives};

/// The changes that a document asks for; absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SweepChanges {
    /// The new limits, complete.
    pub limits: Option<Limits>,
    /// The new description.
    pub description: Option<String>,
    /// The new tags, complete.
    pub tags: Option<BTreeMap<String, String>>,
}

/// The sections that a submission fixes.
const FIXED: [&str; 16] = [
    "name",
    "experiment",
    "cluster",
    "mode",
    "objective",
    "objectives",
    "constraints",
    "search_space",
    "compat",
    "sampling_algorithm",
    "early_termination",
    "record_keeps",
    "trial",
    "resume_from",
    "resume_trials",
    "seed",
];

/// Reads a PATCH document for a sweep with `current`.
///
/// # Errors
/// 400 and 422 as for a submission; 409 `Immutable` for every section that a submission fixes.
pub fn read_changes(
    text: &[u8],
    format: Format,
    server: &ServerLimits,
    current: &SweepSpec,
) -> Result<(SweepChanges, Vec<Warning>), Problem> {
    let document = documents::read(text, format)?;
    let findings = Findings::new();
    let mut changes = None;
    if let Some(mut fields) = Field::root(&document, &findings).map() {
        let section = fields.field("limits");
        let limits = limits::read(&section, &server.of(current.mode), current.space.compat, Some(&current.limits))
            .filter(|read| section.is_present() && external::allows(current.mode, read, &section));
        objectives::Sought::of(current).check_limits(limits.as_ref(), &findings);
        let description = fields.text("description").map(str::to_owned);
        let tags = fields.tags();
        for name in FIXED {
            let field = fields.unlisted(name);
            if field.is_present() {
                let message = format!("{name}: only limits, description and tags may change; submit another sweep");
                findings.conflict(field.pointer(), "Immutable", message);
            }
        }
        changes = Some(SweepChanges { limits, description, tags });
    }
    findings.finish(changes)
}
