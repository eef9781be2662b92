//! When a sweep has found enough: a target that is reached, a leader that gets no better.

use tuning::Goal;

use super::state::{Status, Sweep};
use super::words::CompletedReason;
use crate::document::Limits;

impl Sweep {
    /// Whether a reported value is the one that the sweep looks for.
    pub fn reaches_target(&self, value: f64) -> bool {
        let open = matches!(self.status, Status::Running | Status::Paused);
        let objective = self.submitted.as_ref().map(|submitted| &submitted.spec.objective);
        let target = objective.and_then(|objective| Some((objective.goal, objective.target?)));
        open && value.is_finite() && target.is_some_and(|(goal, target)| goal.reached(value, target))
    }

    /// How many trials in a row will have ended without a better leader once the one that ends now has.
    pub(super) fn unimproved(&self) -> u32 {
        let (now, before) = (self.curves.leader().map(|leader| leader.value), self.leads.back().copied());
        let better = match (now, before) {
            (Some(now), Some(before)) => self.curves.goal().worse(before, now),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if better { 0 } else { self.unimproved_in_a_row.saturating_add(1) }
    }

    /// Keeps the leader's value at the end of a trial.
    pub(super) fn remember_lead(&mut self) {
        let Some(leader) = self.curves.leader() else { return };
        let limits = self.submitted.as_ref().map(|submitted| &submitted.limits);
        let patience = limits.and_then(|limits| limits.convergence).map_or(0, |convergence| convergence.patience);
        self.leads.push_back(leader.value);
        while self.leads.len() > patience as usize + 1 {
            self.leads.pop_front();
        }
    }

    /// Why the sweep proposes no more once the trial that ends now has ended, if it has found enough.
    pub(super) fn enough(&self, limits: &Limits) -> Option<CompletedReason> {
        if limits.max_trials_without_improvement.is_some_and(|most| self.unimproved() >= most) {
            return Some(CompletedReason::NoImprovement);
        }
        let convergence = limits.convergence?;
        let now = self.curves.leader()?.value;
        // With the one that ends now there are as many leads after this one as the patience has trials.
        let before = *self.leads.get(self.leads.len().checked_sub(convergence.patience as usize)?)?;
        let gained = match self.curves.goal() {
            Goal::Maximize => now - before,
            Goal::Minimize => before - now,
        };
        (gained <= convergence.relative_improvement * before.abs()).then_some(CompletedReason::Converged)
    }
}
