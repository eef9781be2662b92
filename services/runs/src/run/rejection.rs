//! Why a wish about a run is refused, and how that is told.

use vocabulary::Problem;

use super::RunState;

/// Why a wish is refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// There is no such run in the workspace.
    NotFound {
        /// The run as it was named.
        run: String,
        /// The workspace asked.
        workspace: String,
    },
    /// The run's id is taken by another run.
    Exists {
        /// The run.
        run: String,
    },
    /// It would begin below a run that was canceled with everything in it.
    ParentCanceled {
        /// The canceled run.
        canceled: String,
    },
    /// It would begin below a run that is nested as deep as runs may be.
    TooDeep {
        /// That run.
        parent: String,
        /// How many runs are above it.
        depth: i64,
        /// How many may be above a run.
        most: i64,
    },
    /// The attempt is not the current one any more.
    StaleAttempt {
        /// The attempt that was named.
        attempt: u32,
        /// The current one.
        current: u32,
    },
    /// The news of this attempt has not arrived from compute yet.
    EarlyAttempt {
        /// The attempt that was named.
        attempt: u32,
        /// The current one.
        current: u32,
    },
    /// The attempt has ended, and its run waits.
    AttemptHeld {
        /// The attempt.
        attempt: u32,
    },
    /// Runs with a job are written to by one of their attempts.
    AttemptRequired,
    /// The run is over.
    Terminal {
        /// Its state.
        state: RunState,
    },
    /// What is to be deleted still lives.
    NotEnded,
    /// The state of a run with a job is its job's.
    HasJob,
    /// A parameter has another value already.
    ImmutableParam {
        /// The parameter.
        name: String,
        /// Its value.
        recorded: String,
    },
    /// With what was added it would have too many of them.
    TooManyTexts {
        /// Parameters or tags.
        field: &'static str,
        /// What is too much.
        surplus: String,
    },
    /// The watched key has another value at this step.
    ConflictingPoint {
        /// The key.
        metric: String,
        /// The step.
        step: i64,
        /// The value that is there.
        recorded: f64,
        /// The value that came.
        received: f64,
    },
    /// A batch of the writer is missing before this one.
    SequenceGap {
        /// The writer.
        writer: String,
        /// The sequence that comes next.
        expected: i64,
        /// The sequence that came.
        received: i64,
    },
    /// Log bytes are missing before these.
    OffsetGap {
        /// The offset that comes next.
        expected: u64,
        /// The offset that came.
        received: u64,
    },
}

fn parent_canceled(canceled: &str) -> Problem {
    let detail = format!(
        "run '{canceled}' was canceled with everything nested in it; create the run below another parent, or without \
         parent_run_id"
    );
    Problem::conflict("ParentCanceled", detail).with("canceled_run", canceled.to_owned())
}

fn too_deep(parent: &str, depth: i64, most: i64) -> Problem {
    let detail = format!(
        "run '{parent}' has {depth} runs above it, and a run may have {most}; create the run below one further up, or \
         without parent_run_id"
    );
    Problem::invalid("/parent_run_id", "TooDeep", detail)
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound { run, workspace } => Self::not_found("run", &run, &workspace),
            Rejection::Exists { run } => Self::conflict("RunExists", format!("run '{run}' exists; ids are used once")),
            Rejection::ParentCanceled { canceled } => parent_canceled(&canceled),
            Rejection::TooDeep { parent, depth, most } => too_deep(&parent, depth, most),
            Rejection::NotEnded => Self::conflict("WrongState", "the run has not ended"),
            Rejection::TooManyTexts { field, surplus } => {
                Self::invalid(&format!("/{field}"), "TooLarge", format!("with these the run's {field} have {surplus}"))
            }
            Rejection::StaleAttempt { attempt, current } => Self::conflict(
                "StaleAttempt",
                format!("attempt {attempt} may not write any more; the run is at attempt {current}"),
            )
            .with("current_attempt", current),
            Rejection::EarlyAttempt { attempt, current } => Self::unavailable(
                "AttemptNotKnownYet",
                format!("attempt {attempt} has not been announced yet, the run is at attempt {current}; try again"),
                1,
            )
            .with("current_attempt", current),
            Rejection::AttemptHeld { attempt } => Self::conflict(
                "StaleAttempt",
                format!(
                    "attempt {attempt} has ended; its run waits until its sweep lets it go on, with another attempt"
                ),
            )
            .with("current_attempt", attempt),
            Rejection::AttemptRequired => {
                Self::invalid("/attempt", "Required", "attempt: required for a run with a job; send TRIALOG_ATTEMPT")
            }
            Rejection::Terminal { state } => {
                let detail = format!("the run has ended ({state}) and takes nothing more");
                Self::conflict("RunTerminal", detail).with("state", state.to_string())
            }
            Rejection::HasJob => Self::conflict(
                "DrivenByJob",
                "the state of a run with a job follows its job; end it with runs/{run}:cancel",
            ),
            Rejection::ImmutableParam { name, recorded } => Self::conflict(
                "ImmutableParam",
                format!("param '{name}' is {recorded:?} and cannot be changed; log it under another name or as a tag"),
            ),
            Rejection::ConflictingPoint { metric, step, recorded, received } => Self::conflict(
                "ConflictingPoint",
                format!(
                    "{metric} at step {step} is {recorded}, now {received} was sent; send a new step for a new value"
                ),
            )
            .with("metric", metric)
            .with("step", step),
            Rejection::SequenceGap { writer, expected, received } => Self::conflict(
                "SequenceGap",
                format!(
                    "writer '{writer}' sent batch {received}, batch {expected} is next; send the missing ones first"
                ),
            )
            .with("expected", expected),
            Rejection::OffsetGap { expected, received } => Self::conflict(
                "OffsetGap",
                format!("log bytes from offset {received} were sent, {expected} is next; send the missing ones first"),
            )
            .with("expected", expected),
        }
    }
}
