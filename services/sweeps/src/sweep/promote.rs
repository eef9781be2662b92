//! Trials that wait at a rung: who goes on, and what becomes of the rest.

use jiff::Timestamp;
use tuning::Promotion;

use super::events::{SweepCompleting, SweepEvent, TrialPromoted, TrialStopRequested};
use super::rejection::Decided;
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};
use super::trial::Trial;
use super::trial_end::{StopBy, TrialEnd};

impl Sweep {
    /// Whether trials that wait may still go on.
    fn may_promote(&self) -> bool {
        match &self.status {
            Status::Running => true,
            Status::Completing(Outcome::Completed { reason }) => {
                use CompletedReason::{MaxNewTrials, MaxTotalTrials, SpaceExhausted};
                matches!(reason, MaxTotalTrials | MaxNewTrials | SpaceExhausted)
            }
            _ => false,
        }
    }

    /// Whether new trials may still come, now or when a place is free.
    fn may_propose(&self) -> bool {
        let total = self.submitted.as_ref().map_or(0, |submitted| self.most_trials(&submitted.limits));
        matches!(self.status, Status::Queued | Status::Running | Status::Paused) && self.spent() < total
    }

    /// The trials that take the next free places, as many as there are. The leader takes one when nothing else is left
    /// to do: no policy stops it, so it goes on to its end.
    pub(super) fn promotions(&self, most: usize) -> Vec<Promotion> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let room = (submitted.limits.max_concurrent_trials as usize).saturating_sub(self.live.len()).min(most);
        if self.paused.is_empty() || room == 0 || !self.may_promote() {
            return Vec::new();
        }
        let mut promotions: Vec<Promotion> = self.curves.promotables().take(room).collect();
        if promotions.is_empty() && self.live.is_empty() && !self.may_propose() {
            promotions.extend(self.curves.waiting_leader());
        }
        promotions
    }

    /// The trial that takes the next free place, if there are both.
    pub fn promotion(&self) -> Option<Promotion> {
        self.promotions(1).pop()
    }

    /// Whether something is to be decided about the trials that wait. Those of an external sweep go on when somebody
    /// asks for them.
    pub fn has_waiting_work(&self) -> bool {
        match (self.promotion(), self.submitted.as_ref().is_some_and(|submitted| submitted.spec.is_external())) {
            (Some(_), external) => !external,
            (None, _) => self.is_over_for_the_waiting(),
        }
    }

    /// Nothing runs, nothing comes, nobody goes on: those who still wait are stopped.
    fn is_over_for_the_waiting(&self) -> bool {
        !self.paused.is_empty() && self.live.is_empty() && self.may_promote() && !self.may_propose()
    }

    pub(super) fn promote(&self, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let workspace = submitted.workspace.clone();
        if !self.has_waiting_work() {
            return Ok(Vec::new());
        }
        if let Some(promotion) = self.promotion() {
            return Ok(self.promoted(submitted, promotion, at).into_iter().map(SweepEvent::from).collect());
        }
        let mut events = Vec::with_capacity(self.paused.len() + 1);
        if !matches!(self.status, Status::Completing(_)) {
            let reason = self.spent_for(&submitted.limits).unwrap_or(CompletedReason::MaxTotalTrials);
            let outcome = Outcome::Completed { reason };
            events.push(SweepCompleting { workspace: workspace.clone(), outcome, at }.into());
        }
        let stop = |trial: u32, waiting: &Trial| {
            let (run_id, decision) = (waiting.run_id, waiting.paused.clone());
            TrialStopRequested { workspace: workspace.clone(), trial, run_id, by: StopBy::Policy, decision, at }
        };
        let waiting = self.paused.iter().filter_map(|&trial| Some((trial, self.trials.get(trial as usize)?)));
        if !submitted.spec.is_external() {
            events.extend(waiting.map(|(trial, waiting)| SweepEvent::from(stop(trial, waiting))));
            return Ok(events);
        }
        // Without jobs they end here and now, each right behind its stop, and with the last one the sweep.
        let end = TrialEnd::EarlyStopped { decision: String::new() };
        for (trial, waiting) in waiting {
            events.push(stop(trial, waiting).into());
            events.extend(self.withdrawn(submitted, vec![trial], &end, at));
        }
        Ok(events)
    }

    /// The event by which a trial goes on.
    pub(super) fn promoted(
        &self,
        submitted: &Submitted,
        Promotion { trial, rung, decision }: Promotion,
        at: Timestamp,
    ) -> Option<TrialPromoted> {
        let waiting = self.trials.get(trial as usize)?;
        let (workspace, run_id, attempt) = (submitted.workspace.clone(), waiting.run_id, waiting.attempt() + 1);
        Some(TrialPromoted { workspace, trial, run_id, rung, attempt, decision, at })
    }
}
