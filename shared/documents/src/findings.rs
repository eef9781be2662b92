//! Collects everything that is wrong or doubtful in a document.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use vocabulary::problem::ERRORS_MAX;
use vocabulary::{FieldError, Problem, Warning};

use crate::suggest::{meant_field, unknown_field};
use crate::{Place, work};

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

/// The statuses of errors, the gravest first: a document that has another shape (400), values that break a rule (422),
/// things that are referred to and not there (404), a state that does not allow it (409).
const GRAVEST_FIRST: [u16; 4] = [400, 422, 404, 409];

/// The errors and warnings of one document. All errors are answered together, whatever their kinds; the gravest decides
/// the status of the answer.
#[derive(Debug, Default)]
pub struct Findings {
    errors: Errors,
    /// The status of the gravest error.
    status: Cell<Option<u16>>,
    /// Places of fields that are there, misspelt.
    misspelt: RefCell<BTreeSet<String>>,
    /// Machine-readable extras of problems that others have found.
    extra: RefCell<serde_json::Map<String, serde_json::Value>>,
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
        self.add_at(422, make);
    }

    fn add_at(&self, status: u16, make: impl FnOnce() -> FieldError) {
        let rank = |status: u16| GRAVEST_FIRST.iter().position(|one| *one == status);
        let gravest = self.status.get().filter(|gravest| rank(*gravest) <= rank(status));
        self.status.set(Some(gravest.unwrap_or(status)));
        self.errors.add(make);
    }

    /// Adds a 400 error: `map` has no field `key`, but those of `names`; those that are `free` may have been meant.
    /// With `lists` the message says which there are.
    pub fn add_unknown(&self, map: &Place<'_>, key: &str, names: &[&str], free: &[&str], lists: bool) {
        self.add_at(400, || {
            let meant = meant_field(key, names, free);
            // Whoever has misspelt a required field has not left it out.
            self.misspelt.borrow_mut().extend(meant.map(|meant| map.key(meant).pointer()));
            unknown_field(&map.key(key), meant, names, lists)
        });
    }

    /// Adds a 404 error: what is referred to here is not there. A reference that was refused already is none.
    pub fn absent(&self, pointer: &str, message: impl Into<String>) {
        if !self.pointers().iter().any(|known| known == pointer) {
            self.add_at(404, || FieldError::new(pointer, "NotFound", message));
        }
    }

    /// Adds a 409 error: the state of something does not allow what is here.
    pub fn conflict(&self, pointer: impl Into<String>, code: &str, message: impl Into<String>) {
        self.add_at(409, || FieldError::new(pointer, code, message));
    }

    /// Adds what somebody else has found: its errors, or, of a problem as a whole, one at `pointer`.
    pub fn add_problem(&self, pointer: &str, problem: Problem) {
        let Problem { status, code, detail, errors, mut extra, .. } = problem;
        self.extra.borrow_mut().append(&mut extra);
        if errors.is_empty() {
            self.add_at(status, || FieldError::new(pointer, code, detail));
        } else {
            errors.into_iter().for_each(|error| self.add_at(status, || error));
        }
    }

    /// Adds what somebody else has found in this document without the values that were refused here already: that those
    /// are not there is not another error.
    pub fn add_rest(&self, problem: Problem) {
        let known: Vec<String> = self.pointers();
        let is_new = |error: &FieldError| {
            let is_below = |pointer: &String| {
                pointer.strip_prefix(error.pointer.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            let is_left_out = error.code == "Required" && known.iter().any(is_below);
            !is_left_out && !known.contains(&error.pointer)
        };
        let (mut errors, is_whole) = (problem.errors.clone(), problem.errors.is_empty());
        errors.retain(is_new);
        if is_whole || !errors.is_empty() {
            self.add_problem("", Problem { errors, ..problem });
        }
    }

    /// Adds all that `other` has found in the same document.
    pub fn append(&self, other: Self) {
        let Self { errors, status, misspelt, extra, warnings, warnings_left_out } = other;
        let status = status.get().unwrap_or(422);
        errors.kept.into_inner().into_iter().for_each(|error| self.add_at(status, || error));
        self.errors.left_out.set(self.errors.left_out.get() + errors.left_out.get());
        self.misspelt.borrow_mut().append(&mut misspelt.into_inner());
        self.extra.borrow_mut().append(&mut extra.into_inner());
        self.warnings.borrow_mut().append(&mut warnings.into_inner());
        self.warnings_left_out.set(self.warnings_left_out.get() + warnings_left_out.get());
    }

    /// Where the errors are.
    pub fn pointers(&self) -> Vec<String> {
        self.errors.kept.borrow().iter().map(|error| error.pointer.clone()).collect()
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
        !self.errors.is_empty()
    }

    /// Turns warnings into 422 errors: what `strict=true` asks for.
    #[must_use]
    pub fn strict(self) -> Self {
        let warnings = self.warnings.take();
        warnings.into_iter().for_each(|w| self.add(FieldError::new(w.pointer, w.code, w.message)));
        self
    }

    /// The value and the warnings, or the problem with all errors. `value` is `None` when something that it needs was
    /// refused.
    ///
    /// # Errors
    /// All errors, with the status of the gravest.
    pub fn finish<T>(self, value: Option<T>) -> Result<(T, Vec<Warning>), Problem> {
        if let Some(status) = self.status.get() {
            let misspelt = self.misspelt.into_inner();
            let is_missing = |error: &FieldError| error.code == "Required" && misspelt.contains(&error.pointer);
            self.errors.kept.borrow_mut().retain(|error| !is_missing(error));
            let mut problem = self.errors.problem(status);
            problem.extra.append(&mut self.extra.into_inner());
            return Err(problem);
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
    fn the_gravest_error_decides_the_status_and_none_is_left_for_another_round() {
        // Who mends one error and sends the document again would be told of the next.
        let findings = Findings::new();
        findings.conflict("/d", "ClusterNotReady", "cluster 'd': state deleting");
        findings.absent("/c", "cluster 'c' in workspace 'w'");
        findings.refuse("/b", "OutOfRange", "b: 7");
        findings.add_unknown(&Place::root(), "aa", &["a"], &["a"], false);
        findings.refuse("/a", "Required", "a: required");
        let problem = findings.finish(None::<()>).unwrap_err();
        let codes: Vec<&str> = problem.errors.iter().map(|error| error.code.as_str()).collect();
        assert_eq!((problem.status, codes), (400, vec!["UnknownField", "OutOfRange", "NotFound", "ClusterNotReady"]));
        assert_eq!(problem.code, "UnknownField");
        for (grave, status) in [("ClusterNotReady", 409), ("NotFound", 404), ("OutOfRange", 422)] {
            let findings = Findings::new();
            findings.conflict("/d", "ClusterNotReady", "cluster 'd': state deleting");
            if status != 409 {
                findings.absent("/c", "cluster 'c' in workspace 'w'");
            }
            if status == 422 {
                findings.refuse("/b", "OutOfRange", "b: 7");
            }
            assert_eq!(findings.finish(None::<()>).unwrap_err().status, status, "{grave}");
        }
    }

    #[test]
    fn what_was_left_out_because_it_is_wrong_is_not_missing_too() {
        // The same value would be told of twice, as wrong and as missing.
        let findings = Findings::new();
        findings.refuse("/job/command/0", "WrongType", "job.command[0]: expected a text, received 7");
        let rest = [("/job/command", "Required"), ("/job/cluster", "Required"), ("/job/command/0", "BadName")];
        let rest = rest.map(|(pointer, code)| FieldError::new(pointer, code, "wrong"));
        findings.add_rest(Problem::of_errors(422, rest.to_vec()));
        findings.add_rest(Problem::not_found("run", "run_1", "w"));
        let problem = findings.finish(None::<()>).unwrap_err();
        let errors: Vec<_> = problem.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        let expected = [("", "NotFound"), ("/job/cluster", "Required"), ("/job/command/0", "WrongType")];
        assert_eq!((problem.status, errors.as_slice()), (422, expected.as_slice()));
    }

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
