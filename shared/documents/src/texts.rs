//! Tags, parameters and properties: texts by name. One limit holds wherever they are taken.

use std::collections::BTreeMap;

use vocabulary::{FieldError, Problem};

use crate::{Findings, Place};

/// Entries of a map.
pub const ENTRIES_MAX: usize = 2_000;
/// Bytes of a map's names and values: lists show them, and a page of a list is one message.
pub const BYTES_MAX: usize = 1 << 20;
/// Characters of a name.
const NAME_LENGTH_MAX: usize = 255;
/// Bytes of a value: a note fits, a file does not.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Checks texts of a message's field.
///
/// # Errors
/// 422 with all that is wrong with them.
pub fn check(texts: &BTreeMap<String, String>, field: &str) -> Result<(), Problem> {
    let findings = Findings::new();
    find(texts, &Place::root().key(field), &findings);
    findings.finish(Some(())).map(|_| ())
}

/// What is too much in all of them together, also when some were added to those that were there; `None` when nothing
/// is.
pub fn surplus(texts: &BTreeMap<String, String>) -> Option<String> {
    if texts.len() > ENTRIES_MAX {
        return Some(format!("{} entries, limit {ENTRIES_MAX}", texts.len()));
    }
    let bytes: usize = texts.iter().map(|(name, value)| name.len() + value.len()).sum();
    (bytes > BYTES_MAX).then(|| format!("{bytes} bytes, limit {BYTES_MAX}; record a file instead"))
}

/// Notes all that is wrong with texts that stand at a place.
pub(crate) fn find(texts: &BTreeMap<String, String>, at: &Place<'_>, findings: &Findings) {
    if let Some(surplus) = surplus(texts) {
        return findings.refuse(at.pointer(), "TooLarge", format!("{}: {surplus}", at.path()));
    }
    for (name, value) in texts {
        let (place, length) = (at.key(name), name.chars().count());
        if !(1..=NAME_LENGTH_MAX).contains(&length) || name.chars().any(char::is_control) {
            findings.add_with(|| {
                let rule = format!("1 to {NAME_LENGTH_MAX} characters without control characters");
                FieldError::new(place.pointer(), "BadName", format!("{}: name {name:?}: {rule}", at.path()))
            });
        } else if value.len() > VALUE_BYTES_MAX {
            findings.add_with(|| {
                let (path, bytes) = (place.path(), value.len());
                let message = format!("{path} has {bytes} bytes, limit {VALUE_BYTES_MAX}; record a file instead");
                FieldError::new(place.pointer(), "TooLarge", message)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(texts: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
        let problem = check(&texts.into_iter().collect(), "tags").err();
        let errors = problem.into_iter().flat_map(|problem| problem.errors);
        errors.map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn texts_have_limits_one_by_one_and_together() {
        // What one thing says of itself must fit into a message many times.
        let many = |count: usize, bytes: usize| (0..count).map(move |at| (format!("t{at:04}"), "x".repeat(bytes)));
        assert_eq!(wrong(many(16, VALUE_BYTES_MAX - 5)), []);
        assert_eq!(wrong(many(17, VALUE_BYTES_MAX - 5)), [("/tags".to_owned(), "TooLarge".to_owned())]);
        assert_eq!(wrong(many(ENTRIES_MAX, 1)), []);
        assert_eq!(wrong(many(ENTRIES_MAX + 1, 1)), [("/tags".to_owned(), "TooLarge".to_owned())]);
        assert_eq!(wrong(many(1, VALUE_BYTES_MAX + 1)), [("/tags/t0000".to_owned(), "TooLarge".to_owned())]);
        let names = ["", "a\nb", &"n".repeat(NAME_LENGTH_MAX + 1), "a/b"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(wrong(names.clone()).len(), 3);
        assert!(wrong(names).iter().all(|(_, code)| code == "BadName"));
    }
}
