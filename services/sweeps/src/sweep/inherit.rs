//! How a sweep takes in what it has from others.

use std::sync::Arc;

use tuning::fingerprint;

use super::events::{SweepEvent, SweepSubmitted};
use super::inheritance::{ObservationsInherited, TrialsAdopted, configuration_of};
use super::model::Ended;
use super::rejection::{Decided, Rejection};
use super::state::Sweep;
use super::trial::Trial;
use super::trial_end::TrialEnd;
use crate::document::Limits;

impl Sweep {
    /// How much of the trial limit is used up: proposals, and what was inherited.
    pub fn spent(&self) -> u32 {
        self.proposals().saturating_add(self.inherited())
    }

    /// The trial limit in force, of what is used up: the total, or what the sweep has from others and the limit of its
    /// own.
    pub fn most_trials(&self, limits: &Limits) -> u32 {
        let Some(new) = limits.max_new_trials else { return limits.max_total_trials };
        let before = self.trials.iter().take_while(|trial| trial.basis.imported).count();
        let before = self.inherited().saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        limits.max_total_trials.min(before.saturating_add(new))
    }

    /// How many trials the sweep may have itself at most: the limit in force without what are observations only.
    pub fn trial_limit(&self) -> u32 {
        let limits = self.submitted.as_ref().map(|submitted| &submitted.limits);
        limits.map_or(0, |limits| self.most_trials(limits).saturating_sub(self.inherited()))
    }

    /// How many trials of earlier sweeps are observations of this one.
    pub fn inherited(&self) -> u32 {
        u32::try_from(self.inheritance.observations.len()).unwrap_or(u32::MAX)
    }

    /// A submission with what the sweep has from others.
    pub(super) fn submit_with_history(&self, submitted: &SweepSubmitted, history: &[SweepEvent]) -> Decided {
        if self.submitted.is_some() {
            return Err(Rejection::Exists);
        }
        let mut events = vec![SweepEvent::SweepSubmitted(submitted.clone())];
        events.extend(history.iter().cloned());
        Ok(events)
    }

    pub(super) fn take_inherited(&mut self, event: &ObservationsInherited) {
        let counts_early = self.counts_early();
        let inheritance = Arc::make_mut(&mut self.inheritance);
        for trial in &event.trials {
            if counts_early && !trial.resumed {
                Arc::make_mut(&mut self.taken).insert(fingerprint(&configuration_of(&trial.draws)));
            }
            if trial.resumed {
                inheritance.resumed.push(trial.clone());
            } else {
                inheritance.observations.push((event.weight, trial.clone()));
            }
        }
    }

    pub(super) fn take_adopted(&mut self, event: &TrialsAdopted) {
        let position = self.version.unsigned_abs();
        for adopted in &event.trials {
            let index = self.proposals();
            Arc::make_mut(&mut self.taken).insert(fingerprint(&configuration_of(&adopted.draws)));
            if let Some(used) = adopted.sampler_index {
                self.next_index = self.next_index.max(used.saturating_add(1));
            }
            adopted.report_to(&mut self.curves, index, position);
            let trial = Trial::adopted(adopted, self.version, event.at);
            self.reported |= trial.reported;
            self.completed += u32::from(matches!(adopted.end, TrialEnd::Completed { .. }));
            self.without_value += u32::from(adopted.end.lacks_value());
            self.count(None, trial.state);
            if self.is_modelled()
                && let Some(submitted) = &self.submitted
            {
                let best = self.curves.standing(index).map(|standing| standing.value);
                let result = (best, self.curves.interval(index));
                self.endings.push(Ended::of(&submitted.spec, index, &adopted.end, result, &adopted.values));
            }
            self.trials.push(trial);
            self.last_lead = self.lead_at_end(index);
        }
    }
}
