//! Replicas' jobs in the log: queued, stopped and scheduled like any other.

use vocabulary::job::{JobSpec, StopBy};
use vocabulary::{JobId, NodeId, Problem};

use crate::cluster::{Cluster, Phase};
use crate::commands::Commands;
use crate::job::{self, Job, JobKey};
use crate::stream::ClusterName;

/// Who gives the commands.
const ACTOR: &str = "reaction:replicas";
/// Who ends a replica's job.
const BY: StopBy = StopBy::Deployment;

/// The jobs and clusters of compute's own log; clones share it.
#[derive(Clone)]
pub(crate) struct ReplicaJobs {
    pub own: Commands,
}

impl ReplicaJobs {
    async fn decide(&self, job_id: &str, command: job::Command) -> Result<(), Problem> {
        let job_id = JobId::parse(job_id).map_err(|error| Problem::internal(error.to_string()))?;
        match self.own.of_job(job_id, command, ACTOR).await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into_problem(|never| match never {})),
        }
    }

    /// Queues the job of a replica; a second time changes nothing.
    pub async fn queue(&self, job_id: &str, workspace: &str, spec: JobSpec) -> Result<(), Problem> {
        let job = JobKey { workspace: workspace.to_owned(), run_id: String::new(), cluster: spec.cluster.clone() };
        let command = job::Command::Queue { job, spec: Box::new(spec), place: None, at_us: self.own.clock.now_us() };
        self.decide(job_id, command).await
    }

    /// Ends a job; one that has ended, or never was, is no error.
    pub async fn stop(&self, job_id: &str) -> Result<(), Problem> {
        let command = job::Command::Stop { by: BY, decision: String::new(), at_us: self.own.clock.now_us() };
        self.decide(job_id, command).await
    }

    /// Where a job's attempt lives.
    pub async fn node_of(&self, job_id: &str) -> Result<Option<NodeId>, eventlog::Error> {
        let Ok(job_id) = JobId::parse(job_id) else { return Ok(None) };
        let look = |job: &Job, _| job.live().map(|(node_id, _)| node_id);
        self.own.log.inspect::<Job, _>(&job::stream(job_id), look).await
    }

    /// Whether there is such a cluster.
    pub async fn has_cluster(&self, workspace: &str, cluster: &str) -> Result<bool, Problem> {
        let stream = ClusterName::new(workspace, cluster).stream();
        let look = self.own.log.inspect::<Cluster, _>(&stream, |cluster, _| cluster.phase == Phase::Live);
        look.await.map_err(|error| error.problem())
    }
}
