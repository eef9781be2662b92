//! A run's state follows its job's. Jobs without a run, such as replicas of a deployment, are nobody's here.

use std::sync::Arc;

use contracts::compute::{JobEnded, JobHeld, JobPhaseChanged, JobPlaced, JobQueued, JobRequeued};
use contracts::feed::Fact;
use contracts::job::{Word, end_of};
use eventlog::BoxFuture;
use feed::{ReactError, Reaction};
use vocabulary::RunId;
use vocabulary::job::{AttemptPhase, RequeueCause};

use super::fact::{Outcome, decode, execute};
use crate::core::Core;
use crate::run::{Command, JobNews, RunState};

pub(super) struct FollowJobs(pub Arc<Core>);

impl Reaction for FollowJobs {
    fn name(&self) -> &'static str {
        "follow_jobs"
    }

    fn service(&self) -> &'static str {
        "compute"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            let Some((run, news)) = read(fact)? else { return Ok(()) };
            let Ok(run) = RunId::parse(&run) else { return Ok(()) };
            match execute(&self.0, fact, self.name(), run, Command::Job(news)).await? {
                Outcome::Done => {}
                Outcome::Absent => tracing::debug!(%run, position = fact.position, "news of a job without a run"),
            }
            Ok(())
        })
    }
}

/// The run and the news of a fact; `None` for facts of other things.
fn read(fact: &Fact) -> Result<Option<(String, JobNews)>, ReactError> {
    let at_us = fact.recorded_at_us;
    Ok(Some(match fact.r#type.as_str() {
        "JobQueued" => {
            let JobQueued { run_id, attempt, placed, .. } = decode(fact)?;
            // One that never waited is told of by the fact behind this one.
            if placed {
                return Ok(None);
            }
            (run_id, JobNews::Queued { attempt, at_us })
        }
        "JobPlaced" => {
            let JobPlaced { run_id, attempt, node_id, .. } = decode(fact)?;
            (run_id, JobNews::Reached { attempt, state: RunState::Starting, node_id, at_us })
        }
        "JobPhaseChanged" => {
            let JobPhaseChanged { run_id, attempt, phase, node_id, phase_kind, .. } = decode(fact)?;
            // A phase of a newer service only says how far the job is; how it ends comes by itself.
            let state = match AttemptPhase::required(phase_kind, &phase).map_err(ReactError::Unknown)? {
                AttemptPhase::Starting => RunState::Starting,
                AttemptPhase::Preparing => RunState::Preparing,
                AttemptPhase::Running => RunState::Running,
                AttemptPhase::Finalizing => RunState::Finalizing,
            };
            (run_id, JobNews::Reached { attempt, state, node_id, at_us })
        }
        "JobRequeued" => {
            let JobRequeued { run_id, attempt, next_attempt, cause, end, node_id, cause_kind, .. } = decode(fact)?;
            if !is_of_a_run(&run_id) {
                return Ok(None);
            }
            let cause = RequeueCause::required(cause_kind, &cause).map_err(ReactError::Poison)?;
            let end = end_of(end).map_err(ReactError::Poison)?;
            (run_id, JobNews::Requeued { attempt, next_attempt, cause, end, node_id, at_us })
        }
        "JobHeld" => {
            let JobHeld { run_id, attempt, .. } = decode(fact)?;
            (run_id, JobNews::Held { attempt, at_us })
        }
        "JobEnded" => {
            let JobEnded { run_id, attempt, end, .. } = decode(fact)?;
            if !is_of_a_run(&run_id) {
                return Ok(None);
            }
            let end = end_of(end).map_err(ReactError::Poison)?;
            (run_id, JobNews::Ended { attempt, end, at_us })
        }
        _ => return Ok(None),
    }))
}

/// Replicas' jobs have none: whatever their facts say is nothing to runs.
fn is_of_a_run(run_id: &str) -> bool {
    RunId::parse(run_id).is_ok()
}
