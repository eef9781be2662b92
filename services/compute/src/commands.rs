//! The commands that the service gives itself: each with an id of its own, and tried again where it must go through.

use std::sync::Arc;
use std::time::Duration;

use eventlog::{Committed, Context, EventLog, ExecuteError};
use runtime::{Backoff, Shutdown};
use vocabulary::{Clock, Decider, Entropy, JobId, Problem};

use crate::cluster::{self, Cluster};
use crate::job::{self, Job};
use crate::stream::ClusterName;

/// Waits between two tries of a command that must go through.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Commands {
    /// Compute's own log.
    pub log: EventLog,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// The end.
    pub shutdown: Shutdown,
}

impl Commands {
    /// The context of a command of the service's own.
    pub fn context(&self, actor: &str) -> Context {
        Context::new(self.entropy.uuid(), actor, "")
    }

    /// A command of the service's own on a cluster.
    pub async fn of_cluster(
        &self,
        name: &ClusterName,
        command: cluster::Command,
        actor: &str,
    ) -> Result<Committed, ExecuteError<cluster::Rejection>> {
        self.log.execute::<Cluster>(&name.stream(), command, self.context(actor)).await
    }

    /// A command of the service's own on a job.
    pub async fn of_job(
        &self,
        job_id: JobId,
        command: job::Command,
        actor: &str,
    ) -> Result<Committed, ExecuteError<<Job as Decider>::Rejection>> {
        self.log.execute::<Job>(&job::stream(job_id), command, self.context(actor)).await
    }

    /// A command on a job that must go through: tried until it does, or the service ends, or what is in the way comes
    /// again with every try. Then nothing of it is done, and whoever waits for others goes on.
    pub async fn of_job_surely(&self, job_id: JobId, command: job::Command, actor: &str) -> bool {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        while !self.shutdown.is_requested() {
            match self.of_job(job_id, command.clone(), actor).await {
                Ok(_) => return true,
                Err(error) => {
                    let problem: Problem = error.into_problem(|never| match never {});
                    if !problem.passes_by_itself() {
                        tracing::error!(job.id = %job_id, "what became of it cannot be recorded: {problem}");
                        return false;
                    }
                    tracing::warn!(job.id = %job_id, "tried again: {problem}");
                }
            }
            backoff.wait_unless(&self.shutdown).await;
        }
        false
    }
}
