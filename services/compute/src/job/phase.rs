//! Where a job stands.

use vocabulary::job::AttemptPhase;

/// Where a job stands. The order is the way of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobPhase {
    /// It never was.
    #[default]
    Absent,
    /// It waits at a rung of its sweep, and holds nothing.
    Held,
    /// It waits for a node.
    Queued,
    /// It has a node, whose agent has not answered yet.
    Placed,
    /// The agent has taken it.
    Starting,
    /// Its preparation runs.
    Preparing,
    /// Its command runs.
    Running,
    /// Its outputs are uploaded.
    Finalizing,
    /// It is over.
    Ended,
}

impl From<AttemptPhase> for JobPhase {
    fn from(phase: AttemptPhase) -> Self {
        match phase {
            AttemptPhase::Starting => Self::Starting,
            AttemptPhase::Preparing => Self::Preparing,
            AttemptPhase::Running => Self::Running,
            AttemptPhase::Finalizing => Self::Finalizing,
        }
    }
}

impl JobPhase {
    /// Whether an attempt lives.
    pub fn is_live(self) -> bool {
        (Self::Placed..=Self::Finalizing).contains(&self)
    }
}
