//! What `tuning` finds wrong with a space, a sampler or a policy, at its place in the document.

use documents::Findings;
use tuning::Issue;

/// Notes an issue that `tuning` has found; `at` is the pointer of the section that it is about.
pub(super) fn note(issue: Issue, at: &str, findings: &Findings) {
    let at = if issue.parameter.is_empty() {
        at.to_owned()
    } else {
        documents::pointer::child("/search_space", &issue.parameter)
    };
    let pointer = if issue.field.is_empty() { at } else { format!("{at}/{}", issue.field) };
    if issue.warning {
        findings.warn(pointer, issue.code, issue.message);
    } else {
        findings.refuse(pointer, issue.code, issue.message);
    }
}
