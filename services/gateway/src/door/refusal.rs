//! A problem on its way out: RFC 9457, the same form for every refusal.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use vocabulary::Problem;

/// The media type of problems.
const PROBLEM_JSON: &str = "application/problem+json";

/// What handlers return.
pub type Reply = Result<HttpResponse, Refusal>;

/// Why a request is refused.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<tonic::Status> for Refusal {
    fn from(status: tonic::Status) -> Self {
        Self(contracts::problem_of(&status))
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        render(&self.0, "")
    }
}

/// The answer that says what is wrong. Actix gives no request to errors, so `observe` renders them again with the
/// request's id.
pub fn render(problem: &Problem, request_id: &str) -> HttpResponse {
    let problem = &contracts::bounded(problem);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    response.content_type(PROBLEM_JSON);
    if let Some(seconds) = problem.retry_after_seconds {
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some(methods) = problem.extra.get("allowed").and_then(serde_json::Value::as_array) {
        let methods: Vec<_> = methods.iter().filter_map(serde_json::Value::as_str).collect();
        response.insert_header((ALLOW, methods.join(", ")));
    }
    response.body(document(problem, request_id).to_string())
}

fn document(problem: &Problem, request_id: &str) -> serde_json::Value {
    // Extras first: none of them may hide a member that every problem has.
    let mut document = problem.extra.clone();
    let errors: Vec<_> = problem.errors.iter().map(|error| serde_json::to_value(error).unwrap_or_default()).collect();
    for (member, value) in [
        ("type", format!("/docs/problems#{}", problem.code).into()),
        ("title", title(&problem.code).into()),
        ("status", problem.status.into()),
        ("code", problem.code.clone().into()),
        ("detail", problem.detail.clone().into()),
        ("errors", errors.into()),
        ("request_id", request_id.into()),
    ] {
        document.insert(member.to_owned(), value);
    }
    if let Some(seconds) = problem.retry_after_seconds {
        document.insert("retry_after_seconds".to_owned(), seconds.into());
    }
    serde_json::Value::Object(document)
}

/// `UnsupportedMediaType` as people say it: "Unsupported media type".
fn title(code: &str) -> String {
    let mut text = String::with_capacity(code.len() + 4);
    for character in code.chars() {
        if character.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
            text.push(character.to_ascii_lowercase());
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_all_members_and_its_extras() {
        let mut problem = Problem::conflict("StaleAttempt", "attempt 1 is fenced").with("current_attempt", 2);
        problem = problem.with("code", "an extra must not hide this");
        let document = document(&problem, "R1");
        assert_eq!(document["type"], "/docs/problems#StaleAttempt");
        assert_eq!(document["title"], "Stale attempt");
        assert_eq!(document["code"], "StaleAttempt");
        assert_eq!(document["current_attempt"], 2);
        assert_eq!(document["request_id"], "R1");
        assert_eq!(document["errors"], serde_json::json!([]));
    }

    #[test]
    fn retry_after_is_a_header_too() {
        let response = render(&Problem::overloaded("full", 3), "R1");
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "3");
    }
}
