//! What is wrong, said once for every door: RFC 9457 in REST, status details in gRPC, a sentence in the CLI.

use serde::{Deserialize, Serialize};

/// One thing that is wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// RFC 6901 pointer to the value; empty for the whole document.
    pub pointer: String,
    /// Stable, PascalCase.
    pub code: String,
    /// Names the field, the value received and what is allowed.
    pub message: String,
    /// How to fix it, when that is more than the message says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl FieldError {
    /// An error without a hint.
    pub fn new(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), message: message.into(), hint: String::new() }
    }

    /// Adds the fix.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Something that is accepted but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Stable, PascalCase.
    pub code: String,
    /// RFC 6901 pointer.
    pub pointer: String,
    /// What will happen, and what was perhaps meant.
    pub message: String,
}

/// Most errors in one answer: far more than anybody reads, and few enough to travel in the headers of a gRPC answer.
pub const ERRORS_MAX: usize = 200;

/// A refusal: an HTTP status, a stable code, and every error that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status; the gRPC code follows from it.
    pub status: u16,
    /// The first error's code.
    pub code: String,
    /// One sentence: what was wrong, what was received, how to fix it.
    pub detail: String,
    /// All errors, ordered by the bytes of their pointers.
    #[serde(default)]
    pub errors: Vec<FieldError>,
    /// When trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
    /// Machine-readable extras, e.g. `{"current_attempt": 2}`; an object.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Problem {
    /// A problem of the whole request.
    pub fn new(status: u16, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_seconds: None,
            extra: serde_json::Map::new(),
        }
    }

    /// A problem made of a document's errors, sorted; beyond [`ERRORS_MAX`] they are only counted.
    pub fn of_errors(status: u16, errors: Vec<FieldError>) -> Self {
        Self::of_errors_and_more(status, errors, 0)
    }

    /// The same with the number of errors that were found and not kept.
    pub fn of_errors_and_more(status: u16, mut errors: Vec<FieldError>, not_kept: usize) -> Self {
        errors.sort_by(|a, b| a.pointer.as_bytes().cmp(b.pointer.as_bytes()));
        let others = (errors.len() + not_kept).saturating_sub(1);
        let (code, detail) = match errors.first() {
            None => ("Invalid".to_owned(), "the document is invalid".to_owned()),
            Some(only) if others == 0 => (only.code.clone(), only.message.clone()),
            Some(first) => (first.code.clone(), format!("{} (and {others} more)", first.message)),
        };
        let left_out = not_kept + errors.len().saturating_sub(ERRORS_MAX);
        errors.truncate(ERRORS_MAX);
        let problem = Self { errors, ..Self::new(status, code, detail) };
        if left_out > 0 { problem.with("errors_left_out", left_out) } else { problem }
    }

    /// 404 for a thing of a workspace.
    pub fn not_found(what: &str, name: &str, workspace: &str) -> Self {
        Self::new(404, "NotFound", format!("{what} '{name}' in workspace '{workspace}'"))
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(409, code, detail)
    }

    /// 422 about one field.
    pub fn invalid(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self::of_errors(422, vec![FieldError::new(pointer, code, message)])
    }

    /// 429: refused, not queued.
    pub fn overloaded(detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self { retry_after_seconds: Some(retry_after_seconds), ..Self::new(429, "Overloaded", detail) }
    }

    /// 503: not now.
    pub fn unavailable(code: &str, detail: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self { retry_after_seconds: Some(retry_after_seconds), ..Self::new(503, code, detail) }
    }

    /// 500 with what happened; the cause belongs into the log, not here.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(500, "Internal", detail)
    }

    /// Whether it is a state that passes by itself, as an overload does: the same request may go through later. Every
    /// other problem comes again with the request, a failure inside the service (500) too.
    pub fn passes_by_itself(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }

    /// Adds a machine-readable extra.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}
