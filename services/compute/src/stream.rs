//! What the streams of the log are called, and what an event of any of them says.

use eventlog::RecordedEvent;
use vocabulary::JobId;

use crate::cluster::ClusterEvent;
use crate::job::{self, JobEvent};

/// A cluster by its workspace and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName {
    /// The workspace.
    pub workspace: String,
    /// The name.
    pub name: String,
}

impl ClusterName {
    /// A cluster of a workspace.
    pub fn new(workspace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { workspace: workspace.into(), name: name.into() }
    }

    /// Its stream. Neither name holds a '/'.
    pub fn stream(&self) -> String {
        format!("cluster-{}/{}", self.workspace, self.name)
    }

    /// The cluster of a stream; `None` when it is another aggregate's.
    pub fn of_stream(stream: &str) -> Option<Self> {
        let (workspace, name) = stream.strip_prefix("cluster-")?.split_once('/')?;
        Some(Self::new(workspace, name))
    }
}

/// An event of one of the aggregates that the scheduler knows.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack")]
pub enum Change {
    /// Of a cluster.
    Cluster(ClusterName, ClusterEvent),
    /// Of a job.
    Job(JobId, JobEvent),
}

impl Change {
    /// Reads an event; `None` when it is of another aggregate.
    ///
    /// # Errors
    /// When the event cannot be read.
    pub fn of(event: &RecordedEvent) -> Result<Option<Self>, eventlog::Error> {
        if let Some(job_id) = job::of_stream(&event.stream) {
            return Ok(Some(Self::Job(job_id, event.decode()?)));
        }
        if let Some(name) = ClusterName::of_stream(&event.stream) {
            return Ok(Some(Self::Cluster(name, event.decode()?)));
        }
        Ok(None)
    }
}
