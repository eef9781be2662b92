//! Trials that wait at a rung: who goes on, and what becomes of the rest.

use jiff::Timestamp;
use tuning::Promotion;

use super::decide::Decided;
use super::state::{Status, Sweep};
use super::words::{CompletedReason, Outcome, StopBy};
use super::{SweepCompleting, SweepEvent, TrialPromoted, TrialStopRequested};

impl Sweep {
    /// Whether trials that wait may still go on.
    fn may_promote(&self) -> bool {
        match &self.status {
            Status::Running => true,
            Status::Completing(Outcome::Completed { reason }) => {
                matches!(reason, CompletedReason::MaxTotalTrials | CompletedReason::SpaceExhausted)
            }
            _ => false,
        }
    }

    /// Whether new trials may still come, now or when a place is free.
    fn may_propose(&self) -> bool {
        let total = self.submitted.as_ref().map_or(0, |submitted| submitted.limits.max_total_trials);
        matches!(self.status, Status::Queued | Status::Running | Status::Paused) && self.proposals() < total
    }

    /// The trial that takes the next free place, if there are both. The leader takes it when nothing else is left to
    /// do: no policy stops it, so it goes on to its end.
    pub fn promotion(&self) -> Option<Promotion> {
        let submitted = self.submitted.as_ref()?;
        let is_room = self.live.len() < submitted.limits.max_concurrent_trials as usize;
        if self.paused.is_empty() || !is_room || !self.may_promote() {
            return None;
        }
        let last = || if self.live.is_empty() && !self.may_propose() { self.curves.waiting_leader() } else { None };
        self.curves.promotable().or_else(last)
    }

    /// Whether something is to be decided about the trials that wait.
    pub fn has_waiting_work(&self) -> bool {
        self.promotion().is_some() || self.is_over_for_the_waiting()
    }

    /// Nothing runs, nothing comes, nobody goes on: those who still wait are stopped.
    fn is_over_for_the_waiting(&self) -> bool {
        !self.paused.is_empty() && self.live.is_empty() && self.may_promote() && !self.may_propose()
    }

    pub(super) fn promote(&self, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let workspace = submitted.workspace.clone();
        if let Some(Promotion { trial, rung, decision }) = self.promotion() {
            let waiting = self.trial(trial)?;
            let (run_id, attempt) = (waiting.run_id, waiting.attempt() + 1);
            return Ok(vec![TrialPromoted { workspace, trial, run_id, rung, attempt, decision, at }.into()]);
        }
        if !self.is_over_for_the_waiting() {
            return Ok(Vec::new());
        }
        let mut events = Vec::with_capacity(self.paused.len() + 1);
        if !matches!(self.status, Status::Completing(_)) {
            let outcome = Outcome::Completed { reason: CompletedReason::MaxTotalTrials };
            events.push(SweepCompleting { workspace: workspace.clone(), outcome, at }.into());
        }
        let stops = self.paused.iter().filter_map(|&trial| {
            let waiting = self.trials.get(trial as usize)?;
            let (run_id, decision) = (waiting.run_id, waiting.paused.clone());
            let workspace = workspace.clone();
            Some(SweepEvent::from(TrialStopRequested { workspace, trial, run_id, by: StopBy::Policy, decision, at }))
        });
        events.extend(stops);
        Ok(events)
    }
}
