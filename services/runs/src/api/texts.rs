//! What names, params and tags may be.

use std::collections::BTreeMap;

use vocabulary::{FieldError, Problem, names};

/// Params or tags of a run.
const TEXTS_MAX: usize = 2_000;
/// Characters of a param's or tag's name.
const KEY_LENGTH_MAX: usize = 255;
/// Bytes of a param's or tag's value: a note fits, a file does not.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// Characters of a run's name.
const NAME_LENGTH_MAX: usize = 255;
/// Checks a run's name.
pub(super) fn check_run_name(name: &str) -> Result<(), Problem> {
    let length = name.chars().count();
    if length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        let message = format!("name: {length} characters; at most {NAME_LENGTH_MAX}, none of them a control character");
        return Err(Problem::invalid("/name", "BadName", message));
    }
    Ok(())
}

/// Checks params or tags.
pub(super) fn check_texts(texts: &BTreeMap<String, String>, field: &str) -> Result<(), Problem> {
    if texts.len() > TEXTS_MAX {
        let message = format!("{field} has {} entries, limit {TEXTS_MAX}", texts.len());
        return Err(Problem::invalid(&format!("/{field}"), "TooLarge", message));
    }
    let mut errors = Vec::new();
    for (key, value) in texts {
        let pointer = format!("/{field}/{}", key.replace('~', "~0").replace('/', "~1"));
        let length = key.chars().count();
        if !(1..=KEY_LENGTH_MAX).contains(&length) || key.chars().any(char::is_control) {
            let message = format!("{field}: name {key:?}: 1 to {KEY_LENGTH_MAX} characters without control characters");
            errors.push(FieldError::new(pointer, "BadName", message));
        } else if value.len() > VALUE_BYTES_MAX {
            let message =
                format!("{field}.{key} has {} bytes, limit {VALUE_BYTES_MAX}; record a file instead", value.len());
            errors.push(FieldError::new(pointer, "TooLarge", message));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(422, errors)) }
}

/// The name of a new experiment. Digits alone would be taken for an id.
pub(super) fn check_experiment_name(name: &str, pointer: &str) -> Result<(), Problem> {
    if let Some(wrong) = names::title(name) {
        return Err(Problem::invalid(pointer, "BadName", wrong));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("{name:?} looks like an id, and no experiment has it; use a name with a letter");
        return Err(Problem::invalid(pointer, "BadName", message));
    }
    Ok(())
}
