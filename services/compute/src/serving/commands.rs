//! Wishes and reports about endpoints, decided on compute's own log.

use std::time::Duration;

use contracts::compute as wire;
use eventlog::{BoxFuture, Committed, EventLog, ExecuteError};
use futures_util::stream::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use runtime::Backoff;
use vocabulary::Problem;
use vocabulary::job::{JobEnd, Outcome, RequeueCause};

use super::jobs::ReplicaJobs;
use super::state::ServingState;
use crate::cluster::NodeNoticed;
use crate::commands::Commands;
use crate::endpoint::{Command, Endpoint, Rejection, Replacement, ReplicaLost, ReplicaNoticed, ReplicaReady};
use crate::views::endpoints::{names_in, names_of, stream};

/// Who gives the commands.
const ACTOR: &str = "reaction:replicas";
/// Waits before a report is tried again when the log is overloaded.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Endpoints read at the same time.
const READ_TOGETHER_MAX: usize = 16;
/// The exit code of a worker whose next start would end in the same way; as in `worker.py`.
const CANNOT_SERVE: i32 = 78;

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct EndpointCommands {
    /// Compute's own log, time and ids.
    pub own: Commands,
    /// The replicas' jobs.
    pub jobs: ReplicaJobs,
    /// Whose replica a job is.
    pub state: ServingState,
}

impl EndpointCommands {
    /// On compute's own log.
    pub fn new(own: Commands, state: ServingState) -> Self {
        Self { jobs: ReplicaJobs { own: own.clone() }, own, state }
    }

    /// Compute's own log.
    pub fn log(&self) -> &EventLog {
        &self.own.log
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.own.clock.now()
    }

    /// The deployments of a workspace that keep replicas on a cluster, as `ENDPOINT/DEPLOYMENT`.
    pub async fn deployments_on(&self, workspace: &str, cluster: &str) -> Result<Vec<String>, eventlog::Error> {
        let names = names_in(self.log().reader(), workspace).await?;
        let endpoints = self.look_at_all(workspace, &names).await?;
        let of_one = |(name, (endpoint, _)): (&String, &(Endpoint, i64))| -> Vec<String> {
            endpoint.deployments_on(cluster).map(|deployment| format!("{name}/{deployment}")).collect()
        };
        Ok(names.iter().zip(&endpoints).flat_map(of_one).collect())
    }

    /// An agent says that a replica listens.
    pub async fn replica_ready(&self, node_id: &str, report: wire::ReplicaReady) {
        let wire::ReplicaReady { job_id, attempt, address } = report;
        let ready =
            ReplicaReady { job_id: job_id.clone(), attempt, address, node_id: node_id.to_owned(), at: self.now() };
        self.report(&job_id, Command::ReportReady(ready)).await;
    }

    /// The node of a replica has gone; its job waits for another one.
    pub async fn replica_lost(&self, job_id: &str, attempt: u32, cause: RequeueCause) {
        let lost = ReplicaLost { job_id: job_id.to_owned(), attempt, cause, at: self.now() };
        self.report(job_id, Command::ReportLost(lost)).await;
    }

    /// A node will be taken away: its replicas are replaced before they stop. One that has not said yet where it runs
    /// is found by its job.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn node_noticed(&self, noticed: &NodeNoticed) -> Result<(), eventlog::Error> {
        let node_id = noticed.node_id.to_string();
        let deadline = Timestamp::from_microsecond(noticed.deadline_us).unwrap_or(Timestamp::MAX);
        for stream in self.state.endpoints() {
            let (endpoint, _) = match self.look(&stream).await {
                Ok(found) => found,
                Err(error) if error.problem().passes_by_itself() => return Err(error),
                // The others are to be replaced in time.
                Err(error) => {
                    tracing::error!(stream, "this endpoint cannot be read: {error}");
                    continue;
                }
            };
            for (job_id, replica) in endpoint.deployments.values().flat_map(|deployment| &deployment.replicas) {
                let is_there = match replica.node_id.is_empty() {
                    true => self.jobs.node_of(job_id).await? == Some(noticed.node_id),
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
    pub async fn replica_ended(&self, job_id: &str, how: Replacement) {
        let ended = Command::ReportEnded { job_id: job_id.to_owned(), how, at: self.now() };
        self.report(job_id, ended).await;
    }

    /// An agent sends what a replica has written.
    pub async fn replica_log(&self, report: &wire::ReplicaLog) {
        let Some(stream) = self.state.endpoint_of(&report.job_id) else { return };
        let job_id = report.job_id.clone();
        let deployment = self.log().inspect::<Endpoint, _>(&stream, move |endpoint, _| {
            endpoint.replica(&job_id).map(|(name, _, _)| name.to_owned())
        });
        let Ok(Some(deployment)) = deployment.await else { return };
        let (workspace, endpoint) = names_of(&stream);
        let source = format!("{} attempt {}", report.job_id, report.attempt);
        if let Err(error) = self.state.logs.append(workspace, endpoint, &deployment, &source, &report.data).await {
            tracing::warn!(endpoint, deployment, "cannot keep the log of a replica: {error}");
        }
    }

    /// Has a report decided; one about a replica that is not wanted any more changes nothing.
    async fn report(&self, job_id: &str, command: Command) {
        let Some(stream) = self.state.endpoint_of(job_id) else { return };
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        while !self.own.shutdown.is_requested() {
            match self.decide(&stream, command.clone()).await {
                Ok(_) | Err(ExecuteError::Rejected(_)) => return,
                Err(error) => {
                    let problem: Problem = error.into_problem(Into::into);
                    if !problem.passes_by_itself() {
                        tracing::error!(job.id = job_id, "a replica's report cannot be taken in: {problem}");
                        return;
                    }
                    tracing::warn!(job.id = job_id, "a replica's report waits: {problem}");
                }
            }
            backoff.wait_unless(&self.own.shutdown).await;
        }
    }

    /// Decides what a report or the reaction wants.
    pub async fn decide(&self, stream: &str, command: Command) -> Result<Committed, ExecuteError<Rejection>> {
        self.log().execute::<Endpoint>(stream, command, self.own.context(ACTOR)).await
    }

    /// An endpoint and its version.
    pub async fn look(&self, stream: &str) -> Result<(Endpoint, i64), eventlog::Error> {
        self.log().inspect::<Endpoint, _>(stream, |endpoint, version| (endpoint.clone(), version)).await
    }

    /// Endpoints of a workspace and their versions, in the order of their names.
    pub async fn look_at_all(
        &self,
        workspace: &str,
        names: &[String],
    ) -> Result<Vec<(Endpoint, i64)>, eventlog::Error> {
        let read = |name: &String| -> Read<(Endpoint, i64)> {
            let (own, stream) = (self.clone(), stream(workspace, name));
            Box::pin(async move { own.look(&stream).await })
        };
        together(names.iter().map(read).collect()).await
    }
}

type Read<T> = BoxFuture<'static, Result<T, eventlog::Error>>;

/// Reads some at the same time: histories that have left the memory need not wait for each other.
async fn together<T>(reads: Vec<Read<T>>) -> Result<Vec<T>, eventlog::Error> {
    futures_util::stream::iter(reads).buffered(READ_TOGETHER_MAX).try_collect().await
}

/// How a replica's job ended, in words.
pub(crate) fn how_it_ended(end: &JobEnd) -> Replacement {
    let cannot_serve = end.outcome == Outcome::Failed && end.exit_code == Some(CANNOT_SERVE);
    Replacement { reason: end_text(end), log_tail: end.stderr_tail.clone(), cannot_serve }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn endpoints_are_read_together() {
        // A page of fifty would wait for fifty histories, one after the other.
        let barrier = Arc::new(Barrier::new(3));
        let read = |number: usize| -> Read<usize> {
            let barrier = Arc::clone(&barrier);
            Box::pin(async move { Ok(barrier.wait().await).map(|_| number) })
        };
        let found = tokio::time::timeout(Duration::from_secs(20), together((0..3).map(read).collect())).await;
        assert_eq!(found.unwrap().unwrap(), [0, 1, 2]);
    }
}
