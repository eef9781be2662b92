//! How an attempt of a job goes, how it ends, and what follows.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// What became of an attempt or a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// The command has ended well.
    Completed,
    /// It has not.
    Failed,
    /// It was to end, and did.
    Canceled,
    /// Its node was taken away with a notice.
    Preempted,
    /// Nobody knows what became of it.
    Lost,
}

/// How far an attempt has come. The order is its way.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display, EnumString, VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptPhase {
    /// The node's agent has taken it.
    Starting,
    /// Its preparation runs.
    Preparing,
    /// Its command runs.
    Running,
    /// Its outputs are uploaded.
    Finalizing,
}

/// How far an attempt had come when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EndPhase {
    /// It was made ready.
    Prepare,
    /// Its command ran.
    Run,
    /// Its outputs were uploaded.
    Finalize,
}

/// The reason of an attempt that was preempted since its whole installation was taken down: no provider took its node.
pub const TAKEN_DOWN: &str = "taken_down";

/// Who or what wants a job to end, or to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StopBy {
    /// A stopping policy.
    Policy,
    /// A user.
    User,
    /// The sweep was canceled, or has failed.
    Sweep,
    /// The sweep's time is up.
    SweepTimeout,
    /// The trial's time is up.
    TrialTimeout,
    /// A trial of the sweep has reached the target.
    TargetReached,
    /// It has come as far as its policy lets any trial come.
    MaxResource,
    /// It only waits: at a rung of its sweep.
    Rung,
    /// It only waits: its sweep is paused.
    Pause,
    /// Its deployment needs the replica no longer.
    Deployment,
    /// Its cluster was deleted.
    Cluster,
}

impl StopBy {
    /// Whether the wish is only that the job waits.
    pub fn holds(self) -> bool {
        matches!(self, Self::Rung | Self::Pause)
    }
}

/// Why a job is queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RequeueCause {
    /// Its node was taken away with a notice.
    Preempted,
    /// Nobody knows what became of the attempt.
    Lost,
    /// The attempt has failed and may be tried again.
    Retry,
    /// It waited at a rung of its sweep and was promoted.
    Promoted,
    /// It waited while its sweep was paused, which goes on.
    Resumed,
}

/// How an attempt or a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEnd {
    /// What became of it.
    pub outcome: Outcome,
    /// How far it had come, when it had begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<EndPhase>,
    /// Why, in a word: exit_code, signal, out_of_memory, lost, checkpoint, …; empty when there is nothing to say.
    pub reason: String,
    /// The exit code, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal, when one ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Last lines of the standard error, at most 4 KiB.
    pub stderr_tail: String,
    /// Who wanted it, of Canceled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<StopBy>,
    /// SWEEP@position of a policy's decision, else empty.
    pub decision: String,
    /// Seconds since the last checkpoint file was written, when there is one; finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_age_seconds: Option<f64>,
    /// Why what belongs to the best value was not kept, in words; empty where it was, or nobody wished for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unkept: String,
}

impl JobEnd {
    /// An end of which nothing else is known.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            phase: None,
            reason: String::new(),
            exit_code: None,
            signal: None,
            stderr_tail: String::new(),
            by: None,
            decision: String::new(),
            checkpoint_age_seconds: None,
            unkept: String::new(),
        }
    }
}
