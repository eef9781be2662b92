//! What the parts of the service share: the log, the fleet, the connected agents, the provider.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventlog::{Committed, Context, EventLog, ExecuteError};
use runtime::{Backoff, Shutdown};
use tokio::sync::{Notify, watch};
use tonic::Status;
use vocabulary::{Clock, Decider, Entropy, JobId, NodeId};

use crate::agents::Agents;
use crate::cluster::{self, Cluster};
use crate::job::{self, Job};
use crate::providers::Provider;
use crate::scheduler::Fleet;
use crate::service::NodeWiring;
use crate::serving::Serving;
use crate::stream::ClusterName;
use crate::views;

/// How long a call waits until the fleet has taken in what was just written: the scheduler's task is never busy for
/// longer.
const FOLD_WAIT: Duration = Duration::from_secs(2);
/// Waits between two tries of a command that must go through.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

pub(crate) struct Core {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub shutdown: Shutdown,
    pub data: PathBuf,
    pub wiring: NodeWiring,
    pub agents: Agents,
    pub provider: Arc<dyn Provider>,
    /// Endpoints and their replicas.
    pub serving: Serving,
    fleet: Mutex<Fleet>,
    /// The position that the fleet was folded to.
    pub folded: watch::Sender<i64>,
    /// Something beside the log has changed that the scheduler looks at.
    pub wake: Notify,
}

impl Core {
    pub fn new(
        log: EventLog,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        shutdown: Shutdown,
        (data, wiring): (PathBuf, NodeWiring),
        provider: Arc<dyn Provider>,
    ) -> Self {
        let serving = Serving::of_compute(&log, &clock, &entropy, &data, &shutdown);
        Self {
            log,
            clock,
            entropy,
            shutdown,
            data,
            wiring,
            agents: Agents::default(),
            provider,
            serving,
            fleet: Mutex::default(),
            folded: watch::Sender::new(0),
            wake: Notify::new(),
        }
    }

    /// The fleet. Held for a look or a change in memory only, never over a wait.
    pub fn fleet(&self) -> MutexGuard<'_, Fleet> {
        // After a panic in a change the engine loads the fleet anew.
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the fleet from the log: all clusters, and the jobs that are not over.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn load(&self) -> Result<(), eventlog::Error> {
        let mut fleet = Fleet::default();
        fleet.position = *self.log.head().borrow();
        let now_us = self.clock.now_us();
        for name in views::cluster_names(self.log.reader()).await? {
            let stream = name.stream();
            let (cluster, version) =
                self.log.inspect::<Cluster, _>(&stream, |cluster, version| (cluster.clone(), version)).await?;
            fleet.load_cluster(name, cluster, version, now_us);
        }
        for (job_id, order) in views::live_jobs(self.log.reader()).await? {
            let stream = job::stream(job_id);
            let (job, version) = self.log.inspect::<Job, _>(&stream, |job, version| (job.clone(), version)).await?;
            fleet.load_job(job_id, job, version, order);
        }
        for node_id in self.agents.connected() {
            fleet.set_connected(node_id, true, now_us);
        }
        let position = fleet.position;
        *self.fleet() = fleet;
        self.folded.send_replace(position);
        Ok(())
    }

    /// Waits until the fleet has taken in a position of the log.
    ///
    /// # Errors
    /// 503 when it does not in time.
    pub async fn caught_up(&self, position: i64) -> Result<(), Status> {
        let mut folded = self.folded.subscribe();
        let reached = tokio::time::timeout(FOLD_WAIT, folded.wait_for(|at| *at >= position)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            _ => Err(calls::unreadable("the scheduler is behind; try again")),
        }
    }

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

    /// A command on a job that must go through: tried until it does, or the service ends.
    pub async fn of_job_surely(&self, job_id: JobId, command: job::Command, actor: &str) -> bool {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        while !self.shutdown.is_requested() {
            match self.of_job(job_id, command.clone(), actor).await {
                Ok(_) => return true,
                Err(error) => tracing::warn!(job.id = %job_id, "tried again: {error}"),
            }
            backoff.wait_unless(&self.shutdown).await;
        }
        false
    }

    /// The cluster of a node that exists.
    pub fn cluster_of(&self, node_id: NodeId) -> Option<ClusterName> {
        self.fleet().node(node_id).map(|(name, ..)| name.clone())
    }
}
