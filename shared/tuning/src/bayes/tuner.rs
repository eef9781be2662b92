//! The model of one sweep.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::acquire::Acquisition;
use super::dims::{Dims, Row};
use super::explained::{Explained, Near};
use super::gp::{Columns, Line};
use super::model::{Model, Observed, hyperparameters};
use super::recipe::Recipe;
use super::search::Search;
use super::stream::{Points, Stream};
use crate::policy::Goal;
use crate::sampler::{Draw, Method, Proposal};
use crate::space::SearchSpace;

/// What a tuner is for.
#[derive(Clone, Debug)]
pub struct TunerSetup {
    /// The search space.
    pub space: SearchSpace,
    /// Which model.
    pub method: Method,
    /// Whether larger or smaller is better.
    pub goal: Goal,
    /// The sweep's seed.
    pub seed: u64,
    /// The same configuration gives another value each time: a finished one may be tried again.
    pub noisy: bool,
    /// As submitted.
    pub max_total_trials: u64,
    /// As submitted.
    pub max_concurrent_trials: u64,
}

/// What the end of a trial says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its result.
    Value(f64),
    /// Its best value up to an early stop: it would have become at least as good.
    Censored(f64),
    /// It failed, or never gave a finite value.
    Failed,
    /// It was ended for reasons of its own and says nothing.
    Nothing,
}

/// Hyperparameters, and what they were learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// How many endings it saw.
    pub known: u32,
    /// Natural logarithms: a lengthscale for each parameter, the output scale, the noise variance.
    pub parameters: Vec<f64>,
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
    setup: TunerSetup,
    recipe: Arc<Recipe>,
    dims: Arc<Dims>,
    /// By trial.
    rows: Vec<Row>,
    /// In log order.
    ended: Vec<(u32, Outcome)>,
    /// The observations among the ended, and how many there were after each ending.
    observed: Arc<Observed>,
    observed_after: Vec<usize>,
    fit: Option<Fit>,
    model: Option<(u32, Model)>,
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
}

impl FitTask {
    /// Computes it: up to about a second for some hundred observations.
    pub fn run(self) -> Fit {
        let cold = self.recipe.cold_every > 0 && self.known.is_multiple_of(self.recipe.cold_every);
        let last = self.last.as_deref();
        let parameters = hyperparameters(&self.dims, &self.recipe, &self.observed, self.count, last, cold);
        Fit { known: self.known, parameters }
    }
}

/// Observations that a model needs at least.
const OBSERVATIONS_MIN: usize = 3;
/// A refit is due when the observations have grown by this share.
const REFIT_SHARE: usize = 20;
/// Nearest configurations that an explanation names.
const NEAREST: usize = 3;
/// Draws for a fresh configuration before a finite space is walked through.
const REDRAWS: u64 = 256;
/// Configurations of a finite space that are walked through at most.
const WALK_MAX: u128 = 1 << 20;

impl Tuner {
    /// A tuner that knows nothing yet.
    pub fn new(setup: TunerSetup) -> Self {
        Self::with_recipe(setup, Recipe::default())
    }

    /// The same with other constants, for measurements of what each of them does.
    pub fn with_recipe(setup: TunerSetup, recipe: Recipe) -> Self {
        let dims = Arc::new(Dims::new(&setup.space));
        Self {
            setup,
            recipe: Arc::new(recipe),
            dims,
            rows: Vec::new(),
            ended: Vec::new(),
            observed: Arc::default(),
            observed_after: Vec::new(),
            fit: None,
            model: None,
        }
    }

    /// A trial was proposed, or is about to be; in order, without gaps.
    pub fn proposed(&mut self, trial: u32, draws: &[Draw]) {
        self.rows.truncate(trial as usize);
        self.rows.push(self.dims.row_of(draws));
    }

    /// Takes back suggestions that never got into the log.
    pub fn withdraw_from(&mut self, trial: u32) {
        self.rows.truncate(trial as usize);
    }

    /// A trial has ended; in log order.
    pub fn ended(&mut self, trial: u32, outcome: Outcome) {
        self.ended.push((trial, outcome));
        if let Outcome::Value(value) | Outcome::Censored(value) = outcome
            && value.is_finite()
            && let Some(row) = self.rows.get(trial as usize)
        {
            let observed = Arc::make_mut(&mut self.observed);
            observed.trials.push(trial);
            observed.rows.push(row.clone());
            observed.values.push(if self.setup.goal == Goal::Maximize { -value } else { value });
        }
        self.observed_after.push(self.observed.len());
    }

    /// How many endings were noted.
    pub fn known(&self) -> u32 {
        u32::try_from(self.ended.len()).unwrap_or(u32::MAX)
    }

    fn count(&self, known: u32) -> usize {
        known.checked_sub(1).map_or(0, |last| self.observed_after[last as usize])
    }

    /// A refit, when one is due for what is known.
    pub fn fit_due(&self) -> Option<FitTask> {
        let count = self.count(self.known());
        let fitted = self.fit.as_ref().map_or(0, |fit| self.count(fit.known));
        let due = count >= self.design().max(OBSERVATIONS_MIN) && count >= fitted + (count / REFIT_SHARE).max(1);
        (due && self.varied(count)).then(|| self.fit_task(self.known(), self.fit.as_ref()))
    }

    /// The fit for the first `known` endings with that predecessor.
    pub fn fit_task(&self, known: u32, previous: Option<&Fit>) -> FitTask {
        FitTask {
            known,
            dims: Arc::clone(&self.dims),
            recipe: Arc::clone(&self.recipe),
            observed: Arc::clone(&self.observed),
            count: self.count(known),
            last: previous.map(|fit| fit.parameters.clone()),
        }
    }

    /// Uses a fit from here on.
    pub fn use_fit(&mut self, fit: Fit) {
        self.fit = Some(fit);
    }

    /// How many proposals the initial design has.
    fn design(&self) -> usize {
        let wanted = self.recipe.design_factor * self.dims.len() as f64;
        (wanted.round() as usize).clamp(self.recipe.design_min, self.recipe.design_max)
    }

    fn varied(&self, count: usize) -> bool {
        self.observed.values[..count].iter().any(|value| *value != self.observed.values[0])
    }

    /// Proposal `number`, from the first `known` endings and the fit in use; every other trial below `number` is
    /// pending. `None`: the finite space is used up.
    pub fn suggest(&mut self, number: u32, known: u32) -> Option<Suggestion> {
        let taken: HashSet<Vec<u64>> =
            self.rows[..(number as usize).min(self.rows.len())].iter().map(|row| self.dims.key(row)).collect();
        let count = self.count(known);
        let insurance = self.recipe.insurance > 0 && number.is_multiple_of(self.recipe.insurance);
        if (number as usize) < self.design() || self.fit.is_none() || insurance || !self.varied(count) {
            return self.designed(number, &taken);
        }
        self.modelled(number, known, count, &taken).or_else(|| self.designed(number, &taken))
    }

    fn modelled(&mut self, number: u32, known: u32, count: usize, taken: &HashSet<Vec<u64>>) -> Option<Suggestion> {
        let fit = self.fit.as_ref()?;
        let fitted = self.count(fit.known);
        let ended: HashSet<u32> = self.ended[..known as usize].iter().map(|(trial, _)| *trial).collect();
        let pending: Vec<&Row> = self.rows[..(number as usize).min(self.rows.len())]
            .iter()
            .enumerate()
            .filter(|(trial, _)| !ended.contains(&(*trial as u32)))
            .map(|(_, row)| row)
            .collect();
        let reusable = self.model.take().filter(|(of, model)| *of == fit.known && model.seen <= count);
        let mut model = match reusable {
            Some((_, model)) => model,
            None => Model::new(&self.dims, &self.recipe, &self.observed, fitted.min(count), &fit.parameters),
        };
        model.extend(&self.observed, count, &pending);
        let fitted_values = model.posterior.fitted();
        let mut order: Vec<usize> = (0..fitted_values.len()).collect();
        order.sort_by(|a, b| fitted_values[*a].total_cmp(&fitted_values[*b]));
        let ranked: Vec<Row> = order.iter().map(|at| self.observed.rows[model.members[*at]].clone()).collect();
        let incumbent = if self.recipe.incumbent_mean {
            fitted_values[order[0]]
        } else {
            model.members.iter().map(|at| model.scale.apply(self.observed.values[*at])).fold(f64::INFINITY, f64::min)
        };
        let acquisition =
            Acquisition { posterior: &model.posterior, incumbent, failures: self.failures(&model, known) };
        let effort = (15_000.0 / (ranked.len() as f64).powi(2)).min(1.0);
        let (dims, recipe) = (&self.dims, &self.recipe);
        let search = Search { dims, recipe, acquisition: &acquisition, taken, ranked: &ranked, effort };
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "search");
        let (row, score) = search.best(&mut stream)?;
        let explained = self.explain(&model, &row, score, incumbent);
        let proposal = self.dims.proposal(&row, u64::from(number));
        self.model = Some((fit.known, model));
        Some(Suggestion { proposal, explained })
    }

    /// Columns of what failed and of what gave a value; none while nothing has failed.
    fn failures(&self, model: &Model, known: u32) -> Option<(Columns, Columns)> {
        let shape = &model.posterior.shape;
        let mut bad = Columns::new(shape);
        let failed = self.ended[..known as usize].iter().filter(|(_, outcome)| *outcome == Outcome::Failed);
        failed.for_each(|(trial, _)| bad.push(shape, &self.rows[*trial as usize]));
        let mut good = Columns::new(shape);
        model.members.iter().for_each(|at| good.push(shape, &self.observed.rows[*at]));
        (bad.count > 0).then_some((bad, good))
    }

    fn explain(&self, model: &Model, row: &Row, score: f64, incumbent: f64) -> Explained {
        let sign = if self.setup.goal == Goal::Maximize { -1.0 } else { 1.0 };
        let (mean, variance) = model.posterior.predict(std::slice::from_ref(row))[0];
        let spread = variance.sqrt();
        let shown = |value: f64| sign * model.scale.invert(value);
        let mut line = Line::default();
        let (shape, weights) = (&model.posterior.shape, &model.posterior.weights);
        line.fill(shape, weights, &model.posterior.columns, row, model.posterior.observed);
        let mut near: Vec<(usize, f64)> = line.values.iter().copied().enumerate().collect();
        near.sort_by(|a, b| b.1.total_cmp(&a.1));
        let nearest = near.iter().take(NEAREST).map(|(at, correlation)| {
            let at = model.members[*at];
            Near { trial: self.observed.trials[at], correlation: *correlation, value: sign * self.observed.values[at] }
        });
        let (a, b) = (shown(mean - spread), shown(mean + spread));
        Explained {
            by: "gp".to_owned(),
            why: "the configuration that promises most by the model".to_owned(),
            mean: Some(shown(mean)),
            interval: Some((a.min(b), a.max(b))),
            log_expected_improvement: Some(score),
            incumbent: Some(shown(incumbent)),
            nearest: nearest.collect(),
        }
    }

    /// A scrambled Sobol point; when it was tried before another, and in the end whatever of a finite space is left.
    fn designed(&self, number: u32, taken: &HashSet<Vec<u64>>) -> Option<Suggestion> {
        let points = Points::new(&mut Stream::new(self.setup.seed, 0, "design"), self.dims.len());
        let mut stream = Stream::new(self.setup.seed, u64::from(number), "redraw");
        let explained = |why: &str| Explained { by: "sobol".to_owned(), why: why.to_owned(), ..Explained::default() };
        let first = self.dims.row(&points.point(u64::from(number)));
        let fresh = |row: &Row| !taken.contains(&self.dims.key(row));
        let mut redrawn = std::iter::once(first).chain(std::iter::from_fn(|| {
            let u: Vec<f64> = (0..self.dims.len()).map(|_| stream.unit()).collect();
            Some(self.dims.row(&u))
        }));
        let row = redrawn.by_ref().take(REDRAWS as usize).find(|row| fresh(row)).or_else(|| self.left(taken))?;
        Some(Suggestion {
            proposal: self.dims.proposal(&row, u64::from(number)),
            explained: explained("part of the initial design"),
        })
    }

    /// The first configuration of a small finite space that was not tried.
    fn left(&self, taken: &HashSet<Vec<u64>>) -> Option<Row> {
        self.dims.size.filter(|size| *size <= WALK_MAX)?;
        self.dims.walk().find(|row| !taken.contains(&self.dims.key(row)))
    }
}
