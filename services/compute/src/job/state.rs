//! A job as its events have made it.

use std::sync::Arc;

use vocabulary::NodeId;
use vocabulary::job::{JobEnd, JobSpec, RequeueCause, StopBy, TAKEN_DOWN};

use super::events::{JobEvent, JobKey, JobRequeued};
use super::phase::JobPhase;

/// Why a job waits whose sweep is paused.
const WAITS_PAUSED: &str = "its sweep is paused";

/// Who wants the job to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// See `StopRequested`.
    pub by: StopBy,
    /// See `StopRequested`.
    pub decision: String,
}

/// A job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Job {
    /// Whose it is.
    pub key: JobKey,
    /// What it is.
    pub spec: Arc<JobSpec>,
    /// Where it stands.
    pub phase: JobPhase,
    /// The attempt that lives or comes, from 1.
    pub attempt: u32,
    /// Where the attempt lives.
    pub node_id: Option<NodeId>,
    /// Set once its end is wanted.
    pub stop: Option<Stop>,
    /// The attempt that is to be held goes on as soon as it has ended.
    pub released: bool,
    /// How and where the attempt ended before the job was held.
    pub held: Option<(NodeId, JobEnd)>,
    /// Attempts that were lost.
    pub lost: u32,
    /// Attempts that failed and were tried again.
    pub retried: u32,
    /// Set once it is over.
    pub end: Option<JobEnd>,
    /// When it was queued first.
    pub queued_us: i64,
    /// Since when it stands where it stands.
    pub since_us: i64,
    /// Why it stands where it stands.
    pub reason: String,
    /// Since when its command runs in this attempt.
    pub running_since_us: Option<i64>,
    /// How long its command ran in earlier attempts, in microseconds.
    pub ran_us: i64,
}

impl Job {
    /// The node and the attempt that lives there.
    pub fn live(&self) -> Option<(NodeId, u32)> {
        self.node_id.filter(|_| self.phase.is_live()).map(|node| (node, self.attempt))
    }

    /// When its running time is used up, if it is limited and runs.
    pub fn timeout_us(&self) -> Option<i64> {
        let limit = self.spec.timeout_seconds?;
        let since = self.running_since_us.filter(|_| self.phase.is_live())?;
        Some(since.saturating_add(micros(limit)).saturating_sub(self.ran_us))
    }

    fn attempt_over(&mut self, at_us: i64) {
        if let Some(since) = self.running_since_us.take() {
            self.ran_us = self.ran_us.saturating_add(at_us.saturating_sub(since).max(0));
        }
    }

    fn take_requeue(&mut self, event: &JobRequeued) {
        self.attempt_over(event.at_us);
        match event.cause {
            RequeueCause::Preempted => {}
            RequeueCause::Lost => self.lost += 1,
            RequeueCause::Retry => self.retried += 1,
            RequeueCause::Promoted | RequeueCause::Resumed => {
                self.stop = None;
                self.released = false;
                self.held = None;
            }
        }
        self.phase = JobPhase::Queued;
        self.attempt = event.next_attempt;
        self.node_id = None;
        self.since_us = event.at_us;
        let past = if event.end.reason == TAKEN_DOWN { "taken down" } else { past(event.cause) };
        self.reason = format!("attempt {} was {past}", event.attempt);
    }

    pub(super) fn take(&mut self, event: &JobEvent) {
        match event {
            JobEvent::JobQueued(event) => {
                *self = Self {
                    key: event.job.clone(),
                    spec: Arc::new(event.spec.clone()),
                    phase: JobPhase::Queued,
                    attempt: 1,
                    queued_us: event.at_us,
                    since_us: event.at_us,
                    ..Self::default()
                };
            }
            JobEvent::JobPlaced(event) => {
                self.phase = JobPhase::Placed;
                self.node_id = Some(event.node_id);
                self.since_us = event.at_us;
                self.reason.clone_from(&event.reason);
            }
            JobEvent::JobPhaseChanged(event) => {
                self.phase = event.phase.into();
                self.since_us = event.at_us;
                if self.phase == JobPhase::Running {
                    self.running_since_us.get_or_insert(event.at_us);
                }
            }
            JobEvent::JobRequeued(event) => self.take_requeue(event),
            JobEvent::StopRequested(event) => {
                self.stop = Some(Stop { by: event.by, decision: event.decision.clone() });
                self.released = false;
                // It has no attempt that could end: it waits from here on, and later as the attempt that it is.
                if self.phase == JobPhase::Queued && event.by == StopBy::Pause {
                    self.phase = JobPhase::Held;
                    self.since_us = event.at_us;
                    self.reason = WAITS_PAUSED.to_owned();
                }
            }
            JobEvent::JobHeld(event) => {
                self.attempt_over(event.at_us);
                self.phase = JobPhase::Held;
                self.node_id = None;
                self.since_us = event.at_us;
                let paused = self.stop.as_ref().is_some_and(|stop| stop.by == StopBy::Pause);
                self.reason = if paused { WAITS_PAUSED } else { "its trial waits at a rung" }.to_owned();
                self.held = Some((event.node_id, event.end.clone()));
            }
            JobEvent::JobReleased(event) if self.phase == JobPhase::Held && self.held.is_none() => {
                self.phase = JobPhase::Queued;
                self.stop = None;
                self.since_us = event.at_us;
                self.reason.clear();
            }
            JobEvent::JobReleased(_) => self.released = true,
            JobEvent::JobEnded(event) => {
                self.attempt_over(event.at_us);
                self.phase = JobPhase::Ended;
                self.node_id = event.node_id;
                self.since_us = event.at_us;
                self.end = Some(event.end.clone());
            }
        }
    }
}

fn past(cause: RequeueCause) -> &'static str {
    match cause {
        RequeueCause::Preempted => "preempted",
        RequeueCause::Lost => "lost",
        RequeueCause::Retry => "a failure that may be tried again",
        RequeueCause::Promoted => "held, and its trial was promoted",
        RequeueCause::Resumed => "held, and its sweep goes on",
    }
}

/// Seconds as microseconds; what is beyond the range becomes its end.
pub fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}
