//! Population-based training: a child takes the place of a trial that fell behind.
//!
//! The population is as large as `max_concurrent_trials`: so many founders come from the sampler, and from then on one
//! child for each trial that the policy stops. Who has ended by itself is not replaced, so the sweep is over when its
//! last member is. Everything here follows from the state alone.

use tuning::Verdict;

use super::events::{TrialProposed, TrialStopRequested};
use super::exploit::{Donor, Population, Vacancy};
use super::state::Sweep;
use super::status::{CompletedReason, Status};
use crate::document::Limits;

/// What a decision says that stops nobody because nobody could come instead.
const HINT_NO_CHILD: &str = "it is behind and runs on: no trial is left that could take its place";

impl Sweep {
    fn is_population_based(&self) -> bool {
        self.submitted.as_ref().is_some_and(|submitted| submitted.spec.policy.is_population_based())
    }

    /// What the next children are made from.
    pub fn population(&self) -> Population {
        if self.vacancies.is_empty() {
            return Population::default();
        }
        let donors = self.curves.donors().into_iter().filter_map(|member| {
            let trial = self.trials.get(member.trial as usize)?;
            let before = trial.basis.exploit.as_ref().map_or(0, |exploit| exploit.resource);
            Some(Donor {
                trial: member.trial,
                draws: trial.draws.clone(),
                interval: member.interval,
                resource: before.saturating_add(member.interval),
            })
        });
        Population { donors: donors.collect(), vacancies: self.vacancies.clone() }
    }

    /// How many proposals the population takes now; `None` when there is none.
    pub(super) fn population_room(&self, limits: &Limits) -> Option<u32> {
        let initial_members = limits.max_concurrent_trials.saturating_sub(self.initial_members);
        let children = || u32::try_from(self.population().count()).unwrap_or(u32::MAX);
        self.is_population_based().then(|| initial_members.saturating_add(children()))
    }

    /// Why nothing more comes once nothing is left that lives.
    pub(super) fn spent_for(&self, limits: &Limits) -> Option<CompletedReason> {
        let most = self.most_trials(limits);
        if self.spent() >= most {
            let by_total = most == limits.max_total_trials;
            return Some(if by_total { CompletedReason::MaxTotalTrials } else { CompletedReason::MaxNewTrials });
        }
        // Whoever could be followed lives, so there is nobody.
        let is_over = self.is_population_based() && self.initial_members >= limits.max_concurrent_trials;
        is_over.then_some(CompletedReason::PopulationEnded)
    }

    /// What a verdict comes to: nobody is stopped for a child that cannot come.
    pub(crate) fn allowed_verdict(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Stop(mut decision) if self.is_population_based() && !self.may_replace() => {
                decision.hint = Some(HINT_NO_CHILD.to_owned());
                Verdict::Keep(decision)
            }
            verdict => verdict,
        }
    }

    fn may_replace(&self) -> bool {
        let total = self.submitted.as_ref().map_or(0, |submitted| self.most_trials(&submitted.limits));
        let coming = u32::try_from(self.vacancies.len()).unwrap_or(u32::MAX);
        matches!(self.status, Status::Running | Status::Paused) && self.spent().saturating_add(coming) < total
    }

    pub(super) fn take_vacancy(&mut self, event: &TrialStopRequested) {
        if event.decision.is_some() && self.is_population_based() {
            self.vacancies.push(Vacancy { trial: event.trial, version: self.version });
        }
    }

    pub(super) fn take_member(&mut self, event: &TrialProposed) {
        match &event.basis.exploit {
            Some(exploit) => self.vacancies.retain(|vacancy| vacancy.trial != exploit.stopped),
            None => self.initial_members += u32::from(!event.basis.imported),
        }
    }
}
