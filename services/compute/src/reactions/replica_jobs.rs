//! Replicas' jobs in the log: queued, stopped and scheduled like any other.

use std::sync::Arc;

use eventlog::{BoxFuture, Context, EventLog, ExecuteError};
use vocabulary::job::{JobSpec, StopBy};
use vocabulary::{Clock, Entropy, JobId, NodeId, Problem};

use crate::cluster::{Cluster, Phase};
use crate::job::{self, Job, JobKey};
use crate::serving::JobQueue;
use crate::stream::ClusterName;

/// Who ends a replica's job.
const BY: StopBy = StopBy::Deployment;

/// The jobs and clusters of compute's own log.
pub(crate) struct ReplicaJobs {
    /// The log.
    pub log: EventLog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
}

impl ReplicaJobs {
    async fn decide(&self, job_id: &str, command: job::Command) -> Result<(), Problem> {
        let job_id = JobId::parse(job_id).map_err(|error| Problem::internal(error.to_string()))?;
        let context = Context::new(self.entropy.uuid(), "reaction:replicas", "");
        match self.log.execute::<Job>(&job::stream(job_id), command, context).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error {
                ExecuteError::Storage(error) => Problem::unavailable("LogUnavailable", error.to_string(), 1),
                other => other.into_problem(|never| match never {}),
            }),
        }
    }
}

impl JobQueue for ReplicaJobs {
    fn queue<'a>(&'a self, job_id: &'a str, workspace: &'a str, spec: JobSpec) -> BoxFuture<'a, Result<(), Problem>> {
        let job = JobKey { workspace: workspace.to_owned(), run_id: String::new(), cluster: spec.cluster.clone() };
        let command = job::Command::Queue { job, spec: Box::new(spec), at_us: self.clock.now_us() };
        Box::pin(self.decide(job_id, command))
    }

    fn stop<'a>(&'a self, job_id: &'a str) -> BoxFuture<'a, Result<(), Problem>> {
        let command = job::Command::Stop { by: BY, decision: String::new(), at_us: self.clock.now_us() };
        Box::pin(self.decide(job_id, command))
    }

    fn node_of<'a>(&'a self, job_id: &'a str) -> BoxFuture<'a, Result<Option<NodeId>, eventlog::Error>> {
        Box::pin(async move {
            let Ok(job_id) = JobId::parse(job_id) else { return Ok(None) };
            let look = |job: &Job, _| job.live().map(|(node_id, _)| node_id);
            self.log.inspect::<Job, _>(&job::stream(job_id), look).await
        })
    }

    fn has_cluster<'a>(&'a self, workspace: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<bool, Problem>> {
        Box::pin(async move {
            let stream = ClusterName::new(workspace, cluster).stream();
            let look = self.log.inspect::<Cluster, _>(&stream, |cluster, _| cluster.phase == Phase::Live);
            look.await.map_err(|error| Problem::unavailable("LogUnavailable", error.to_string(), 1))
        })
    }
}
