//! A `Problem` as a gRPC status and back: encoded in the status details, so that nothing is lost on the way to REST.

use prost::Message;
use tonic::{Code, Status};
use vocabulary::{FieldError, Problem};

use crate::problem as wire;

/// Characters of a text in a problem: what was received stands in some, and may be as long as a request.
const TEXT_MAX: usize = 1_000;
/// Bytes of a problem. It travels in the headers of an answer, which have a mebibyte in base64 with their frames: one
/// that is larger breaks the connection, with every other call on it.
const PROBLEM_BYTES_MAX: usize = 256 << 10;

/// A problem as it may be told: its texts are cut, and the errors left out that would make it too large.
pub fn bounded(problem: &Problem) -> Problem {
    let mut bounded = problem.clone();
    bounded.detail = cut(&problem.detail);
    for error in &mut bounded.errors {
        [&mut error.pointer, &mut error.message, &mut error.hint].into_iter().for_each(|text| *text = cut(text));
    }
    let mut bytes = 0;
    let fitting = bounded.errors.iter().take_while(|error| {
        bytes += error.pointer.len() + error.code.len() + error.message.len() + error.hint.len();
        bytes <= PROBLEM_BYTES_MAX
    });
    let fitting = fitting.count();
    if fitting < bounded.errors.len() {
        bounded.detail += &format!(" ({} more errors are left out)", bounded.errors.len() - fitting);
        bounded.errors.truncate(fitting);
    }
    bounded
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
    }
}

/// The status that carries a problem.
pub fn status_of(problem: &Problem) -> Status {
    let problem = &bounded(problem);
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
        extra_json: Some(serde_json::Value::Object(problem.extra.clone()).to_string())
            .filter(|json| !problem.extra.is_empty() && json.len() <= PROBLEM_BYTES_MAX)
            .unwrap_or_default(),
    };
    Status::with_details(code, cut(&problem.to_string()), details.encode_to_vec().into())
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
        // What the connection says of itself is no word of the service: nobody knows what became of the call.
        Code::ResourceExhausted if std::error::Error::source(status).is_none() => {
            Problem::overloaded(status.message(), 1)
        }
        Code::DeadlineExceeded => Problem::new(504, "Timeout", status.message()),
        Code::Unimplemented => Problem::new(501, "NotOfferedYet", status.message()),
        // A peer that cannot be reached shows as Unknown (transport error) or Unavailable.
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::ResourceExhausted => {
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
    fn a_problem_is_cut_to_what_the_headers_of_an_answer_can_carry() {
        // One that echoed a name of 900,000 characters broke the connection, and all calls on it with it.
        let long = "y\u{2028}".repeat(450_000);
        let errors = (0..400).map(|number| FieldError::new(format!("/{number}"), "BadName", long.clone()));
        let problem = Problem { errors: errors.collect(), detail: long.clone(), ..Problem::new(422, "BadName", "") };
        let status = status_of(&problem);
        assert!(status.details().len() < 400 << 10 && status.message().len() < 8 << 10, "{}", status.details().len());
        let told = problem_of(&status);
        assert!(told.detail.contains("(900000 characters)") && told.detail.ends_with("more errors are left out)"));
        assert!(told.errors.len() > 50 && told.errors[0].message.starts_with("y\u{2028}y"), "{}", told.errors.len());
        let short = Problem::new(404, "NotFound", "run 'r'");
        assert_eq!(bounded(&short), short);
    }

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
