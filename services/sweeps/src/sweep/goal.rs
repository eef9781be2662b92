//! When a sweep has found enough: a target that is reached, a leader that gets no better.

use tuning::Goal;

use super::state::Sweep;
use super::status::{CompletedReason, Status};
use crate::document::Limits;

impl Sweep {
    /// Whether a reported value is the one that the sweep looks for. With constraints that is known at the end of the
    /// trial only.
    pub fn reaches_target(&self, value: f64) -> bool {
        let free = self.submitted.as_ref().is_some_and(|submitted| submitted.spec.constraints.is_empty());
        free && self.is_target(value)
    }

    /// With constraints: whether a feasible trial that has ended is as good as the target.
    pub(super) fn is_feasibly_reached(&self) -> bool {
        let constrained = self.submitted.as_ref().is_some_and(|submitted| !submitted.spec.constraints.is_empty());
        constrained && self.last_lead.is_some_and(|lead| self.is_target(lead))
    }

    fn is_target(&self, value: f64) -> bool {
        let open = matches!(self.status, Status::Running | Status::Paused);
        let objective = self.submitted.as_ref().map(|submitted| &submitted.spec.objective);
        let target = objective.and_then(|objective| Some((objective.goal, objective.target?)));
        open && value.is_finite() && target.is_some_and(|(goal, target)| goal.reached(value, target))
    }

    /// How many trials in a row will have ended without a better leader once the one that ends now has.
    pub(super) fn unimproved(&self, now: Option<f64>) -> u32 {
        let better = match (now, self.leads.back().copied()) {
            (Some(now), Some(before)) => self.curves.goal().worse(before, now),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if better { 0 } else { self.unimproved_in_a_row.saturating_add(1) }
    }

    /// Keeps the leader's value at the end of a trial.
    pub(super) fn remember_lead(&mut self, now: Option<f64>) {
        let Some(now) = now else { return };
        let limits = self.submitted.as_ref().map(|submitted| &submitted.limits);
        let patience = limits.and_then(|limits| limits.convergence).map_or(0, |convergence| convergence.patience);
        self.leads.push_back(now);
        while self.leads.len() > patience as usize + 1 {
            self.leads.pop_front();
        }
    }

    /// Why the sweep proposes no more now that a trial has ended, if it has found enough.
    pub(super) fn enough(&self, limits: &Limits) -> Option<CompletedReason> {
        if limits.max_trials_without_improvement.is_some_and(|most| self.unimproved_in_a_row >= most) {
            return Some(CompletedReason::NoImprovement);
        }
        let convergence = limits.convergence?;
        let now = self.last_lead?;
        // The lead of before as many ends as the patience has trials.
        let before = *self.leads.get(self.leads.len().checked_sub(convergence.patience as usize + 1)?)?;
        let gained = match self.curves.goal() {
            Goal::Maximize => now - before,
            Goal::Minimize => before - now,
        };
        (gained <= convergence.relative_improvement * before.abs()).then_some(CompletedReason::Converged)
    }
}
