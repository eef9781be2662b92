//! Sweeps in which a model proposes: when it is asked, and how far its proposals may lag behind what is known.

use jiff::Timestamp;
use tuning::bayes::{Fit, Outcome};
use tuning::{SamplerSpec, TUNER_VERSION, TunerVersion};

use super::events::ModelFitted;
use super::model::{Ended, Made, ModelBasis, Suggested};
use super::rejection::{Decided, Rejection};
use super::state::Sweep;

impl Sweep {
    /// Whether a model proposes.
    pub fn is_modelled(&self) -> bool {
        let sampler = self.submitted.as_ref().map(|submitted| &submitted.spec.sampler);
        matches!(sampler, Some(SamplerSpec::Bayesian { .. }))
    }

    /// Whether its model goes by rules under which trials count before their end, and what was inherited is not
    /// proposed again.
    pub(crate) fn counts_early(&self) -> bool {
        let version = self.submitted.as_ref().map_or(TUNER_VERSION, |submitted| submitted.tuner_version);
        TunerVersion::recorded(version).is_some_and(TunerVersion::counts_early)
    }

    /// A trial has so many reports now: at a rung the model is told what it has.
    pub(super) fn note_rung(&mut self, trial: u32, reports: u32) {
        let plain = self.submitted.as_ref().is_some_and(|submitted| submitted.spec.is_plain());
        if !plain || !self.is_modelled() || !self.counts_early() || !self.curves.is_rung(reports) {
            return;
        }
        if let Some(standing) = self.curves.standing(trial) {
            let outcome = Outcome::Reached { value: standing.value, reports };
            self.endings.push(Ended { trial, outcome, others: Vec::new() });
        }
    }

    /// Whether a model is to propose trials by itself now, since nobody asks for them.
    pub fn asks_its_model(&self) -> bool {
        let managed = self.submitted.as_ref().is_some_and(|submitted| !submitted.spec.is_external());
        managed && self.is_modelled() && self.allowed() > 0
    }

    /// How many endings are known that a proposal's basis does not have.
    pub fn lag(&self, basis: &ModelBasis) -> u32 {
        u32::try_from(self.endings.len()).unwrap_or(u32::MAX).saturating_sub(basis.known)
    }

    /// Whether a proposal knows enough: as many endings may be missing as trials are pending, `ahead` of which are
    /// proposed with it. So the quality of a sweep does not depend on the speed of the machine.
    pub(super) fn knows_enough(&self, made: &Made, ahead: usize) -> bool {
        made.waived || self.lag(&made.basis) as usize <= self.live.len() + ahead
    }

    /// The first of the suggestions that fit the state, at most `most`.
    pub(super) fn usable(&self, suggested: &[Suggested], most: u32) -> usize {
        let in_order = (self.proposals()..).zip(suggested).take(most as usize).enumerate();
        in_order
            .take_while(|(ahead, (number, new))| new.number == *number && self.knows_enough(&new.made, *ahead))
            .count()
    }

    /// Notes hyperparameters, if they follow the ones that are in force.
    pub(super) fn note_fit(&self, previous: Option<i64>, fit: &Fit, at: Timestamp) -> Decided {
        self.known()?;
        let current = self.fit.as_ref().map(|(version, _)| *version);
        if !self.is_modelled() || previous != current || fit.known as usize > self.endings.len() {
            return Err(Rejection::NothingToPropose);
        }
        if self.status.state().is_terminal() {
            return Ok(Vec::new());
        }
        Ok(vec![ModelFitted { known: fit.known, previous, fit: fit.clone(), at }.into()])
    }
}
