//! A `Problem` as a gRPC status and back: encoded in the status details, so that nothing is lost on the way to REST.

use prost::Message;
use tonic::{Code, Status};
use vocabulary::{FieldError, Problem};

use crate::problem as wire;

/// The status that carries a problem.
pub fn status_of(problem: &Problem) -> Status {
    let code = match problem.status {
        400 | 413 | 415 | 422 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 | 412 => Code::FailedPrecondition,
        429 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    let errors = problem.errors.iter().map(|error| wire::FieldError {
        pointer: error.pointer.clone(),
        code: error.code.clone(),
        message: error.message.clone(),
        hint: error.hint.clone(),
    });
    let details = wire::Problem {
        status: u32::from(problem.status),
        code: problem.code.clone(),
        detail: problem.detail.clone(),
        errors: errors.collect(),
        retry_after_seconds: problem.retry_after_seconds,
        extra_json: if problem.extra.is_empty() {
            String::new()
        } else {
            serde_json::Value::Object(problem.extra.clone()).to_string()
        },
    };
    Status::with_details(code, problem.to_string(), details.encode_to_vec().into())
}

/// The problem that a status carries; a plain status becomes one of its own.
pub fn problem_of(status: &Status) -> Problem {
    if let Ok(details) = wire::Problem::decode(status.details())
        && details.status >= 400
    {
        let errors = details.errors.into_iter().map(|error| FieldError {
            pointer: error.pointer,
            code: error.code,
            message: error.message,
            hint: error.hint,
        });
        return Problem {
            status: u16::try_from(details.status).unwrap_or(500),
            code: details.code,
            detail: details.detail,
            errors: errors.collect(),
            retry_after_seconds: details.retry_after_seconds,
            extra: serde_json::from_str(&details.extra_json).unwrap_or_default(),
        };
    }
    match status.code() {
        Code::InvalidArgument => Problem::new(422, "Invalid", status.message()),
        Code::NotFound => Problem::new(404, "NotFound", status.message()),
        Code::Unauthenticated => Problem::new(401, "Unauthenticated", status.message()),
        Code::PermissionDenied => Problem::new(403, "Forbidden", status.message()),
        Code::FailedPrecondition | Code::OutOfRange => Problem::new(412, "FailedPrecondition", status.message()),
        Code::ResourceExhausted => Problem::overloaded(status.message(), 1),
        Code::DeadlineExceeded => Problem::new(504, "Timeout", status.message()),
        Code::Unimplemented => Problem::new(501, "NotOfferedYet", status.message()),
        // A peer that cannot be reached shows as Unknown (transport error) or Unavailable.
        Code::Unavailable | Code::Unknown | Code::Cancelled => {
            Problem::unavailable("ServiceUnavailable", format!("a service did not answer: {}", status.message()), 1)
        }
        _ => Problem::internal(status.message()),
    }
}

impl From<&wire::Warning> for vocabulary::Warning {
    fn from(warning: &wire::Warning) -> Self {
        Self { code: warning.code.clone(), pointer: warning.pointer.clone(), message: warning.message.clone() }
    }
}

impl From<vocabulary::Warning> for wire::Warning {
    fn from(warning: vocabulary::Warning) -> Self {
        Self { code: warning.code, pointer: warning.pointer, message: warning.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_answers_over_grpc_alone_is_a_problem_with_its_words() {
        // A client would be told "internal", and nobody whether to ask again or what to change.
        let cases = [
            (Code::DeadlineExceeded, 504, "Timeout", None),
            (Code::Unavailable, 503, "ServiceUnavailable", Some(1)),
            (Code::Unknown, 503, "ServiceUnavailable", Some(1)),
            (Code::InvalidArgument, 422, "Invalid", None),
        ];
        for (code, status, expected, retry) in cases {
            let problem = problem_of(&Status::new(code, "compute: received 7, allowed are 1 to 3"));
            let found = (problem.status, problem.code.as_str(), problem.retry_after_seconds);
            assert_eq!(found, (status, expected, retry), "{problem}");
            assert!(problem.detail.contains("received 7, allowed are 1 to 3"), "{problem}");
        }
    }
}
