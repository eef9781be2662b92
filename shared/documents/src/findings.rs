//! Collects everything that is wrong or doubtful in a document.

use std::cell::RefCell;

use vocabulary::{FieldError, Problem, Warning};

/// Most errors in one answer: far more than anybody reads, and few enough to travel in the headers of a gRPC answer.
const ERRORS_MAX: usize = 200;

/// The problem of a document's errors; what is beyond the limit is only counted.
pub(crate) fn problem(status: u16, errors: Vec<FieldError>) -> Problem {
    let left_out = errors.len().saturating_sub(ERRORS_MAX);
    let mut problem = Problem::of_errors(status, errors);
    problem.errors.truncate(ERRORS_MAX);
    if left_out > 0 { problem.with("errors_left_out", left_out) } else { problem }
}

/// The errors and warnings of one document. Two kinds of errors are told apart: unknown fields (400) answer alone, for
/// a misspelt field makes others look missing; all other errors (422) answer together.
#[derive(Debug, Default)]
pub struct Findings {
    unknown: RefCell<Vec<FieldError>>,
    errors: RefCell<Vec<FieldError>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Findings {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a 422 error.
    pub fn refuse(&self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        self.add(FieldError::new(pointer, code, message));
    }

    /// Adds a 422 error that may carry a hint.
    pub fn add(&self, error: FieldError) {
        self.errors.borrow_mut().push(error);
    }

    /// Adds a 400 error: a field that does not exist.
    pub fn add_unknown(&self, error: FieldError) {
        self.unknown.borrow_mut().push(error);
    }

    /// Adds a warning.
    pub fn warn(&self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        let warning = Warning { code: code.to_owned(), pointer: pointer.into(), message: message.into() };
        self.warnings.borrow_mut().push(warning);
    }

    /// Whether an error was found so far.
    pub fn any_errors(&self) -> bool {
        !self.unknown.borrow().is_empty() || !self.errors.borrow().is_empty()
    }

    /// Turns warnings into 422 errors: what `strict=true` asks for.
    #[must_use]
    pub fn strict(self) -> Self {
        let warnings = self.warnings.take();
        let as_errors = warnings.into_iter().map(|w| FieldError::new(w.pointer, w.code, w.message));
        self.errors.borrow_mut().extend(as_errors);
        self
    }

    /// The value and the warnings, or the problem with all errors of the first stage that has any. `value` is `None`
    /// when something that it needs was refused.
    ///
    /// # Errors
    /// 400 with all unknown fields, else 422 with all other errors.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Warning>), Problem> {
        let (unknown, errors) = (self.unknown.into_inner(), self.errors.into_inner());
        if !unknown.is_empty() {
            return Err(problem(400, unknown));
        }
        if !errors.is_empty() {
            return Err(problem(422, errors));
        }
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by(|a, b| a.pointer.as_bytes().cmp(b.pointer.as_bytes()));
        // A reader that gives no value has refused something; the message is for the case that it forgot to say what.
        value
            .map(|value| (value, warnings))
            .ok_or_else(|| Problem::internal("the document was refused without a reason"))
    }
}
