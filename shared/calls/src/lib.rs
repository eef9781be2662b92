//! From a call to a command and back: contexts, refusals and pages, the same in every service. It knows no message's
//! content.

mod page;

use std::time::Duration;

use contracts::CallContext;
use contracts::feed::Fact;
use eventlog::{Context, EventLog, ExecuteError};
use tonic::Status;
use vocabulary::{Entropy, Problem};

pub use page::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Page, page};

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

/// Any storage error of a read, as a status.
pub fn unreadable(error: impl std::fmt::Display) -> Status {
    contracts::status_of(&Problem::unavailable("LogUnavailable", error.to_string(), 1))
}

/// Waits until the log has the position that the caller has seen.
///
/// # Errors
/// 503 with Retry-After when it does not come in time: never stale silently.
pub async fn at_least(log: &EventLog, call: &CallContext) -> Result<(), Status> {
    let Some(position) = call.at_least else { return Ok(()) };
    log.wait_for(position, AT_LEAST_WAIT).await.map_err(|_| {
        let detail = format!("position {position} is not here yet; try again");
        contracts::status_of(&Problem::unavailable("NotThereYet", detail, 1))
    })
}
