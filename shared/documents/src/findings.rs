//! Collects everything that is wrong or doubtful in a document.

use std::cell::{Cell, RefCell};

use vocabulary::problem::ERRORS_MAX;
use vocabulary::{FieldError, Problem, Warning};

use crate::work;

/// Most bytes of the errors in one answer. The first error is told whatever its length.
const ERRORS_BYTES_MAX: usize = 256 << 10;

/// Errors up to a number and a size; what is beyond is only counted.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    kept: RefCell<Vec<FieldError>>,
    bytes: Cell<usize>,
    left_out: Cell<usize>,
}

impl Errors {
    /// Adds the error that `make` writes, or counts it: writing thousands of messages that nobody reads takes long.
    pub(crate) fn add(&self, make: impl FnOnce() -> FieldError) {
        if self.kept.borrow().len() >= ERRORS_MAX || self.bytes.get() >= ERRORS_BYTES_MAX {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let error = make();
        let bytes = error.pointer.len() + error.message.len() + error.hint.len();
        work::add(bytes);
        self.bytes.set(self.bytes.get() + bytes);
        self.kept.borrow_mut().push(error);
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    /// The problem of these errors.
    pub(crate) fn problem(self, status: u16) -> Problem {
        Problem::of_errors_and_more(status, self.kept.into_inner(), self.left_out.get())
    }
}

/// The errors and warnings of one document. Two kinds of errors are told apart: unknown fields (400) answer alone, for
/// a misspelt field makes others look missing; all other errors (422) answer together.
#[derive(Debug, Default)]
pub struct Findings {
    unknown: Errors,
    errors: Errors,
    warnings: RefCell<Vec<Warning>>,
    warnings_left_out: Cell<usize>,
}

impl Findings {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a 422 error.
    pub fn refuse(&self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        self.add_with(|| FieldError::new(pointer, code, message));
    }

    /// Adds a 422 error that may carry a hint.
    pub fn add(&self, error: FieldError) {
        self.add_with(|| error);
    }

    /// Adds the 422 error that `make` writes; it is not asked once there are more errors than an answer tells.
    pub fn add_with(&self, make: impl FnOnce() -> FieldError) {
        self.errors.add(make);
    }

    /// Adds a 400 error: a field that does not exist.
    pub fn add_unknown(&self, error: FieldError) {
        self.add_unknown_with(|| error);
    }

    /// Adds the 400 error that `make` writes; it is not asked once there are more errors than an answer tells.
    pub fn add_unknown_with(&self, make: impl FnOnce() -> FieldError) {
        self.unknown.add(make);
    }

    /// Adds a warning.
    pub fn warn(&self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() >= ERRORS_MAX {
            self.warnings_left_out.set(self.warnings_left_out.get() + 1);
            return;
        }
        let warning = Warning { code: code.to_owned(), pointer: pointer.into(), message: message.into() };
        work::add(warning.pointer.len() + warning.message.len());
        warnings.push(warning);
    }

    /// Whether an error was found so far.
    pub fn any_errors(&self) -> bool {
        !self.unknown.is_empty() || !self.errors.is_empty()
    }

    /// Turns warnings into 422 errors: what `strict=true` asks for.
    #[must_use]
    pub fn strict(self) -> Self {
        let warnings = self.warnings.take();
        warnings.into_iter().for_each(|w| self.add(FieldError::new(w.pointer, w.code, w.message)));
        self
    }

    /// The value and the warnings, or the problem with all errors of the first stage that has any. `value` is `None`
    /// when something that it needs was refused.
    ///
    /// # Errors
    /// 400 with all unknown fields, else 422 with all other errors.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Warning>), Problem> {
        if !self.unknown.is_empty() {
            return Err(self.unknown.problem(400));
        }
        if !self.errors.is_empty() {
            return Err(self.errors.problem(422));
        }
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by(|a, b| a.pointer.as_bytes().cmp(b.pointer.as_bytes()));
        let left_out = self.warnings_left_out.get();
        if left_out > 0 {
            let message = format!("{left_out} more warnings are left out");
            warnings.push(Warning { code: "WarningsLeftOut".to_owned(), pointer: String::new(), message });
        }
        // A reader that gives no value has refused something; the message is for the case that it forgot to say what.
        value
            .map(|value| (value, warnings))
            .ok_or_else(|| Problem::internal("the document was refused without a reason"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_warnings_than_an_answer_tells_are_counted() {
        // Whoever mends those that are told would think that no others are left.
        let findings = Findings::new();
        for place in 0..ERRORS_MAX + 3 {
            findings.warn(format!("/{place}"), "UnusedParameter", "is never referred to");
        }
        let (_, warnings) = findings.finish(Some(())).unwrap();
        let last = warnings.last().unwrap();
        assert_eq!((warnings.len(), last.code.as_str()), (ERRORS_MAX + 1, "WarningsLeftOut"));
        assert_eq!(last.message, "3 more warnings are left out");
    }
}
