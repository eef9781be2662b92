//! Proposals of model-based samplers: what they were made from, and what an end says to a model.

use serde::{Deserialize, Serialize};
use tuning::Proposal;
use tuning::bayes::{Explained, Outcome};

use super::trial_end::TrialEnd;
use crate::document::SweepSpec;

/// What a model knew when it made a proposal. Not a list of observations, which would grow with the square of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelBasis {
    /// The version of the stream that was looked at.
    pub version: i64,
    /// How many endings of trials were known: the first so many of the log. What trials had at their rungs counts too,
    /// where the model goes by it.
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

/// A trial that has ended, or has come to a rung, as a model takes it.
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
