//! What names may be.

use vocabulary::{Problem, names};

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
