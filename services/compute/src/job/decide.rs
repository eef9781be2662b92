//! What may be done with a job. News of an attempt that is not the current one mean nothing: that is the fence.

use std::convert::Infallible;

use vocabulary::job::{AttemptPhase, EndPhase, JobEnd, JobSpec, Outcome, RequeueCause, StopBy, TAKEN_DOWN};
use vocabulary::{Decider, NodeId};

use super::events::{
    JobEnded, JobEvent, JobHeld, JobKey, JobPhaseChanged, JobPlaced, JobQueued, JobReleased, JobRequeued, StopRequested,
};
use super::phase::JobPhase;
use super::state::Job;

/// Lost attempts that are tried again; the next one is a failure.
pub const MAX_LOST: u32 = 3;

/// The node on which room is kept for an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// The node.
    pub node_id: NodeId,
    /// Why this one.
    pub reason: String,
}

/// What somebody wants of a job.
#[derive(Clone, Debug)]
pub enum Command {
    /// Queue it.
    Queue {
        /// Whose it is.
        job: JobKey,
        /// What it is.
        spec: Box<JobSpec>,
        /// Where its first attempt goes at once, if it need not wait.
        place: Option<Reserved>,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// Give the coming attempt a node.
    Place {
        /// The attempt that was planned.
        attempt: u32,
        /// The node.
        node_id: NodeId,
        /// Why.
        reason: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// The agent says how far the attempt has come.
    Reach {
        /// The attempt.
        attempt: u32,
        /// The agent's node.
        node_id: NodeId,
        /// How far.
        phase: AttemptPhase,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// The attempt is over.
    EndAttempt {
        /// The attempt.
        attempt: u32,
        /// The node that says so, or where it was.
        node_id: NodeId,
        /// How it ended.
        end: JobEnd,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// It is to end.
    Stop {
        /// See `StopRequested`.
        by: StopBy,
        /// See `StopRequested`.
        decision: String,
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// If it was to be held, it goes on.
    Release {
        /// Microseconds since 1970.
        at_us: i64,
    },
    /// It waits and can never run.
    GiveUp {
        /// How it ends.
        end: JobEnd,
        /// Microseconds since 1970.
        at_us: i64,
    },
}

/// The end of a job that compute itself says cannot run.
pub fn failed_end(reason: &str, detail: String) -> JobEnd {
    JobEnd {
        phase: Some(EndPhase::Prepare),
        reason: reason.to_owned(),
        stderr_tail: detail,
        ..JobEnd::new(Outcome::Failed)
    }
}

impl Job {
    fn canceled(&self, by: StopBy, decision: &str) -> JobEnd {
        JobEnd { by: Some(by), decision: decision.to_owned(), ..JobEnd::new(Outcome::Canceled) }
    }

    fn ended(&self, end: JobEnd, at_us: i64) -> Vec<JobEvent> {
        vec![JobEnded { job: self.key.clone(), attempt: self.attempt, end, node_id: self.node_id, at_us }.into()]
    }

    /// What the end of the live attempt means for the job.
    fn end_attempt(&self, node_id: NodeId, end: JobEnd, at_us: i64) -> Vec<JobEvent> {
        if let Some(stop) = &self.stop
            && end.outcome != Outcome::Completed
        {
            if stop.by.holds() {
                return vec![self.after_hold(node_id, end, at_us)];
            }
            // It was to end and has ended: how does not matter, but it must not be queued again.
            let kept = JobEnd { reason: String::new(), ..end };
            return self.ended(merge(kept, self.canceled(stop.by, &stop.decision)), at_us);
        }
        let cause = match end.outcome {
            // Nobody took its node: it goes on with the installation, and nothing is counted.
            Outcome::Preempted if end.reason == TAKEN_DOWN => RequeueCause::Resumed,
            Outcome::Preempted => RequeueCause::Preempted,
            Outcome::Lost if self.lost < MAX_LOST => RequeueCause::Lost,
            Outcome::Lost => {
                let end = JobEnd { outcome: Outcome::Failed, reason: "lost".to_owned(), ..end };
                return self.ended(end, at_us);
            }
            Outcome::Failed if self.retried < self.spec.max_retries => RequeueCause::Retry,
            Outcome::Failed | Outcome::Completed | Outcome::Canceled => return self.ended(end, at_us),
        };
        let (job, attempt) = (self.key.clone(), self.attempt);
        vec![JobRequeued { job, attempt, next_attempt: attempt + 1, cause, end, node_id, at_us }.into()]
    }

    /// An attempt that was to be held has ended.
    fn after_hold(&self, node_id: NodeId, end: JobEnd, at_us: i64) -> JobEvent {
        if self.released {
            return self.goes_on(node_id, end, at_us);
        }
        JobHeld { job: self.key.clone(), attempt: self.attempt, end, node_id, at_us }.into()
    }

    fn goes_on(&self, node_id: NodeId, end: JobEnd, at_us: i64) -> JobEvent {
        let paused = self.stop.as_ref().is_some_and(|stop| stop.by == StopBy::Pause);
        let cause = if paused { RequeueCause::Resumed } else { RequeueCause::Promoted };
        let (job, attempt) = (self.key.clone(), self.attempt);
        JobRequeued { job, attempt, next_attempt: attempt + 1, cause, end, node_id, at_us }.into()
    }

    /// Lets a job go on that is held, or is about to be.
    fn release(&self, at_us: i64) -> Vec<JobEvent> {
        let is_to_wait = self.stop.as_ref().is_some_and(|stop| stop.by.holds());
        if !is_to_wait || self.released || self.phase == JobPhase::Ended {
            return Vec::new();
        }
        let mut events = vec![JobReleased { job: self.key.clone(), at_us }.into()];
        if let (JobPhase::Held, Some((node_id, end))) = (self.phase, self.held.clone()) {
            events.push(self.goes_on(node_id, end, at_us));
        }
        events
    }

    fn stop(&self, by: StopBy, decision: String, at_us: i64) -> Vec<JobEvent> {
        // A wish that it ends goes before the wish that it waits; one that was let go on before its attempt had ended
        // may have to wait after all.
        let known = self.stop.as_ref().is_some_and(|stop| !stop.by.holds() || (by.holds() && !self.released));
        // What is queued has reported nothing, so it waits at no rung.
        let may_wait = by == StopBy::Pause || self.phase.is_live() || !by.holds();
        if known || !may_wait || matches!(self.phase, JobPhase::Absent | JobPhase::Ended) {
            return Vec::new();
        }
        let requested = StopRequested { job: self.key.clone(), by, decision: decision.clone(), at_us }.into();
        let mut events = vec![requested];
        if matches!(self.phase, JobPhase::Queued | JobPhase::Held) && !by.holds() {
            events.extend(self.ended(self.canceled(by, &decision), at_us));
        }
        events
    }
}

/// The outcome of `ordered` with the facts of `kept`.
fn merge(kept: JobEnd, ordered: JobEnd) -> JobEnd {
    JobEnd { outcome: ordered.outcome, by: ordered.by, decision: ordered.decision, ..kept }
}

impl Decider for Job {
    type Command = Command;
    type Event = JobEvent;
    type Rejection = Infallible;

    fn decide(&self, command: &Command) -> Result<Vec<JobEvent>, Infallible> {
        Ok(match command.clone() {
            Command::Queue { job, spec, place, at_us } if self.phase == JobPhase::Absent => {
                let placed = place.map(|Reserved { node_id, reason }| {
                    JobPlaced { job: job.clone(), attempt: 1, node_id, reason, at_us }.into()
                });
                let queued = JobQueued { job, spec: *spec, placed: placed.is_some(), at_us };
                [queued.into()].into_iter().chain(placed).collect()
            }
            Command::Place { attempt, node_id, reason, at_us }
                if self.phase == JobPhase::Queued && attempt == self.attempt =>
            {
                vec![JobPlaced { job: self.key.clone(), attempt, node_id, reason, at_us }.into()]
            }
            Command::Reach { attempt, node_id, phase, at_us }
                if self.live() == Some((node_id, attempt)) && JobPhase::from(phase) > self.phase =>
            {
                vec![JobPhaseChanged { job: self.key.clone(), attempt, phase, node_id, at_us }.into()]
            }
            Command::EndAttempt { attempt, node_id, end, at_us } if self.live() == Some((node_id, attempt)) => {
                self.end_attempt(node_id, end, at_us)
            }
            Command::Release { at_us } => self.release(at_us),
            Command::Stop { by, decision, at_us } => self.stop(by, decision, at_us),
            Command::GiveUp { end, at_us } if self.phase == JobPhase::Queued => self.ended(end, at_us),
            _ => Vec::new(),
        })
    }

    fn evolve(&mut self, event: &JobEvent) {
        self.take(event);
    }
}
