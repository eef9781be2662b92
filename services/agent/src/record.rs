//! What agent and shim write for each other (and for the agent that comes after): small JSON files in the attempt's
//! folder.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vocabulary::Clock;

/// `plan.json`: everything that the shim needs. It holds the run's token and is readable by the owner only.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// argv of the command.
    pub command: Vec<String>,
    /// argv of what comes before it; empty = nothing.
    pub prepare: Vec<String>,
    /// argv of what makes its Python environment; empty = nothing. It comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build: Vec<String>,
    /// What only the build has in its environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_environment: Vec<(String, String)>,
    /// The whole environment of the others.
    pub environment: Vec<(String, String)>,
    /// Where all run.
    pub working_folder: PathBuf,
}

/// `state.json`: which stage runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// preparing | running
    pub phase: String,
}

impl Stage {
    /// As compute calls it.
    pub fn known_phase(&self) -> &'static str {
        if self.phase == "preparing" { "preparing" } else { "running" }
    }
}

/// The reason of a stop by which nobody wants an end of the job: its attempt is not to go on here.
pub const FENCED: &str = "fenced";

/// `stop.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stop {
    /// Between SIGTERM and SIGKILL.
    pub grace_seconds: f64,
    /// canceled | stopped | fenced
    pub reason: String,
    /// Who wanted it.
    pub by: String,
    /// SWEEP@position, when a policy did.
    pub decision: String,
}

impl Stop {
    /// Between SIGTERM and SIGKILL.
    pub fn grace(&self) -> Duration {
        Duration::try_from_secs_f64(self.grace_seconds.max(0.0)).unwrap_or(Duration::ZERO)
    }
}

/// `preempt.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Preempt {
    /// RFC 3339: when the node goes, by this machine's clock.
    pub deadline: String,
    /// Why.
    pub reason: String,
    /// Seconds until then, when this was written: the machine's clock may be set in between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// Whether the whole installation is taken down: nobody took the node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_down: bool,
}

impl Preempt {
    /// How long the command may go on, from when it was written.
    pub fn left(&self) -> Duration {
        /// For a deadline that cannot be read.
        const DEFAULT: Duration = Duration::from_secs(30);
        if let Some(left) = self.seconds_left.and_then(|left| Duration::try_from_secs_f64(left.max(0.0)).ok()) {
            return left;
        }
        let Ok(deadline) = self.deadline.parse::<jiff::Timestamp>() else { return DEFAULT };
        Duration::try_from(deadline.duration_since(runtime::MachineClock.now())).unwrap_or(Duration::ZERO)
    }
}

/// `exit.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exit {
    /// prepare | run
    pub phase: String,
    /// Set when it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Set when a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub ended_at: String,
    /// An order to stop was passed on before the end.
    #[serde(default)]
    pub stopped: bool,
    /// A preemption notice was passed on before the end.
    #[serde(default)]
    pub preempted: bool,
    /// Why it could not be started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Exit {
    /// Whether it ended by itself and well.
    pub fn is_success(&self) -> bool {
        self.exit_code == Some(0)
    }
}
