//! Who may write of a run, and what counts of it. What an attempt wrote before its end belongs to it, whenever it
//! comes: the fence is before decisions, never before data. Only the agent of the attempt's node can know what was
//! written before the end; whoever else comes late is refused.

use super::{Rejection, Run, RunState};

/// Who writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Writer {
    /// A user, a client, another service.
    #[default]
    Client,
    /// Whoever holds the token of this attempt.
    Attempt(u32),
    /// The agent of this node, which has proved it.
    Agent(String),
}

/// What becomes of an attempt's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// They are of the attempt that lives: they count.
    Live(u32),
    /// They were written before the end of an attempt that is over: they are kept, and nothing is decided on them.
    Late(u32),
}

impl Run {
    /// What becomes of data that a writer has of an attempt.
    ///
    /// # Errors
    /// When the run is not in the workspace, or a writer that is not the attempt's own agent comes too late.
    pub fn admit(&self, workspace: &str, run: &str, attempt: u32, writer: &Writer) -> Result<Admitted, Rejection> {
        if let Writer::Agent(node) = writer {
            self.in_workspace(workspace, run)?;
            let current = self.attempt;
            // What its own node does not run an agent has no business with.
            if !self.has_job() {
                return Err(Rejection::NotFound { run: run.to_owned(), workspace: workspace.to_owned() });
            }
            return match attempt {
                attempt if !self.is_of_node(attempt, node) => Err(Rejection::StaleAttempt { attempt, current }),
                attempt if attempt > current => Err(Rejection::EarlyAttempt { attempt, current }),
                attempt if self.is_over(attempt) => Ok(Admitted::Late(attempt)),
                attempt => Ok(Admitted::Live(attempt)),
            };
        }
        let attempt = if let Writer::Attempt(own) = writer { *own } else { attempt };
        self.fence(workspace, run, attempt).map(Admitted::Live)
    }

    /// The attempt that writes, when it may.
    ///
    /// # Errors
    /// When the run is not in the workspace or over, or the attempt is not the current one.
    pub fn fence(&self, workspace: &str, run: &str, attempt: u32) -> Result<u32, Rejection> {
        self.in_workspace(workspace, run)?;
        let current = self.attempt;
        if attempt == 0 && self.has_job() {
            return Err(Rejection::AttemptRequired);
        }
        if attempt != 0 && (attempt < current || (attempt > current && !self.has_job())) {
            return Err(Rejection::StaleAttempt { attempt, current });
        }
        if let Some(state) = self.ended() {
            return Err(Rejection::Terminal { state });
        }
        if attempt > current {
            return Err(Rejection::EarlyAttempt { attempt, current });
        }
        if self.state == Some(RunState::Paused) {
            return Err(Rejection::AttemptHeld { attempt });
        }
        Ok(current)
    }

    /// Whether there is such a run in the workspace.
    ///
    /// # Errors
    /// When there is none; runs of other workspaces are not told from absent ones.
    pub fn in_workspace(&self, workspace: &str, run: &str) -> Result<(), Rejection> {
        if self.state.is_some() && self.subject.workspace == workspace && self.details.deleted_us.is_none() {
            return Ok(());
        }
        Err(Rejection::NotFound { run: run.to_owned(), workspace: workspace.to_owned() })
    }

    fn is_over(&self, attempt: u32) -> bool {
        attempt < self.attempt || self.ended().is_some() || self.state == Some(RunState::Paused)
    }

    /// Whether the attempt ran on the node; one of which nobody has told yet where it runs may be anywhere.
    fn is_of_node(&self, attempt: u32, node: &str) -> bool {
        let known = self.details.attempts.iter().find(|known| known.number == attempt && !known.node.is_empty());
        attempt > 0 && known.is_none_or(|known| known.node == node)
    }
}

/// Whether an attempt's token is still good for anything, by what the run's row shows. One that is ahead of the row is
/// on its way to it.
///
/// # Errors
/// When the attempt is over.
pub fn token_is_good(state: RunState, current: u32, attempt: u32) -> Result<(), Rejection> {
    if attempt < current {
        return Err(Rejection::StaleAttempt { attempt, current });
    }
    if state.is_terminal() {
        return Err(Rejection::Terminal { state });
    }
    if state == RunState::Paused && attempt == current {
        return Err(Rejection::AttemptHeld { attempt });
    }
    Ok(())
}
