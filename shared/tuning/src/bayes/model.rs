//! The Gaussian process of one fit, with what was observed since.

use super::dims::{Dims, Row};
use super::fit::{Data, Prior, fit};
use super::gp::{Posterior, Shape};
use super::output::Scale;
use super::recipe::Recipe;
use super::region::{ACTIVE_MAX, LEARNED_MAX, chosen, chosen_from};

/// Observations of trials that gave a value, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// None for trials of earlier sweeps.
    pub trials: Vec<Option<u32>>,
    pub rows: Vec<Row>,
    /// Smaller is better.
    pub values: Vec<f64>,
    /// How many times the noise of an ordinary observation it has.
    pub noise: Vec<f64>,
    /// The values are those of a constraint: what matters is on which side of 0 they are.
    pub about_zero: bool,
}

impl Observed {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How the first `count` values become the model's.
    fn scale(&self, count: usize, recipe: &Recipe) -> Scale {
        let values = &self.values[..count];
        if self.about_zero { Scale::about_zero(values) } else { Scale::learn(values, recipe) }
    }

    pub(crate) fn push(&mut self, trial: Option<u32>, row: Row, value: f64, noise: f64) {
        self.trials.push(trial);
        self.rows.push(row);
        self.values.push(value);
        self.noise.push(noise);
    }
}

/// The hyperparameters for the first `count` observations.
pub(crate) fn hyperparameters(
    dims: &Dims,
    recipe: &Recipe,
    observed: &Observed,
    count: usize,
    last: Option<&[f64]>,
    cold: bool,
) -> Vec<f64> {
    let shape = Shape::new(dims, recipe);
    let prior = Prior::new(dims, &shape, recipe);
    let chosen = chosen(observed, count, LEARNED_MAX);
    let scale = observed.scale(count, recipe);
    let rows: Vec<Row> = chosen.iter().map(|at| observed.rows[*at].clone()).collect();
    let y: Vec<f64> = chosen.iter().map(|at| scale.apply(observed.values[*at])).collect();
    let noise: Vec<f64> = chosen.iter().map(|at| observed.noise[*at]).collect();
    fit(&shape, &prior, &Data { rows: &rows, y: &y, noise: &noise }, last, cold)
}

/// How many observations there are, and how many the fit saw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub fitted: usize,
    pub count: usize,
}

impl Known {
    fn chosen_from(self) -> usize {
        chosen_from(self.fitted, self.count)
    }
}

/// The posterior of a fit, extended by later observations.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub posterior: Posterior,
    pub scale: Scale,
    /// Which observations it holds, in the order of its rows.
    pub members: Vec<usize>,
    /// How many observations its members were chosen from.
    chosen_from: usize,
    /// How many observations it has seen.
    pub seen: usize,
}

impl Model {
    /// The model of a fit that saw `fitted` of `count` observations.
    pub(crate) fn new(dims: &Dims, recipe: &Recipe, observed: &Observed, known: Known, theta: &[f64]) -> Self {
        let posterior = Posterior::new(Shape::new(dims, recipe), theta);
        let scale = observed.scale(known.fitted, recipe);
        let chosen_from = known.chosen_from();
        let mut model = Self { posterior, scale, members: Vec::new(), chosen_from, seen: chosen_from };
        for at in chosen(observed, chosen_from, ACTIVE_MAX) {
            model.take(observed, at);
        }
        model
    }

    /// Whether it can be extended to what is known now, with the same fit.
    pub(crate) fn reaches(&self, known: Known) -> bool {
        self.chosen_from == known.chosen_from() && self.seen <= known.count
    }

    fn take(&mut self, observed: &Observed, at: usize) {
        let before = self.posterior.observed;
        let y = self.scale.apply(observed.values[at]);
        self.posterior.observe(&observed.rows[at], y, observed.noise[at]);
        if self.posterior.observed > before {
            self.members.push(at);
        }
    }

    /// Takes in what ended since, and conditions on what is under way.
    pub(crate) fn extend(&mut self, observed: &Observed, until: usize, pending: &[&Row]) {
        self.posterior.drop_pending();
        for at in self.seen..until {
            self.take(observed, at);
        }
        self.seen = until;
        self.posterior.settle();
        pending.iter().for_each(|row| self.posterior.pend(row));
    }
}
