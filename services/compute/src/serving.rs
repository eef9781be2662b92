//! Endpoints at work: what the calls, the agents' reports and the reaction that keeps replicas share.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::compute as wire;
use eventlog::{BoxFuture, Context, EventLog, ExecuteError};
use jiff::Timestamp;
use runtime::{Backoff, Shutdown, Task};
use tokio::sync::watch;
use vocabulary::job::{JobEnd, JobSpec, RequeueCause};
use vocabulary::{Clock, Entropy, NodeId, Problem};

use crate::cluster::NodeNoticed;
use crate::endpoint::{Command, Endpoint, Replacement, ReplicaLost, ReplicaNoticed, ReplicaReady};
use crate::reactions::replica_jobs::ReplicaJobs;
use crate::reactions::replica_logs::ReplicaLogs;
use crate::reactions::replicas::Keeper;

/// Waits before a report is tried again when the log is overloaded.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What replicas need of jobs and clusters.
pub(crate) trait JobQueue: Send + Sync + 'static {
    /// Queues the job of a replica; a second time changes nothing.
    fn queue<'a>(&'a self, job_id: &'a str, workspace: &'a str, spec: JobSpec) -> BoxFuture<'a, Result<(), Problem>>;
    /// Ends a job; one that has ended, or never was, is no error.
    fn stop<'a>(&'a self, job_id: &'a str) -> BoxFuture<'a, Result<(), Problem>>;
    /// Where a job's attempt lives.
    fn node_of<'a>(&'a self, job_id: &'a str) -> BoxFuture<'a, Result<Option<NodeId>, eventlog::Error>>;
    /// Whether there is such a cluster.
    fn has_cluster<'a>(&'a self, workspace: &'a str, cluster: &'a str) -> BoxFuture<'a, Result<bool, Problem>>;
}

/// What serving is built on.
pub(crate) struct Ground {
    /// Compute's own log.
    pub log: EventLog,
    /// The data folder; logs of replicas are kept in `endpoint-logs` below it.
    pub data: PathBuf,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub entropy: Arc<dyn Entropy>,
    /// Jobs and clusters.
    pub jobs: Arc<dyn JobQueue>,
    /// How compute's events read as facts: ends of jobs are learned of in that form.
    pub facts: Arc<dyn feed::Publish>,
    /// The end.
    pub shutdown: Shutdown,
}

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub ground: Ground,
    /// The table of routes; `None` until the log has been looked at.
    pub routes: watch::Sender<Option<Arc<wire::RouteTable>>>,
    /// The endpoint stream that a replica's job belongs to.
    replicas: Mutex<HashMap<String, String>>,
    pub logs: ReplicaLogs,
}

impl Serving {
    /// Nothing runs before [`Serving::tasks`] does.
    pub(crate) fn new(ground: Ground) -> Self {
        let logs = ReplicaLogs::new(ground.data.join("endpoint-logs"));
        let routes = watch::Sender::new(None);
        Self { inner: Arc::new(Inner { ground, routes, replicas: Mutex::default(), logs }) }
    }

    /// On compute's own log, jobs and clusters.
    pub(crate) fn of_compute(
        log: &EventLog,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
        data: &Path,
        shutdown: &Shutdown,
    ) -> Self {
        let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
        let jobs = ReplicaJobs { log: log.clone(), clock: Arc::clone(&clock), entropy: Arc::clone(&entropy) };
        Self::new(Ground {
            log: log.clone(),
            data: data.to_path_buf(),
            clock,
            entropy,
            jobs: Arc::new(jobs),
            facts: Arc::new(crate::publish::Publisher),
            shutdown: shutdown.clone(),
        })
    }

    /// Keeps the replicas and the routes.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let serving = self.clone();
        vec![Task::new("replicas", move || Keeper::new(serving.clone()).run())]
    }

    pub(crate) fn log(&self) -> &EventLog {
        &self.inner.ground.log
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.inner.ground.clock.now()
    }

    fn replicas(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        // The map is whole after every statement that changes it.
        self.inner.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint that a job is a replica of.
    pub(crate) fn endpoint_of(&self, job_id: &str) -> Option<String> {
        self.replicas().get(job_id).cloned()
    }

    /// Remembers a replica's endpoint.
    pub(crate) fn remember(&self, job_id: &str, stream: &str) {
        self.replicas().insert(job_id.to_owned(), stream.to_owned());
    }

    /// Forgets what is no replica of an endpoint any more.
    pub(crate) fn retain(&self, stream: &str, is_replica: impl Fn(&str) -> bool) {
        self.replicas().retain(|job_id, of| of != stream || is_replica(job_id));
    }

    /// The deployments of a workspace that keep replicas on a cluster, as `ENDPOINT/DEPLOYMENT`.
    pub(crate) async fn deployments_on(&self, workspace: &str, cluster: &str) -> Result<Vec<String>, eventlog::Error> {
        let mut found = Vec::new();
        for name in crate::views::endpoints::names_in(self.log().reader(), workspace).await? {
            let (endpoint, _) = self.look(&crate::views::endpoints::stream(workspace, &name)).await?;
            found.extend(endpoint.deployments_on(cluster).map(|deployment| format!("{name}/{deployment}")));
        }
        Ok(found)
    }

    /// An agent says that a replica listens.
    pub(crate) async fn replica_ready(&self, node_id: &str, report: wire::ReplicaReady) {
        let wire::ReplicaReady { job_id, attempt, address } = report;
        let ready =
            ReplicaReady { job_id: job_id.clone(), attempt, address, node_id: node_id.to_owned(), at: self.now() };
        self.report(&job_id, Command::ReportReady(ready)).await;
    }

    /// The node of a replica has gone; its job waits for another one.
    pub(crate) async fn replica_lost(&self, job_id: &str, attempt: u32, cause: RequeueCause) {
        let lost = ReplicaLost { job_id: job_id.to_owned(), attempt, cause, at: self.now() };
        self.report(job_id, Command::ReportLost(lost)).await;
    }

    /// A node will be taken away: its replicas are replaced before they stop. One that has not said yet where it runs
    /// is found by its job.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn node_noticed(&self, noticed: &NodeNoticed) -> Result<(), eventlog::Error> {
        let node_id = noticed.node_id.to_string();
        let deadline = Timestamp::from_microsecond(noticed.deadline_us).unwrap_or(Timestamp::MAX);
        let streams: BTreeSet<String> = self.replicas().values().cloned().collect();
        for stream in streams {
            let (endpoint, _) = self.look(&stream).await?;
            for (job_id, replica) in endpoint.deployments.values().flat_map(|deployment| &deployment.replicas) {
                let is_there = match replica.node_id.is_empty() {
                    true => self.inner.ground.jobs.node_of(job_id).await? == Some(noticed.node_id),
                    false => replica.node_id == node_id,
                };
                if is_there {
                    let report = ReplicaNoticed { job_id: job_id.clone(), deadline, at: self.now() };
                    self.report(job_id, Command::ReportNoticed(report)).await;
                }
            }
        }
        Ok(())
    }

    /// The job of a replica has ended.
    pub(crate) async fn replica_ended(&self, job_id: &str, how: Replacement) {
        let ended = Command::ReportEnded { job_id: job_id.to_owned(), how, at: self.now() };
        self.report(job_id, ended).await;
    }

    /// An agent sends what a replica has written.
    pub(crate) async fn replica_log(&self, report: &wire::ReplicaLog) {
        let Some(stream) = self.endpoint_of(&report.job_id) else { return };
        let job_id = report.job_id.clone();
        let deployment = self.log().inspect::<Endpoint, _>(&stream, move |endpoint, _| {
            endpoint.replica(&job_id).map(|(name, _, _)| name.to_owned())
        });
        let Ok(Some(deployment)) = deployment.await else { return };
        let (workspace, endpoint) = crate::views::endpoints::names_of(&stream);
        let source = format!("{} attempt {}", report.job_id, report.attempt);
        if let Err(error) = self.inner.logs.append(workspace, endpoint, &deployment, &source, &report.data).await {
            tracing::warn!(endpoint, deployment, "cannot keep the log of a replica: {error}");
        }
    }

    /// Has a report decided; one about a replica that is not wanted any more changes nothing.
    async fn report(&self, job_id: &str, command: Command) {
        let Some(stream) = self.endpoint_of(job_id) else { return };
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        while !self.inner.ground.shutdown.is_requested() {
            match self.decide(&stream, command.clone()).await {
                Ok(_) | Err(ExecuteError::Rejected(_)) => return,
                Err(error) => tracing::warn!(job.id = job_id, "a replica's report waits: {error}"),
            }
            backoff.wait_unless(&self.inner.ground.shutdown).await;
        }
    }

    /// Decides what a report or the reaction wants.
    pub(crate) async fn decide(
        &self,
        stream: &str,
        command: Command,
    ) -> Result<eventlog::Committed, ExecuteError<crate::endpoint::Rejection>> {
        let context = Context::new(self.inner.ground.entropy.uuid(), "reaction:replicas", "");
        self.log().execute::<Endpoint>(stream, command, context).await
    }

    /// An endpoint and its version.
    pub(crate) async fn look(&self, stream: &str) -> Result<(Endpoint, i64), eventlog::Error> {
        self.log().inspect::<Endpoint, _>(stream, |endpoint, version| (endpoint.clone(), version)).await
    }
}

/// How a replica's job ended, in words.
pub(crate) fn how_it_ended(end: &JobEnd) -> Replacement {
    Replacement { reason: end_text(end), log_tail: end.stderr_tail.clone() }
}

fn end_text(end: &JobEnd) -> String {
    let mut text = end.outcome.to_string();
    if !end.reason.is_empty() {
        text = format!("{text} ({})", end.reason.replace('_', " "));
    }
    match (end.exit_code, end.signal) {
        (Some(code), _) => format!("{text}, exit code {code}"),
        (None, Some(signal)) => format!("{text}, signal {signal}"),
        (None, None) => text,
    }
}
