//! Proposals of model-based samplers: what they were made from, and how far they may lag behind what is known.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tuning::bayes::{Explained, Fit, Outcome};
use tuning::{Proposal, SamplerSpec};

use super::ModelFitted;
use super::decide::{Decided, Rejection};
use super::state::Sweep;
use super::trial_end::TrialEnd;
use crate::document::SweepSpec;

/// What a model knew when it made a proposal. Not a list of observations, which would grow with the square of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelBasis {
    /// The version of the stream that was looked at.
    pub version: i64,
    /// How many endings of trials were known: the first so many of the log.
    pub known: u32,
    /// Trials proposed before that had not ended among these.
    pub pending: u32,
    /// The version of the `ModelFitted` whose hyperparameters were used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<i64>,
}

/// How a model's proposal came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// From what.
    pub basis: ModelBasis,
    /// Why.
    pub explained: Explained,
    /// It took too long to take everything in: it may lag behind by any number of endings.
    pub waived: bool,
}

/// A model's proposal for the trial with this number.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggested {
    /// The trial's index if it is taken.
    pub number: u32,
    /// The configuration.
    pub proposal: Proposal,
    /// How it came about.
    pub made: Made,
}

/// What the end of a trial says to a model; `best` is the trial's result after so many reports (0: not known).
pub fn outcome_of(end: &TrialEnd, best: Option<f64>, reports: u32) -> Outcome {
    match (end, best) {
        (TrialEnd::Completed { .. }, Some(best)) => Outcome::Value(best),
        (TrialEnd::EarlyStopped { .. }, Some(best)) => Outcome::Censored { value: best, reports },
        (TrialEnd::Canceled { .. }, _) => Outcome::Nothing,
        (TrialEnd::Failed { .. } | TrialEnd::Completed { .. } | TrialEnd::EarlyStopped { .. }, _) => Outcome::Failed,
    }
}

/// A trial that has ended, as a model takes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which trial.
    pub trial: u32,
    /// What its end says.
    pub outcome: Outcome,
    /// The values of the further objectives and of the metrics of the constraints, as in the document.
    pub others: Vec<Option<f64>>,
}

impl Ended {
    /// `best` is the trial's result; of several objectives the first one's last value is.
    pub(super) fn of(
        spec: &SweepSpec,
        trial: u32,
        end: &TrialEnd,
        (best, reports): (Option<f64>, u32),
        values: &[Option<f64>],
    ) -> Self {
        let value = |metric: &str| {
            let place = spec.watched().iter().position(|name| *name == metric)?;
            values.get(place).copied().flatten()
        };
        let first = if spec.has_several() { value(&spec.objective.primary_metric) } else { best };
        let objectives = spec.further_objectives.iter().map(|objective| value(&objective.primary_metric));
        let constraints = spec.constraints.iter().map(|constraint| value(&constraint.metric));
        Self { trial, outcome: outcome_of(end, first, reports), others: objectives.chain(constraints).collect() }
    }
}

impl Sweep {
    /// Whether a model proposes.
    pub fn is_modelled(&self) -> bool {
        let sampler = self.submitted.as_ref().map(|submitted| &submitted.spec.sampler);
        matches!(sampler, Some(SamplerSpec::Bayesian { .. }))
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
