//! What compute's news of a job mean for its run. News of an older attempt, or after the end, mean nothing.

use vocabulary::job::{JobEnd, Outcome, RequeueCause, StopBy};

use super::RunState;
use super::events::{AttemptEnded, RunEnded, RunEvent, RunStateChanged};
use super::state::Run;

/// What compute tells of a run's job.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of compute's facts")]
pub enum JobNews {
    /// The job waits for a node.
    Queued { attempt: u32, at_us: i64 },
    /// The attempt is Starting, Preparing, Running or Finalizing.
    Reached { attempt: u32, state: RunState, node_id: String, at_us: i64 },
    /// The attempt ended and the next one waits for a node.
    Requeued { attempt: u32, next_attempt: u32, cause: RequeueCause, end: JobEnd, node_id: String, at_us: i64 },
    /// The attempt ended because its trial is to wait.
    Held { attempt: u32, at_us: i64 },
    /// The job is over.
    Ended { attempt: u32, end: JobEnd, at_us: i64 },
}

impl JobNews {
    fn attempt(&self) -> u32 {
        match self {
            Self::Queued { attempt, .. }
            | Self::Reached { attempt, .. }
            | Self::Requeued { attempt, .. }
            | Self::Held { attempt, .. }
            | Self::Ended { attempt, .. } => *attempt,
        }
    }
}

/// The events that news of the job lead to.
pub(super) fn decide(run: &Run, news: &JobNews) -> Vec<RunEvent> {
    if run.ended().is_some() || !run.has_job() || news.attempt() < run.attempt {
        return Vec::new();
    }
    match news {
        JobNews::Queued { attempt, at_us } => reach(run, RunState::Queued, *attempt, "", *at_us),
        JobNews::Reached { attempt, state, node_id, at_us } => reach(run, *state, *attempt, node_id, *at_us),
        JobNews::Requeued { attempt, next_attempt, cause, end, node_id, at_us } => {
            let ended = AttemptEnded {
                subject: run.subject.clone(),
                attempt: *attempt,
                cause: *cause,
                end: end.clone(),
                node_id: node_id.clone(),
                at_us: *at_us,
            };
            let queued = RunStateChanged {
                subject: run.subject.clone(),
                state: RunState::Queued,
                attempt: (*next_attempt).max(attempt + 1),
                node_id: String::new(),
                at_us: *at_us,
            };
            vec![ended.into(), queued.into()]
        }
        JobNews::Held { attempt, at_us } => reach(run, RunState::Paused, *attempt, "", *at_us),
        JobNews::Ended { attempt, end, at_us } => vec![ended(run, *attempt, end, *at_us).into()],
    }
}

fn reach(run: &Run, state: RunState, attempt: u32, node_id: &str, at_us: i64) -> Vec<RunEvent> {
    // An attempt that has begun does not go back into the queue: that is what Requeued says.
    let known = attempt == run.attempt
        && run.state.is_some_and(|now| now == state || (state == RunState::Queued && now != RunState::Proposed));
    if known {
        return Vec::new();
    }
    vec![RunStateChanged { subject: run.subject.clone(), state, attempt, node_id: node_id.to_owned(), at_us }.into()]
}

fn ended(run: &Run, attempt: u32, end: &JobEnd, at_us: i64) -> RunEnded {
    let mut end = end.clone();
    let by_policy = run.stop.as_ref().filter(|stop| stop.by == StopBy::Policy);
    let state = match end.outcome {
        _ if by_policy.is_some() => RunState::EarlyStopped,
        // As far as its policy lets any trial come: what it has is its result.
        Outcome::Canceled if run.stop.as_ref().is_some_and(|stop| stop.by == StopBy::MaxResource) => {
            RunState::Completed
        }
        Outcome::Completed => RunState::Completed,
        Outcome::Canceled => RunState::Canceled,
        Outcome::Failed | Outcome::Preempted | Outcome::Lost => RunState::Failed,
    };
    if let Some(stop) = &run.stop
        && matches!(state, RunState::EarlyStopped | RunState::Canceled)
    {
        end.by = Some(stop.by);
        end.decision.clone_from(&stop.decision);
    }
    RunEnded {
        subject: run.subject.clone(),
        attempt,
        state,
        end,
        metric_names: run.metric_names(),
        outputs: run.outputs.iter().cloned().collect(),
        with_trial: false,
        at_us,
    }
}
