//! From a call to a command and back: contexts, refusals and pages, the same in every service. It knows no message's
//! content.

mod begun;
mod page;

use std::time::Duration;

use contracts::CallContext;
use contracts::feed::Fact;
use eventlog::{Context, EventLog, ExecuteError};
use tonic::Status;
use vocabulary::{Entropy, Problem};

pub use begun::begun;
pub use page::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, bad_token, page, page_of};

/// How long a read waits for the position that the caller has seen, before 503.
const AT_LEAST_WAIT: Duration = Duration::from_secs(2);

/// The command context of a call. Calls without a command id get a new one: each is a command of its own.
pub fn context(call: &CallContext, entropy: &dyn Entropy, reply: Vec<u8>) -> Context {
    Context {
        command_id: call.command_id.unwrap_or_else(|| entropy.uuid()),
        request_hash: call.request_hash,
        actor: call.actor.clone(),
        request_id: call.request_id.clone(),
        causation: None,
        traceparent: Some(call.traceparent.clone()).filter(|trace| !trace.is_empty()),
        expected_version: call.expected_version,
        reply,
    }
}

/// The reply that is kept of a command that has made something: a repeat is answered as the first time.
pub const MADE: &[u8] = b"made";

/// The reply of a command whose events make something, or do not.
pub fn made(is_made: bool) -> Vec<u8> {
    if is_made { MADE.to_vec() } else { Vec::new() }
}

/// The command context of a reaction: its id is made of the fact, so that a second delivery changes nothing.
pub fn reaction_context(fact: &Fact, reaction: &str) -> Context {
    Context {
        command_id: eventlog::command_id(&fact.source, fact.position, reaction),
        request_hash: None,
        actor: format!("reaction:{reaction}"),
        request_id: fact.request_id.clone(),
        causation: Some(format!("{}:{}", fact.source, fact.position)),
        traceparent: Some(fact.traceparent.clone()).filter(|trace| !trace.is_empty()),
        expected_version: None,
        reply: Vec::new(),
    }
}

/// Why a command did not go through, as a problem.
pub fn problem<R: Into<Problem>>(error: ExecuteError<R>) -> Problem {
    error.into_problem(R::into)
}

/// Why a command did not go through, as a status.
pub fn refused<R: Into<Problem>>(error: ExecuteError<R>) -> Status {
    contracts::status_of(&problem(error))
}

/// How a read of something stored fails.
pub trait ReadFailure {
    /// As users see it.
    fn problem(&self) -> Problem;
}

impl ReadFailure for eventlog::Error {
    fn problem(&self) -> Problem {
        self.problem()
    }
}

/// What was stored is no message.
impl ReadFailure for prost::DecodeError {
    fn problem(&self) -> Problem {
        eventlog::Error::Decode(self.to_string()).problem()
    }
}

/// A file of the data folder: a disk that fails now may work later.
impl ReadFailure for std::io::Error {
    fn problem(&self) -> Problem {
        Problem::unavailable("LogUnavailable", self.to_string(), 1)
    }
}

/// Why something stored cannot be read, as a status: 503 for what passes by itself, such as a busy store, 500 for what
/// does not, such as a row that cannot be decoded. Nobody should try that again and again.
pub fn unreadable(error: impl ReadFailure) -> Status {
    let problem = error.problem();
    if !problem.passes_by_itself() {
        tracing::error!("what is stored cannot be read: {problem}");
    }
    contracts::status_of(&problem)
}

/// Waits until the log has the position that the caller has seen.
///
/// # Errors
/// 503 with Retry-After when it does not come in time: never stale silently.
pub async fn at_least(log: &EventLog, call: &CallContext) -> Result<(), Status> {
    let Some(position) = call.at_least else { return Ok(()) };
    log.wait_for(position, AT_LEAST_WAIT).await.map_err(|error| match error {
        eventlog::Error::Behind { head, .. } => {
            let detail = format!(
                "position {position} is not here yet, this service is at {head}; try again. Positions are of the \
                 service that has answered with them"
            );
            contracts::status_of(&Problem::unavailable("NotThereYet", detail, 1))
        }
        error => unreadable(error),
    })
}

#[cfg(test)]
mod tests {
    use eventlog::Error;
    use prost::Message;

    use super::*;

    #[test]
    fn a_damaged_row_is_not_said_to_pass_by_itself() {
        // Clients and followers would ask for it for ever, and nobody would be told what is damaged where.
        let damaged = contracts::problem_of(&unreadable(Error::Decode("a row of runs: no such field".to_owned())));
        assert_eq!((damaged.status, damaged.code.as_str(), damaged.retry_after_seconds), (500, "DataCorrupt", None));
        assert!(damaged.detail.contains("a row of runs: no such field"), "{damaged}");
        let no_message = contracts::feed::Fact::decode(&b"\xff"[..]).unwrap_err();
        assert_eq!(contracts::problem_of(&unreadable(no_message)).code, "DataCorrupt");
        let busy = contracts::problem_of(&unreadable(Error::Behind { wanted: 7, head: 6 }));
        assert_eq!((busy.status, busy.retry_after_seconds), (503, Some(1)));
        assert_eq!(busy.code, "PositionNotReached");
        assert_eq!(busy.detail, "position 7 was asked for, 6 is reached; try again shortly");
        assert_eq!(contracts::problem_of(&unreadable(Error::Closed)).status, 503);
        assert_eq!(contracts::problem_of(&unreadable(Error::Panicked("as it should".to_owned()))).status, 500);
    }
}
