//! What an answer of runs means for the agent: try again, leave this one out, or send no more at all.

use tonic::Status;
use vocabulary::Problem;

use crate::node::Node;

/// What to do after a refusal.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody has decided: the same must be sent again.
    Again,
    /// This content will never be taken.
    Skip(Problem),
    /// Nothing of this attempt will be taken any more.
    Over(Problem),
}

/// What an answer of runs means, which the node takes note of: see [`Node::note_runs`].
pub async fn of_runs<T>(node: &Node, answer: Result<T, Status>) -> Result<T, Refusal> {
    let read = answer.map_err(|status| (refusal(&status), status));
    let trouble = match &read {
        Err((Refusal::Again, status)) => Some(status),
        Ok(_) | Err(_) => None,
    };
    node.note_runs(trouble).await;
    read.map_err(|(refusal, _)| refusal)
}

/// Reads a status.
pub fn refusal(status: &Status) -> Refusal {
    let problem = contracts::problem_of(status);
    match (problem.status, problem.code.as_str()) {
        (_, "StaleAttempt" | "RunTerminal") | (404, _) => Refusal::Over(problem),
        (429 | 503 | 504, _) => {
            tracing::debug!("tried again: {problem}");
            Refusal::Again
        }
        (500.. | 401 | 403, _) => {
            tracing::warn!("tried again: {problem}");
            Refusal::Again
        }
        _ => Refusal::Skip(problem),
    }
}
