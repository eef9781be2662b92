//! A run with a job was created: its job is queued, and placed at once where it need not wait. A run is to end: so is
//! its job. A run was deleted: so are its checkpoints.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::job::Word;
use contracts::runs::{RunCreated, RunDeleted, RunReleased, RunStopRequested};
use eventlog::{BoxFuture, Context, ExecuteError};
use feed::{ReactError, Reaction};
use prost::Message;
use vocabulary::job::{JobSpec, StopBy};
use vocabulary::{JobId, RunId};

use crate::checkpoints::Checkpoints;
use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::job::{self, Command, Job, JobKey};
use crate::views;

/// Its cursor, and part of the ids of what it makes.
const NAME: &str = "follow_runs";

/// See the module.
#[derive(Clone)]
pub(super) struct FollowRuns {
    pub commands: Commands,
    pub fleet: Arc<FleetState>,
    pub checkpoints: Arc<Checkpoints>,
}

impl Reaction for FollowRuns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn service(&self) -> &'static str {
        "runs"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            match fact.r#type.as_str() {
                "RunCreated" => self.created(fact, decode(fact)?).await,
                "RunStopRequested" => self.stop(fact, decode(fact)?).await,
                "RunReleased" => self.release(fact, decode(fact)?).await,
                "RunDeleted" => self.deleted(fact, decode(fact)?).await,
                _ => Ok(()),
            }
        })
    }
}

fn decode<M: Message + Default>(fact: &Fact) -> Result<M, ReactError> {
    M::decode(fact.payload.as_slice()).map_err(|error| ReactError::Poison(error.to_string()))
}

impl FollowRuns {
    /// The job's id follows from the fact, so that a second delivery means the same job.
    async fn created(&self, fact: &Fact, created: RunCreated) -> Result<(), ReactError> {
        let Some(spec) = created.job else { return Ok(()) };
        let spec = JobSpec::try_from(spec).map_err(|error| ReactError::Poison(format!("job: {error}")))?;
        let job_id = JobId::new(eventlog::command_id(&fact.source, fact.position, "job_of_run"));
        let key = JobKey { workspace: created.workspace, run_id: created.run_id, cluster: spec.cluster.clone() };
        let (own, context) = (self.clone(), calls::reaction_context(fact, NAME));
        // On its own feet: a follower that begins anew drops what it waits for, and with it would go the knowledge that
        // room is kept.
        let queued = tokio::spawn(async move { own.queue(job_id, key, spec, context).await });
        queued.await.unwrap_or_else(|broken| Err(ReactError::Poison(broken.to_string())))
    }

    /// Queues the job, on a node if one is free.
    async fn queue(&self, job_id: JobId, job: JobKey, spec: JobSpec, context: Context) -> Result<(), ReactError> {
        let place = self.fleet.lock().reserve(job_id, &job, &spec);
        let is_placed = place.is_some();
        let command = Command::Queue { job, spec: Box::new(spec), place, at_us: self.commands.clock.now_us() };
        let done = self.execute(context, job_id, command).await;
        // Its event gives the room to the job. A repeat has none, and what failed comes again.
        if is_placed && !matches!(done, Ok(events) if events > 0) {
            self.fleet.lock().unreserve(job_id);
        }
        done.map(drop)
    }

    async fn stop(&self, fact: &Fact, wanted: RunStopRequested) -> Result<(), ReactError> {
        let Some(job_id) = self.job_of(&wanted.run_id).await? else { return Ok(()) };
        let by = StopBy::required(wanted.by_kind, &wanted.by);
        let by = by.map_err(|error| ReactError::Poison(format!("by: {error}")))?;
        let command = Command::Stop { by, decision: wanted.decision, at_us: self.commands.clock.now_us() };
        self.execute(calls::reaction_context(fact, NAME), job_id, command).await.map(drop)
    }

    async fn release(&self, fact: &Fact, released: RunReleased) -> Result<(), ReactError> {
        let Some(job_id) = self.job_of(&released.run_id).await? else { return Ok(()) };
        let command = Command::Release { at_us: self.commands.clock.now_us() };
        self.execute(calls::reaction_context(fact, NAME), job_id, command).await.map(drop)
    }

    /// What it saved is of use to nobody, unless a job has begun with it.
    async fn deleted(&self, fact: &Fact, deleted: RunDeleted) -> Result<(), ReactError> {
        let run = RunId::parse(&deleted.run_id).map_err(|error| ReactError::Poison(error.to_string()))?;
        self.checkpoints.release(run, calls::reaction_context(fact, NAME)).await.map_err(ReactError::from)
    }

    async fn job_of(&self, run_id: &str) -> Result<Option<JobId>, ReactError> {
        let found = views::job_by_id(self.commands.log.reader(), run_id).await;
        let Some(row) = found.map_err(|error| ReactError::from(error.problem()))? else { return Ok(None) };
        Ok(Some(JobId::parse(&row.job_id).map_err(|error| ReactError::Poison(error.to_string()))?))
    }

    /// Answers how many events it led to now: a repeat leads to none.
    async fn execute(&self, context: Context, job_id: JobId, command: Command) -> Result<usize, ReactError> {
        match self.commands.log.execute::<Job>(&job::stream(job_id), command, context).await {
            Ok(committed) => Ok(if committed.repeated { 0 } else { committed.events }),
            Err(ExecuteError::Rejected(never)) => match never {},
            Err(error) => Err(ReactError::from(error.into_problem(|never| match never {}))),
        }
    }
}
