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

    /// A copy of the first `count`.
    pub(crate) fn first(&self, count: usize) -> Self {
        Self {
            trials: self.trials[..count].to_vec(),
            rows: self.rows[..count].to_vec(),
            values: self.values[..count].to_vec(),
            noise: self.noise[..count].to_vec(),
            about_zero: self.about_zero,
        }
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
    let mut noise: Vec<f64> = chosen.iter().map(|at| observed.noise[*at]).collect();
    let theta = fit(&shape, &prior, &Data { rows: &rows, y: &y, noise: &noise }, last, cold);
    let clipped: Vec<usize> = (0..chosen.len()).filter(|at| scale.clips(observed.values[chosen[*at]])).collect();
    if clipped.is_empty() {
        return theta;
    }
    let mut posterior = Posterior::new(shape.clone(), &theta);
    let mut places = Vec::with_capacity(chosen.len());
    for at in 0..chosen.len() {
        if posterior.observe(&rows[at], y[at], noise[at]) {
            places.push(at);
        }
    }
    posterior.settle();
    let wild = wild(&posterior, recipe, |place| clipped.binary_search(&places[place]).is_ok());
    if wild.is_empty() {
        return theta;
    }
    wild.iter().for_each(|place| noise[places[*place]] *= recipe.wild_noise);
    fit(&shape, &prior, &Data { rows: &rows, y: &y, noise: &noise }, Some(&theta), false)
}

/// The places of clipped observations that all others speak against: a diverged run or a broken measurement says little
/// about its neighbours.
fn wild(posterior: &Posterior, recipe: &Recipe, is_clipped: impl Fn(usize) -> bool) -> Vec<usize> {
    let clipped = (0..posterior.observed).filter(|place| is_clipped(*place));
    clipped.filter(|place| posterior.surprise(*place) > recipe.wild_from).collect()
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
            model.take(observed, at, 1.0);
        }
        let clipped: Vec<bool> = model.members.iter().map(|at| model.scale.clips(observed.values[*at])).collect();
        if clipped.contains(&true) {
            model.posterior.settle();
            let wild = wild(&model.posterior, recipe, |place| clipped[place]);
            model.doubt(dims, recipe, observed, theta, &wild);
        }
        model
    }

    /// Takes everything in anew, with more noise at some places.
    fn doubt(&mut self, dims: &Dims, recipe: &Recipe, observed: &Observed, theta: &[f64], places: &[usize]) {
        if places.is_empty() {
            return;
        }
        self.posterior = Posterior::new(Shape::new(dims, recipe), theta);
        for (place, at) in std::mem::take(&mut self.members).into_iter().enumerate() {
            let doubted = places.binary_search(&place).is_ok();
            self.take(observed, at, if doubted { recipe.wild_noise } else { 1.0 });
        }
    }

    /// Whether it can be extended to what is known now, with the same fit.
    pub(crate) fn reaches(&self, known: Known) -> bool {
        self.chosen_from == known.chosen_from() && self.seen <= known.count
    }

    fn take(&mut self, observed: &Observed, at: usize, doubt: f64) {
        let y = self.scale.apply(observed.values[at]);
        if self.posterior.observe(&observed.rows[at], y, doubt * observed.noise[at]) {
            self.members.push(at);
        }
    }

    /// Takes in what ended since, and conditions on what is under way.
    pub(crate) fn extend(&mut self, observed: &Observed, until: usize, pending: &[&Row]) {
        self.posterior.drop_pending();
        for at in self.seen..until {
            self.take(observed, at, 1.0);
        }
        self.seen = until;
        self.posterior.settle();
        pending.iter().for_each(|row| self.posterior.pend(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::{Distribution, Parameter, SearchSpace};

    fn line() -> Dims {
        let distribution = Distribution::Uniform { min_value: 0.0, max_value: 1.0 };
        let parameter = Parameter { name: "x".to_owned(), distribution, when: Vec::new(), default: None };
        Dims::new(&SearchSpace { parameters: vec![parameter], ..SearchSpace::default() })
    }

    /// The mean near the lowest point of a parabola, beside which one observation is broken.
    fn mean_beside_a_broken_one(recipe: &Recipe) -> f64 {
        let (dims, mut observed) = (line(), Observed::default());
        for at in 0..24_u32 {
            let x = f64::from(at) / 23.0;
            let value = if at == 7 { 1e6 } else { (x - 0.3) * (x - 0.3) };
            observed.push(Some(at), dims.row(&[x]), value, 1.0);
        }
        let known = Known { fitted: observed.len(), count: observed.len() };
        let theta = hyperparameters(&dims, recipe, &observed, known.count, None, true);
        let mut model = Model::new(&dims, recipe, &observed, known, &theta);
        model.extend(&observed, known.count, &[]);
        model.scale.invert(model.posterior.mean(&dims.row(&[7.0 / 23.0])))
    }

    #[test]
    fn a_broken_measurement_does_not_hide_the_optimum_beside_it() {
        let believed = Recipe { wild_from: f64::INFINITY, ..Recipe::default() };
        let (doubting, believing) = (mean_beside_a_broken_one(&Recipe::default()), mean_beside_a_broken_one(&believed));
        assert!(doubting.abs() < 0.02, "{doubting}");
        assert!(believing > 0.1, "the test would not see the difference: {believing}");
    }

    #[test]
    fn what_is_bad_everywhere_in_a_region_is_believed() {
        // A cliff: values beyond it are far above the clip and agree with each other.
        let (dims, mut observed) = (line(), Observed::default());
        for at in 0..24_u32 {
            let x = f64::from(at) / 23.0;
            observed.push(Some(at), dims.row(&[x]), if x > 0.8 { 1e3 } else { x }, 1.0);
        }
        let (recipe, known) = (Recipe::default(), Known { fitted: 24, count: 24 });
        let theta = hyperparameters(&dims, &recipe, &observed, 24, None, true);
        let mut model = Model::new(&dims, &recipe, &observed, known, &theta);
        model.extend(&observed, 24, &[]);
        let at = |x: f64| model.scale.invert(model.posterior.mean(&dims.row(&[x])));
        assert!(at(0.95) > 1.5 && at(0.5) < 0.8, "{} {}", at(0.95), at(0.5));
    }
}
