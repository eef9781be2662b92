//! What a sweep has from others: observations of earlier sweeps that warm its model, trials that are to go on, and
//! trials that had ended elsewhere and are its own from its beginning on. All of it is in its log, so that the log
//! alone explains every proposal.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tuning::bayes::Inherited;
use tuning::{Configuration, Draw, Proposal, Report};
use vocabulary::{RunId, SweepId};

use super::model::outcome_of;
use super::point::Point;
use super::trial_end::TrialEnd;

/// Trials of an earlier sweep, as this one sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationsInherited {
    /// The earlier sweep.
    pub source: SweepId,
    /// How much one of them says, beside 1 for a trial of this sweep.
    pub weight: f64,
    /// In order of their index there.
    pub trials: Vec<InheritedTrial>,
    /// When.
    pub at: Timestamp,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InheritedTrial {
    /// Its index there.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// Its parameters, as far as this sweep has them, with their numbers in this sweep's space.
    pub draws: Vec<Draw>,
    /// How it ended.
    pub end: TrialEnd,
    /// Its result; of several objectives the first one's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<f64>,
    /// The values of the further objectives and of the metrics of the constraints, as in this sweep's document.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Option<f64>>,
    /// From how many reports; 0 when it was not noted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reports: u32,
    /// It is to go on as a new trial, and is no observation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl InheritedTrial {
    /// What it says to a model.
    pub fn for_model(&self, weight: f64) -> Inherited {
        let outcome = outcome_of(&self.end, self.best, self.reports);
        Inherited { draws: self.draws.clone(), outcome, others: self.others.clone(), weight }
    }
}

/// Trials that had ended elsewhere are the next trials of this sweep, without runs of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialsAdopted {
    /// The sweep that they are from.
    pub source: SweepId,
    /// In order of their index there.
    pub trials: Vec<AdoptedTrial>,
    /// When.
    pub at: Timestamp,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdoptedTrial {
    /// Its index there.
    pub trial: u32,
    /// Its run there.
    pub run_id: RunId,
    /// Its parameters.
    pub draws: Vec<Draw>,
    /// The Sobol point or grid cell that it used there, where the sampler goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler_index: Option<u64>,
    /// Its counted reports, in order.
    pub points: Vec<Point>,
    /// The last finite value of each watched metric, with several objectives or constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Option<f64>>,
    /// How it ended.
    pub end: TrialEnd,
}

/// From where a sweep was forked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The sweep.
    pub sweep_id: SweepId,
    /// The position in the log up to which it was looked at.
    pub position: i64,
}

/// What a sweep has from earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inheritance {
    /// Observations for the model, with their weights; in no population of a policy.
    pub observations: Vec<(f64, InheritedTrial)>,
    /// Trials that go on as the first trials of this sweep.
    pub resumed: Vec<InheritedTrial>,
}

impl Inheritance {
    /// The proposal number `number` when it goes on with an earlier trial, and that trial's run.
    pub fn resumed(&self, number: u64) -> Option<(Proposal, RunId)> {
        let trial = self.resumed.get(usize::try_from(number).ok()?)?;
        Some((Proposal { draws: trial.draws.clone(), index: 0, redraw: 0 }, trial.run_id))
    }

    /// The observations as a model takes them.
    pub fn for_model(&self) -> Vec<Inherited> {
        self.observations.iter().map(|(weight, trial)| trial.for_model(*weight)).collect()
    }
}

impl AdoptedTrial {
    /// Puts its curve among the others, as one that has ended.
    pub(crate) fn report_to(&self, curves: &mut tuning::Trials, index: u32, position: u64) {
        for point in &self.points {
            curves.report(&Report { trial: index, attempt: 1, step: point.step, value: point.value, position });
        }
        if matches!(self.end, TrialEnd::EarlyStopped { .. }) {
            curves.stop(index, false);
        }
        curves.end(index, self.end.for_policies());
    }
}

/// The values by name.
pub fn configuration_of(draws: &[Draw]) -> Configuration {
    draws.iter().map(|draw| (draw.name.clone(), draw.value.clone())).collect()
}
