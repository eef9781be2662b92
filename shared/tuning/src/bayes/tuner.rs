//! The model of one sweep: what was noted, and the fits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cma::Cma;
use super::dims::{Dims, Row};
use super::explained::Explained;
use super::model::{Model, Observed, hyperparameters};
use super::recipe::Recipe;
use super::seen::{Note, Seen};
use super::several::{Output, TrackTask, Tracks};
use crate::policy::Goal;
use crate::sampler::{Draw, Method, Proposal};
use crate::space::SearchSpace;
use crate::version::TunerVersion;

/// Observations that a model needs at least.
const OBSERVATIONS_MIN: usize = 3;
/// A refit is due when the observations have grown by this share.
const REFIT_SHARE: usize = 20;

/// What a tuner is for.
#[derive(Clone, Debug)]
pub struct TunerSetup {
    /// The search space.
    pub space: SearchSpace,
    /// Which model.
    pub method: Method,
    /// Whether larger or smaller is better.
    pub goal: Goal,
    /// Further objectives and constraints; empty with one objective alone.
    pub outputs: Vec<Output>,
    /// The sweep's seed.
    pub seed: u64,
    /// The same configuration gives another value each time: a finished one may be tried again.
    pub noisy: bool,
    /// As submitted.
    pub max_total_trials: u64,
    /// As submitted.
    pub max_concurrent_trials: u64,
    /// By which rules.
    pub version: TunerVersion,
}

/// What the end of a trial says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its result.
    Value(f64),
    /// It was stopped early: it would have become at least as good.
    Censored {
        /// Its best value until then.
        value: f64,
        /// After how many reports; 0 when that is not known.
        reports: u32,
    },
    /// It has not ended: it has come to a rung.
    Reached {
        /// Its best value until then.
        value: f64,
        /// After how many reports.
        reports: u32,
    },
    /// It failed, or never gave a finite value.
    Failed,
    /// It was ended for reasons of its own and says nothing.
    Nothing,
}

impl Outcome {
    /// The value, if there is a finite one.
    fn value(self) -> Option<f64> {
        match self {
            Self::Value(value) | Self::Censored { value, .. } => Some(value).filter(|value| value.is_finite()),
            Self::Failed | Self::Nothing | Self::Reached { .. } => None,
        }
    }

    /// How many reports its value is from; all that there are when it was not stopped.
    fn reports(self) -> u32 {
        if let Self::Censored { reports, .. } = self { reports } else { u32::MAX }
    }

    /// Whether it says that the configuration does not run.
    pub(super) fn is_failure(self) -> bool {
        !matches!(self, Self::Nothing | Self::Reached { .. }) && self.value().is_none()
    }
}

/// A trial of an earlier sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Inherited {
    /// Its configuration in the space of this sweep.
    pub draws: Vec<Draw>,
    /// What became of it.
    pub outcome: Outcome,
    /// The values of the further outputs, as far as they are known.
    pub others: Vec<Option<f64>>,
    /// How much it says about this sweep: 1 as much as a trial of its own, less with more noise. In (0, 1].
    pub weight: f64,
}

/// Hyperparameters, and what they were learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// How many endings it saw.
    pub known: u32,
    /// Natural logarithms: a lengthscale for each parameter, the output scale, the noise variance.
    pub parameters: Vec<f64>,
    /// The same for each further output; empty for one that nothing is known of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Vec<f64>>,
    /// The same for where trials give no value; empty while none has failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<f64>,
}

/// A suggestion, with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// The configuration.
    pub proposal: Proposal,
    /// Why.
    pub explained: Explained,
}

/// All that was proposed and all that has ended. See the module.
#[derive(Debug)]
pub struct Tuner {
    pub(super) setup: TunerSetup,
    pub(super) recipe: Arc<Recipe>,
    pub(super) dims: Arc<Dims>,
    /// By trial.
    pub(super) rows: Vec<Row>,
    /// The trials of each configuration, ascending.
    pub(super) tried: HashMap<Vec<u64>, Vec<u32>>,
    /// In log order.
    pub(super) ended: Vec<(u32, Outcome)>,
    /// By trial: how many endings the model suggested it from; `None` for one that it did not suggest.
    pub(super) bases: Vec<Option<u32>>,
    /// By trial: its place among the ended.
    pub(super) ended_at: Vec<Option<u32>>,
    /// The observations: the inherited ones, then those among the ended.
    pub(super) observed: Arc<Observed>,
    /// By observation: from how many reports its value is.
    pub(super) reports: Vec<u32>,
    /// How many of them are inherited.
    pub(super) base: usize,
    /// Inherited configurations that failed.
    pub(super) base_failures: Vec<Row>,
    /// Keys of the configurations that were inherited, with or without a value.
    pub(super) inherited: HashSet<Vec<u64>>,
    /// What trials had on their way, in log order.
    pub(super) notes: Vec<Note>,
    /// How many observations there were after each ending.
    observed_after: Vec<usize>,
    pub(super) fit: Option<Fit>,
    /// With the `known` of its fit.
    pub(super) model: Option<(u32, Model)>,
    /// With the number of observations that it started from.
    pub(super) cma: Option<(usize, Cma)>,
    /// What is known of the further outputs.
    pub(super) tracks: Tracks,
}

/// A fit to be computed; owned, so that it can be done elsewhere.
#[derive(Debug)]
pub struct FitTask {
    known: u32,
    dims: Arc<Dims>,
    recipe: Arc<Recipe>,
    observed: Arc<Observed>,
    count: usize,
    last: Option<Vec<f64>>,
    tracks: Vec<TrackTask>,
    /// What failed and what did not, with what was learned of it last.
    failures: Option<(Observed, Option<Vec<f64>>)>,
}

/// A fit to so many observations takes some 20 ms.
const QUICK_MAX: usize = 128;

impl FitTask {
    /// Whether it takes no longer than somebody may be kept waiting.
    pub fn is_quick(&self) -> bool {
        let labels = self.failures.as_ref().map_or(0, |(labels, _)| labels.len());
        self.count * self.count * (1 + self.tracks.len()) + labels * labels <= QUICK_MAX * QUICK_MAX
    }

    /// Computes it: up to about a second for some hundred observations.
    pub fn run(self) -> Fit {
        let cold = self.recipe.cold_every > 0 && self.known.is_multiple_of(self.recipe.cold_every);
        let last = self.last.as_deref();
        let parameters = hyperparameters(&self.dims, &self.recipe, &self.observed, self.count, last, cold);
        let further = self.tracks.iter().map(|track| {
            if track.count == 0 {
                return Vec::new();
            }
            hyperparameters(&self.dims, &self.recipe, &track.observed, track.count, track.last.as_deref(), cold)
        });
        let outputs = further.collect();
        let failures = self.failures.as_ref().map_or_else(Vec::new, |(labels, last)| {
            // Labels are few and have several explanations: the prior's mode is always tried too.
            hyperparameters(&self.dims, &self.recipe, labels, labels.len(), last.as_deref(), true)
        });
        Fit { known: self.known, parameters, outputs, failures }
    }
}

impl Tuner {
    /// A tuner that knows nothing yet.
    pub fn new(setup: TunerSetup) -> Self {
        Self::with_recipe(setup, Recipe::default())
    }

    /// The same with other constants, for measurements of what each of them does.
    pub fn with_recipe(setup: TunerSetup, recipe: Recipe) -> Self {
        let dims = Arc::new(Dims::new(&setup.space));
        Self {
            tracks: Tracks::new(&setup.outputs),
            setup,
            recipe: Arc::new(recipe),
            dims,
            rows: Vec::new(),
            tried: HashMap::new(),
            bases: Vec::new(),
            ended: Vec::new(),
            ended_at: Vec::new(),
            observed: Arc::default(),
            reports: Vec::new(),
            base: 0,
            base_failures: Vec::new(),
            inherited: HashSet::new(),
            notes: Vec::new(),
            observed_after: Vec::new(),
            fit: None,
            model: None,
            cma: None,
        }
    }

    /// Takes in trials of earlier sweeps; before anything else is noted. One of which a further objective is not known
    /// counts as failed, one of which a constraint is not known as infeasible.
    pub fn inherit(&mut self, inherited: &[Inherited]) {
        let sign = self.sign();
        let observed = Arc::make_mut(&mut self.observed);
        for trial in inherited {
            let row = self.dims.row_of(&trial.draws);
            self.inherited.insert(self.dims.key(&row));
            let others = self.tracks.inside(&trial.others);
            let outcome = self.tracks.judged(trial.outcome, &others, false);
            match outcome.value() {
                Some(value) => {
                    let noise = 1.0 / if trial.weight > 0.0 { trial.weight.min(1.0) } else { 1.0 };
                    self.tracks.push(None, &row, others, noise);
                    observed.push(None, row, sign * value, noise);
                    self.reports.push(outcome.reports());
                }
                None if outcome.is_failure() => self.base_failures.push(row),
                None => {}
            }
        }
        self.tracks.begin();
        self.base = observed.len();
    }

    /// A trial was proposed, or is about to be; in order, without gaps. `basis` is the `known` of the suggestion that
    /// it is made of; `None` for one that [`Tuner::suggest`] did not make.
    pub fn proposed(&mut self, trial: u32, draws: &[Draw], basis: Option<u32>) {
        self.withdraw_from(trial);
        let row = self.dims.row_of(draws);
        self.tried.entry(self.dims.key(&row)).or_default().push(trial);
        self.rows.push(row);
        self.bases.push(basis);
        self.ended_at.push(None);
    }

    /// Takes back suggestions that never got into the log.
    pub fn withdraw_from(&mut self, trial: u32) {
        while self.rows.len() > trial as usize {
            self.bases.pop();
            let (Some(row), Some(_)) = (self.rows.pop(), self.ended_at.pop()) else { return };
            let key = self.dims.key(&row);
            if let Some(trials) = self.tried.get_mut(&key) {
                trials.pop();
                if trials.is_empty() {
                    self.tried.remove(&key);
                }
            }
        }
    }

    /// A trial has ended, or has come to a rung; in log order.
    pub fn ended(&mut self, trial: u32, outcome: Outcome) {
        self.ended_with(trial, outcome, &[]);
    }

    /// The same with the values of the further outputs. A trial that finished without one of them counts as failed.
    pub fn ended_with(&mut self, trial: u32, outcome: Outcome, others: &[Option<f64>]) {
        if let Outcome::Reached { value, reports } = outcome {
            self.note(trial, value, reports);
            self.ended.push((trial, outcome));
            self.tracks.note();
            self.observed_after.push(self.observed.len());
            return;
        }
        let others = self.tracks.inside(others);
        let outcome = self.tracks.judged(outcome, &others, true);
        if let Some(at) = self.ended_at.get_mut(trial as usize) {
            *at = u32::try_from(self.ended.len()).ok();
        }
        self.ended.push((trial, outcome));
        if let Some(value) = outcome.value()
            && let Some(row) = self.rows.get(trial as usize)
        {
            let (row, value) = (row.clone(), self.sign() * value);
            self.tracks.push(Some(trial), &row, others, 1.0);
            Arc::make_mut(&mut self.observed).push(Some(trial), row, value, 1.0);
            self.reports.push(outcome.reports());
        }
        self.tracks.note();
        self.observed_after.push(self.observed.len());
    }

    /// How many endings were noted.
    pub fn known(&self) -> u32 {
        u32::try_from(self.ended.len()).unwrap_or(u32::MAX)
    }

    /// Smaller is better inside.
    pub(super) fn sign(&self) -> f64 {
        if self.setup.goal == Goal::Maximize { -1.0 } else { 1.0 }
    }

    /// How many observations there were after the first `known` endings.
    pub(super) fn count(&self, known: u32) -> usize {
        known.checked_sub(1).and_then(|last| self.observed_after.get(last as usize)).copied().unwrap_or(self.base)
    }

    /// A refit, when one is due for what is known.
    pub fn fit_due(&self) -> Option<FitTask> {
        let (known, seen) = (self.known(), self.seen(self.known()));
        if !self.wants_fit(seen.count) {
            return None;
        }
        let has = self.evidence(known);
        let due = match &self.fit {
            None => {
                let (after, values_min) = self.begins_after();
                has >= after && seen.count >= values_min && self.is_past_design()
            }
            Some(fit) => has >= self.evidence(fit.known) + (has / REFIT_SHARE).max(1),
        };
        (due && self.varied(known, &seen)).then(|| self.fit_task(known, self.fit.as_ref()))
    }

    /// The fit for the first `known` endings with that predecessor.
    pub fn fit_task(&self, known: u32, previous: Option<&Fit>) -> FitTask {
        let seen = self.seen(known);
        let before = |parameters: &Vec<f64>| Some(parameters.clone()).filter(|parameters| !parameters.is_empty());
        FitTask {
            known,
            dims: Arc::clone(&self.dims),
            recipe: Arc::clone(&self.recipe),
            observed: seen.observed,
            count: seen.count,
            last: previous.map(|fit| fit.parameters.clone()),
            tracks: self.track_tasks(known, previous),
            failures: self.labels(known).map(|labels| (labels, previous.and_then(|fit| before(&fit.failures)))),
        }
    }

    /// Uses a fit from here on.
    pub fn use_fit(&mut self, fit: Fit) {
        self.fit = Some(fit);
    }

    /// How many observations the initial design is to give.
    pub(super) fn design(&self) -> usize {
        let wanted = self.recipe.design_factor * self.dims.len() as f64;
        (wanted.round() as usize).clamp(self.recipe.design_min, self.recipe.design_max)
    }

    /// After how many observations the model begins, and how many of them must be values. What is under way is not
    /// waited for: the last of the design's trials are as many as run at once, and the model knows that they run.
    pub(super) fn begins_after(&self) -> (usize, usize) {
        let design = self.design();
        if !self.setup.version.counts_early() {
            let after = design.max(OBSERVATIONS_MIN);
            return (after, after);
        }
        let others = usize::try_from(self.setup.max_concurrent_trials.saturating_sub(1)).unwrap_or(usize::MAX);
        let after = design.saturating_sub(others).max(design.div_ceil(2)).max(OBSERVATIONS_MIN);
        (after, after.div_ceil(2).max(OBSERVATIONS_MIN))
    }

    /// Whether the next proposal is the model's; a fit before that is of no use.
    fn is_past_design(&self) -> bool {
        !self.setup.version.counts_early() || self.rows.len() + self.base >= self.design()
    }

    /// Whether there is anything to learn from.
    pub(super) fn varied(&self, known: u32, seen: &Seen) -> bool {
        let values = &seen.observed.values[..seen.count];
        values.iter().any(|value| *value != values[0]) || self.track_varies(self.count(known))
    }
}
