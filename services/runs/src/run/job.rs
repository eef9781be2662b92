//! What compute's news of a job mean for its run. News of an older attempt, or after the end, mean nothing.

use contracts::compute::JobEnd;
use vocabulary::Decider;

use super::decide::JobNews;
use super::{AttemptCause, AttemptEnded, Run, RunEnded, RunEvent, RunState, RunStateChanged};

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
    if run.ended().is_some() || !run.has_job() || news.attempt() < run.attempt() {
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
                end: finite(end),
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
    let known = attempt == run.attempt()
        && run.state.is_some_and(|now| now == state || (state == RunState::Queued && now != RunState::Proposed));
    if known {
        return Vec::new();
    }
    vec![RunStateChanged { subject: run.subject.clone(), state, attempt, node_id: node_id.to_owned(), at_us }.into()]
}

fn ended(run: &Run, attempt: u32, end: &JobEnd, at_us: i64) -> RunEnded {
    let mut end = finite(end);
    let by_policy = run.stop.as_ref().filter(|stop| stop.by == "policy");
    let state = match end.outcome.as_str() {
        _ if by_policy.is_some() => RunState::EarlyStopped,
        // As far as its policy lets any trial come: what it has is its result.
        "canceled" if run.stop.as_ref().is_some_and(|stop| stop.by == "max_resource") => RunState::Completed,
        "completed" => RunState::Completed,
        "canceled" => RunState::Canceled,
        _ => RunState::Failed,
    };
    if let Some(stop) = &run.stop
        && matches!(state, RunState::EarlyStopped | RunState::Canceled)
    {
        end.by.clone_from(&stop.by);
        end.decision.clone_from(&stop.decision);
    }
    RunEnded {
        subject: run.subject.clone(),
        attempt,
        state,
        end,
        metric_names: run.metric_names(),
        with_trial: false,
        at_us,
    }
}

/// Without a number that JSON cannot hold.
fn finite(end: &JobEnd) -> JobEnd {
    let age = end.checkpoint_age_seconds.filter(|age| age.is_finite());
    JobEnd { checkpoint_age_seconds: age, ..end.clone() }
}

impl Decider for Run {
    type Command = super::Command;
    type Event = RunEvent;
    type Rejection = super::Rejection;

    fn decide(&self, command: &super::Command) -> Result<Vec<RunEvent>, super::Rejection> {
        super::decide::decide(self, command)
    }

    fn evolve(&mut self, event: &RunEvent) {
        self.take(event);
    }
}

impl AttemptCause {
    /// Reads compute's word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "preempted" => Some(Self::Preempted),
            "lost" => Some(Self::Lost),
            "retry" => Some(Self::Retry),
            "promoted" => Some(Self::Promoted),
            "resumed" => Some(Self::Resumed),
            _ => None,
        }
    }
}
