//! The standard error: what is said beside an answer, for people.

use super::stdout::shown;

/// Writes a line for people; see [`shown`].
pub fn line(text: &str) {
    eprintln!("{}", shown(text));
}

/// Writes a line as it is: a document that a program reads.
pub fn line_as_it_is(text: &str) {
    eprintln!("{text}");
}

/// Writes a warning.
pub fn warning(message: &str, code: &str) {
    line(&format!("warning: {message} ({code})"));
}
