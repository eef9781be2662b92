//! Keeps the replicas of every deployment, and the table of routes: events of endpoints and ends of jobs come in,
//! commands go out.
//!
//! A replica is an intent: `ReplicaRequested` names its job first, then the job is queued; after a restart it is queued
//! again, which changes nothing. Everything else is derived from the endpoint's state, so that a missed wake-up costs
//! time, never a replica.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use contracts::compute as wire;
use eventlog::{Error, ExecuteError, RecordedEvent};
use jiff::Timestamp;
use vocabulary::{JobId, Problem};

use super::replica_plan::{Plan, job_spec, plan};
use crate::cluster::ClusterEvent;
use crate::endpoint::{Command, Endpoint, EndpointEvent, Replacement, ReplicaDraining, ReplicaRequested};
use crate::job::{self, JobEvent};
use crate::serving::wire::route;
use crate::serving::{EndpointCommands, how_it_ended};
use crate::stream::Change;
use crate::views::endpoints::{PREFIX, all_names, names_of, revision_keys, stream};

/// The name of the cursor.
const NAME: &str = "replicas";
/// Events read at once.
const PAGE_EVENTS: u32 = 1_000;
/// When to look again after something could not be done for now.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the reaction: all of it can be made anew.
pub(super) struct Keeper {
    endpoints: EndpointCommands,
    /// Endpoints to look at.
    dirty: BTreeSet<String>,
    /// Endpoints to look at later.
    due: BTreeMap<String, Timestamp>,
    /// Jobs that this process has queued.
    queued: BTreeSet<String>,
    /// Jobs that this process has told to stop.
    stopped: BTreeSet<String>,
    routes: BTreeMap<String, wire::EndpointRoute>,
}

impl Keeper {
    /// Knows nothing yet.
    pub(super) fn new(endpoints: EndpointCommands) -> Self {
        Self {
            endpoints,
            dirty: BTreeSet::new(),
            due: BTreeMap::new(),
            queued: BTreeSet::new(),
            stopped: BTreeSet::new(),
            routes: BTreeMap::new(),
        }
    }

    /// Works until shutdown.
    ///
    /// # Errors
    /// When the log cannot be read; the caller begins again.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let log = self.endpoints.log().clone();
        let shutdown = self.endpoints.own.shutdown.clone();
        let mut head = log.head();
        let mut from = log.cursor(NAME, log.source()).await?;
        for (workspace, name) in all_names(log.reader()).await? {
            let stream = stream(&workspace, &name);
            match self.endpoints.look(&stream).await {
                Ok((endpoint, _)) => {
                    self.index(&stream, &endpoint);
                    self.dirty.insert(stream);
                }
                Err(error @ Error::Closed) => return Err(error.into()),
                // The others must serve.
                Err(error) => tracing::error!(stream, "this endpoint cannot be read and is not served: {error}"),
            }
        }
        loop {
            let newest = *head.borrow_and_update();
            let mut is_moved = false;
            while from < newest {
                let page = log.read(from, PAGE_EVENTS).await?;
                let Some(last) = page.last().map(|event| event.position) else { break };
                for event in &page {
                    is_moved |= match self.notice(event).await {
                        Err(error) if error.problem().passes_by_itself() => return Err(error.into()),
                        // It comes again with every try, and the others must serve.
                        Err(error) => {
                            let (stream, position) = (&event.stream, event.position);
                            tracing::error!(stream, position, "this event cannot be taken in: {error}");
                            true
                        }
                        Ok(is_moved) => is_moved,
                    };
                }
                from = last;
            }
            if is_moved {
                log.move_cursor(NAME, log.source(), from).await?;
            }
            self.settle_all().await?;
            let wait = self.next_wait();
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => {}
                () = shutdown.requested() => return Ok(()),
            }
        }
    }

    /// Takes an event in; true when it mattered.
    async fn notice(&mut self, event: &RecordedEvent) -> Result<bool, Error> {
        if event.stream.starts_with(PREFIX) {
            // A replica is known before its job can end: the request is earlier in the log.
            match event.decode()? {
                EndpointEvent::ReplicaRequested(request) => {
                    self.endpoints.state.remember(&request.job_id, &event.stream)
                }
                EndpointEvent::DeploymentDeleted(gone) => {
                    let (workspace, endpoint) = names_of(&event.stream);
                    self.endpoints.state.logs.remove(workspace, endpoint, &gone.deployment).await;
                }
                _ => {}
            }
            self.dirty.insert(event.stream.clone());
            return Ok(true);
        }
        if let Some(job_id) = job::of_stream(&event.stream) {
            return self.job_has_changed(&job_id.to_string(), event).await;
        }
        if let Some(Change::Cluster(_, ClusterEvent::NodeNoticed(noticed))) = Change::of(event)? {
            self.endpoints.node_noticed(&noticed).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// What became of a job; of one that is no replica it does not matter.
    async fn job_has_changed(&self, job_id: &str, event: &RecordedEvent) -> Result<bool, Error> {
        if self.endpoints.state.endpoint_of(job_id).is_none() {
            return Ok(false);
        }
        match event.decode()? {
            JobEvent::JobRequeued(requeued) => {
                self.endpoints.replica_lost(job_id, requeued.attempt, requeued.cause).await;
            }
            JobEvent::JobEnded(ended) => self.endpoints.replica_ended(job_id, how_it_ended(&ended.end)).await,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn next_wait(&self) -> Option<Duration> {
        let first = self.due.values().min()?;
        Some(Duration::try_from(first.duration_since(self.endpoints.now())).unwrap_or(Duration::ZERO))
    }

    async fn settle_all(&mut self) -> anyhow::Result<()> {
        let now = self.endpoints.now();
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(stream, _)| stream.clone()).collect();
        self.dirty.extend(due);
        while let Some(stream) = self.dirty.pop_first() {
            self.due.remove(&stream);
            match self.settle(&stream).await {
                Err(error) if error.problem().passes_by_itself() => return Err(error.into()),
                // What it has stays as it is; the others must serve.
                Err(error) => tracing::error!(stream, "this endpoint cannot be looked after: {error}"),
                Ok(()) => {}
            }
        }
        let table = wire::RouteTable { endpoints: self.routes.values().cloned().collect() };
        self.endpoints.state.put_routes(table);
        Ok(())
    }

    /// Does what an endpoint calls for.
    async fn settle(&mut self, stream: &str) -> Result<(), Error> {
        let (endpoint, _) = self.endpoints.look(stream).await?;
        self.index(stream, &endpoint);
        self.update_route(stream, &endpoint).await?;
        let Plan { request, keep, drain, stop, due } = plan(&endpoint, self.endpoints.now());
        if let Some(due) = due {
            self.due.insert(stream.to_owned(), due);
        }
        for (deployment, revision, ordinal) in request {
            let job_id = JobId::new(self.endpoints.own.entropy.uuid()).to_string();
            let wish = ReplicaRequested { deployment, revision, ordinal, job_id, at: self.endpoints.now() };
            // The events of the request bring this endpoint back here, and its job is queued then.
            self.decide(stream, Command::RequestReplica(wish)).await;
        }
        for job_id in drain {
            let wish = Command::Drain(ReplicaDraining { job_id, at: self.endpoints.now() });
            self.decide(stream, wish).await;
        }
        for job_id in keep.into_iter().filter(|job_id| !self.queued.contains(job_id)).collect::<Vec<_>>() {
            self.queue(stream, &endpoint, job_id).await;
        }
        for job_id in stop.into_iter().filter(|job_id| !self.stopped.contains(job_id)).collect::<Vec<_>>() {
            match self.endpoints.jobs.stop(&job_id).await {
                Ok(()) => {
                    self.stopped.insert(job_id);
                }
                Err(problem) if problem.passes_by_itself() => self.later(stream, &problem),
                Err(problem) => self.gone(&job_id, &problem).await,
            }
        }
        Ok(())
    }

    async fn queue(&mut self, stream: &str, endpoint: &Endpoint, job_id: String) {
        let Some((_, deployment, replica)) = endpoint.replica(&job_id) else { return };
        let revisions = deployment.kept();
        let Some(revision) = revisions.into_iter().find(|revision| revision.revision == replica.revision) else {
            return;
        };
        let (workspace, _) = names_of(stream);
        match self.endpoints.jobs.queue(&job_id, workspace, job_spec(revision)).await {
            Ok(()) => {
                self.queued.insert(job_id);
            }
            Err(problem) if problem.passes_by_itself() => self.later(stream, &problem),
            Err(problem) => self.gone(&job_id, &problem).await,
        }
    }

    /// A job that cannot be, for a reason that users can read.
    async fn gone(&self, job_id: &str, problem: &Problem) {
        let how = Replacement { reason: problem.to_string(), ..Replacement::default() };
        self.endpoints.replica_ended(job_id, how).await;
    }

    /// A wish that has been overtaken is no error; one that can never be decided is not asked again until something
    /// happens.
    async fn decide(&mut self, stream: &str, command: Command) {
        match self.endpoints.decide(stream, command).await {
            Ok(_) | Err(ExecuteError::Rejected(_)) => {}
            Err(error) => {
                let problem: Problem = error.into_problem(Into::into);
                if problem.passes_by_itself() {
                    return self.later(stream, &problem);
                }
                tracing::error!(stream, "its replicas cannot be kept: {problem}");
            }
        }
    }

    fn later(&mut self, stream: &str, why: &Problem) {
        tracing::warn!(stream, "replicas wait: {why}");
        let at = self.endpoints.now().checked_add(RETRY).unwrap_or(Timestamp::MAX);
        let due = self.due.entry(stream.to_owned()).or_insert(at);
        *due = at.min(*due);
    }

    /// Remembers which jobs are replicas of an endpoint, and forgets those that were.
    fn index(&mut self, stream: &str, endpoint: &Endpoint) {
        self.endpoints.state.retain(stream, |job_id| endpoint.replica(job_id).is_some());
        let jobs = endpoint.deployments.values().flat_map(|deployment| deployment.replicas.keys());
        jobs.for_each(|job_id| self.endpoints.state.remember(job_id, stream));
        let state = self.endpoints.state.clone();
        self.queued.retain(|job_id| state.endpoint_of(job_id).is_some());
        self.stopped.retain(|job_id| state.endpoint_of(job_id).is_some());
    }

    async fn update_route(&mut self, stream: &str, endpoint: &Endpoint) -> Result<(), Error> {
        if endpoint.created.is_none() || endpoint.deleting {
            self.routes.remove(stream);
            return Ok(());
        }
        let keys = revision_keys(self.endpoints.log().reader(), &endpoint.workspace, &endpoint.name).await?;
        let key_of = |name: &str, revision| keys.get(&(name.to_owned(), revision)).copied().unwrap_or_default();
        self.routes.insert(stream.to_owned(), route(endpoint, key_of));
        Ok(())
    }
}
