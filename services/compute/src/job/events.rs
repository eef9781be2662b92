//! What can happen to a job. Private: others see the facts of `publish.rs`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vocabulary::NodeId;
use vocabulary::job::{AttemptPhase, JobEnd, JobSpec, RequeueCause, StopBy, upcast_end, upcast_spec};

/// Whose job it is; in every event, so that each can be told to others by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKey {
    /// The workspace.
    pub workspace: String,
    /// The run; empty in a service job.
    pub run_id: String,
    /// The cluster.
    pub cluster: String,
}

/// The job waits for a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobQueued {
    /// Whose it is.
    pub job: JobKey,
    /// What it is.
    pub spec: JobSpec,
    /// `JobPlaced` follows in the same commit: it never waited.
    pub placed: bool,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// An attempt was given a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlaced {
    /// Whose it is.
    pub job: JobKey,
    /// Counts from 1.
    pub attempt: u32,
    /// The node.
    pub node_id: NodeId,
    /// Why this job on this node now.
    pub reason: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The attempt has come further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPhaseChanged {
    /// Whose it is.
    pub job: JobKey,
    /// The attempt.
    pub attempt: u32,
    /// How far.
    pub phase: AttemptPhase,
    /// Its node.
    pub node_id: NodeId,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The attempt has ended and the job waits again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRequeued {
    /// Whose it is.
    pub job: JobKey,
    /// The attempt that has ended.
    pub attempt: u32,
    /// The attempt that comes.
    pub next_attempt: u32,
    /// Why.
    pub cause: RequeueCause,
    /// How it ended.
    pub end: JobEnd,
    /// Where it ran.
    pub node_id: NodeId,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// Somebody wants the job to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequested {
    /// Whose it is.
    pub job: JobKey,
    /// Who or what; rung and pause: it is only held.
    pub by: StopBy,
    /// Of a policy: SWEEP@position.
    pub decision: String,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The attempt has ended as was wished, and the job waits for its sweep to let it go on or end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobHeld {
    /// Whose it is.
    pub job: JobKey,
    /// The attempt that has ended.
    pub attempt: u32,
    /// How it ended.
    pub end: JobEnd,
    /// Where it ran.
    pub node_id: NodeId,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// A job that is held, or is about to be, goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReleased {
    /// Whose it is.
    pub job: JobKey,
    /// Microseconds since 1970.
    pub at_us: i64,
}

/// The job has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEnded {
    /// Whose it is.
    pub job: JobKey,
    /// The last attempt.
    pub attempt: u32,
    /// How it ended.
    pub end: JobEnd,
    /// Where it ran; absent when it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Microseconds since 1970.
    pub at_us: i64,
}

vocabulary::stored_events! {
    /// What can happen to a job.
    pub enum JobEvent {
        JobQueued: 3 upcast queued, JobPlaced: 1, JobPhaseChanged: 1, JobRequeued: 2 upcast ended, StopRequested: 1,
        JobHeld: 2 upcast ended, JobReleased: 1, JobEnded: 2 upcast ended,
    }
}

/// Until schema 2 the job was a protobuf message as JSON; until schema 3 nothing was said of what follows in the same
/// commit, or only that it does.
fn queued(event: &mut Value, schema: i16) -> Result<(), String> {
    if schema < 2 {
        event.get_mut("spec").map_or(Ok(()), upcast_spec)?;
    }
    if let Some(event) = event.as_object_mut() {
        event.entry("placed").or_insert(Value::Bool(false));
    }
    Ok(())
}

/// Until schema 2 the end was a protobuf message as JSON.
fn ended(event: &mut Value, _schema: i16) -> Result<(), String> {
    event.get_mut("end").map_or(Ok(()), upcast_end)
}
