//! The Gaussian process: kernel, factor, posterior (Rasmussen and Williams 2006, chapters 2 and 4).
//!
//! The numeric part is Matern-5/2 with a lengthscale a parameter, the categorical part `exp(-sum w_j [x_j != y_j])`;
//! together `(k_n + k_c) / 4 + k_n k_c / 2`, so that a category may shift everything and may also change how the
//! numbers act. An inactive number stands in the middle, an inactive category is a category of its own.

use super::dims::{Dim, Dims, Row};
use super::lanes;
use super::recipe::Recipe;

/// Added to the diagonal beside the noise, so that a factor exists in doubles.
const JITTER: f64 = 1e-8;
/// A factor's diagonal entry is at least the root of this.
const PIVOT_MIN: f64 = 1e-10;
/// Where an inactive number stands.
const MIDDLE: f64 = 0.5;
/// An inactive category.
const NO_CATEGORY: f64 = -1.0;
/// Below this a variance is rounding noise.
pub(crate) const VARIANCE_MIN: f64 = 1e-12;

/// Which parameters are numbers and which categories, and where the hyperparameters stand:
/// `[ln lengthscale of each parameter, ln output scale, ln noise variance]`.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub numbers: Vec<usize>,
    pub categories: Vec<usize>,
    pub mixed: bool,
    dimensions: usize,
}

impl Shape {
    pub(crate) fn new(dims: &Dims, recipe: &Recipe) -> Self {
        let is_category = |place: &usize| matches!(dims.dims[*place], Dim::Category(_));
        let (categories, numbers) = (0..dims.len()).partition(is_category);
        Self { numbers, categories, mixed: recipe.mixed, dimensions: dims.len() }
    }

    /// How many hyperparameters there are.
    pub(crate) fn len(&self) -> usize {
        self.dimensions + 2
    }

    pub(crate) fn output_scale(&self) -> usize {
        self.dimensions
    }

    pub(crate) fn noise(&self) -> usize {
        self.dimensions + 1
    }

    /// What a row's entry is to the loops.
    pub(crate) fn entry(&self, place: usize, entry: f64) -> f64 {
        match (entry.is_nan(), self.categories.contains(&place)) {
            (false, _) => entry,
            (true, true) => NO_CATEGORY,
            (true, false) => MIDDLE,
        }
    }
}

/// Rows by column, as the loops want them.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    pub columns: Vec<Vec<f64>>,
    pub count: usize,
}

impl Columns {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self { columns: vec![Vec::new(); shape.dimensions], count: 0 }
    }

    pub(crate) fn push(&mut self, shape: &Shape, row: &[f64]) {
        for (place, column) in self.columns.iter_mut().enumerate() {
            column.push(shape.entry(place, row[place]));
        }
        self.count += 1;
    }

    fn truncate(&mut self, count: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(count));
        self.count = count;
    }
}

/// What the kernel needs beside the rows.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// 1 / lengthscale^2 of each parameter.
    pub inverse_squares: Vec<f64>,
    pub output_scale: f64,
    pub noise: f64,
}

impl Weights {
    pub(crate) fn new(shape: &Shape, theta: &[f64]) -> Self {
        Self {
            inverse_squares: theta[..shape.dimensions].iter().map(|ln| libm::exp(-2.0 * ln)).collect(),
            output_scale: libm::exp(theta[shape.output_scale()]),
            noise: libm::exp(theta[shape.noise()]) + JITTER,
        }
    }
}

/// One row of covariances with its derivatives by the squared distances. Buffers, so that a loop allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub values: Vec<f64>,
    /// By the numeric squared distance.
    pub number_slopes: Vec<f64>,
    /// By the categorical distance.
    pub category_slopes: Vec<f64>,
    distances: Vec<f64>,
    category_values: Vec<f64>,
}

impl Line {
    /// The kernel (variance 1) between a row and the first `count` of the columns.
    pub(crate) fn fill(&mut self, shape: &Shape, weights: &Weights, columns: &Columns, row: &[f64], count: usize) {
        self.values.resize(count, 0.0);
        self.number_slopes.resize(count, 0.0);
        self.category_slopes.resize(count, 0.0);
        let inside = !shape.mixed;
        self.distances.clear();
        self.distances.resize(count, 0.0);
        for &place in &shape.numbers {
            let (at, weight) = (shape.entry(place, row[place]), weights.inverse_squares[place]);
            lanes::add_squares(&mut self.distances, at, weight, &columns.columns[place][..count]);
        }
        if inside {
            self.add_categories(shape, weights, columns, row, count);
        }
        lanes::matern(&self.distances, &mut self.values, &mut self.number_slopes);
        if inside || shape.categories.is_empty() {
            self.category_slopes.copy_from_slice(&self.number_slopes);
            return;
        }
        self.distances.fill(0.0);
        self.add_categories(shape, weights, columns, row, count);
        self.category_values.resize(count, 0.0);
        lanes::exp_of_minus(&self.distances, &mut self.category_values);
        // With nothing but categories the numeric kernel is constant and only the other one is left.
        let (one, both) = if shape.numbers.is_empty() { (0.0, 1.0) } else { (0.25, 0.5) };
        for i in 0..count {
            let (number, category) = (self.values[i], self.category_values[i]);
            self.values[i] = one * (number + category) + both * (number * category);
            self.number_slopes[i] *= one + both * category;
            self.category_slopes[i] = -category * (one + both * number);
        }
    }

    fn add_categories(&mut self, shape: &Shape, weights: &Weights, columns: &Columns, row: &[f64], count: usize) {
        for &place in &shape.categories {
            let (at, weight) = (shape.entry(place, row[place]), weights.inverse_squares[place]);
            lanes::add_mismatches(&mut self.distances, at, weight, &columns.columns[place][..count]);
        }
    }
}

/// Observations under fixed hyperparameters, and pending points behind them: those narrow the spread where a trial is
/// already under way, and leave the mean as it is (their fantasies are the mean).
#[derive(Clone, Debug)]
pub(crate) struct Posterior {
    pub shape: Shape,
    pub weights: Weights,
    pub columns: Columns,
    /// The factor's rows, packed.
    packed: Vec<f64>,
    /// How many rows are observations.
    pub observed: usize,
    y: Vec<f64>,
    /// How many times the noise each observation has.
    noise: Vec<f64>,
    alpha: Vec<f64>,
    line: Line,
}

impl Posterior {
    pub(crate) fn new(shape: Shape, theta: &[f64]) -> Self {
        let (weights, columns) = (Weights::new(&shape, theta), Columns::new(&shape));
        let line = Line::default();
        let (y, noise, alpha) = (Vec::new(), Vec::new(), Vec::new());
        Self { shape, weights, columns, packed: Vec::new(), observed: 0, y, noise, alpha, line }
    }

    /// Appends an observation; the pending points must have been dropped. A row that is a copy of another up to
    /// rounding is left out: it says nothing new. Whether it was taken in.
    pub(crate) fn observe(&mut self, row: &[f64], y: f64, noise: f64) -> bool {
        debug_assert_eq!(self.columns.count, self.observed, "pending points are dropped first");
        let appended = self.append(row, noise);
        if appended {
            self.observed += 1;
            self.noise.push(noise);
            self.y.push(y);
        }
        appended
    }

    /// Computes the weights of the observations; after the last [`Posterior::observe`].
    pub(crate) fn settle(&mut self) {
        self.alpha.clone_from(&self.y);
        lanes::solve_lower(&self.packed, &mut self.alpha);
        lanes::solve_upper(&self.packed, &mut self.alpha);
    }

    /// Conditions on a trial that is under way.
    pub(crate) fn pend(&mut self, row: &[f64]) {
        self.append(row, 1.0);
    }

    /// Forgets the pending points.
    pub(crate) fn drop_pending(&mut self) {
        self.columns.truncate(self.observed);
        self.packed.truncate(self.observed * (self.observed + 1) / 2);
    }

    fn append(&mut self, row: &[f64], noise: f64) -> bool {
        let n = self.columns.count;
        self.line.fill(&self.shape, &self.weights, &self.columns, row, n);
        let scale = self.weights.output_scale;
        self.line.values.iter_mut().for_each(|value| *value *= scale);
        let diagonal = scale + noise * self.weights.noise;
        let appended = lanes::append_row(&mut self.packed, n, &self.line.values, diagonal, PIVOT_MIN);
        if appended {
            self.columns.push(&self.shape, row);
        }
        appended
    }

    /// The posterior mean at each observation.
    pub(crate) fn fitted(&self) -> Vec<f64> {
        let solved = self.alpha.iter().zip(&self.noise);
        self.y.iter().zip(solved).map(|(y, (alpha, noise))| y - self.weights.noise * noise * alpha).collect()
    }

    /// How many standard deviations an observation lies above what all the others foretell (Rasmussen and Williams
    /// 2006, equations 5.10 to 5.12); after [`Posterior::settle`], without pending points.
    pub(crate) fn surprise(&self, place: usize) -> f64 {
        let mut unit = vec![0.0; self.observed];
        unit[place] = 1.0;
        lanes::solve_lower(&self.packed, &mut unit);
        self.alpha[place] / lanes::dot(&unit, &unit).sqrt()
    }

    /// Which part of the observations' squares the others foretell, each left out in its turn (the same equations).
    pub(crate) fn foretold(&self) -> f64 {
        let (mut missed, mut all) = (0.0, 0.0);
        for place in 0..self.observed {
            let mut unit = vec![0.0; self.observed];
            unit[place] = 1.0;
            lanes::solve_lower(&self.packed, &mut unit);
            let residual = self.alpha[place] / lanes::dot(&unit, &unit);
            missed += residual * residual;
            all += self.y[place] * self.y[place];
        }
        1.0 - missed / all
    }

    /// The mean at a row.
    pub(crate) fn mean(&self, row: &[f64]) -> f64 {
        let mut line = Line::default();
        line.fill(&self.shape, &self.weights, &self.columns, row, self.observed);
        self.weights.output_scale * lanes::dot(&self.alpha, &line.values)
    }

    /// Mean and variance (without noise) at each row.
    pub(crate) fn predict(&self, rows: &[Row]) -> Vec<(f64, f64)> {
        let n = self.columns.count;
        let mut line = Line::default();
        let mut block = vec![[0.0; lanes::BLOCK]; n];
        let mut answers = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(lanes::BLOCK) {
            let mut means = [0.0; lanes::BLOCK];
            for (column, row) in chunk.iter().enumerate() {
                line.fill(&self.shape, &self.weights, &self.columns, row, n);
                let scale = self.weights.output_scale;
                for (entry, value) in block.iter_mut().zip(&line.values) {
                    entry[column] = scale * value;
                }
                means[column] = scale * lanes::dot(&self.alpha, &line.values[..self.observed]);
            }
            let lengths = lanes::solve_block(&self.packed, &mut block);
            for column in 0..chunk.len() {
                let variance = (self.weights.output_scale - lengths[column]).max(VARIANCE_MIN);
                answers.push((means[column], variance));
            }
        }
        answers
    }

    /// Mean, variance and their gradients by the given numeric entries of a row.
    pub(crate) fn gradient(&self, row: &[f64], places: &[usize]) -> Slopes {
        let n = self.columns.count;
        let mut line = Line::default();
        line.fill(&self.shape, &self.weights, &self.columns, row, n);
        let scale = self.weights.output_scale;
        let mut solved: Vec<f64> = line.values.iter().map(|value| scale * value).collect();
        lanes::solve_lower(&self.packed, &mut solved);
        let variance = (scale - lanes::dot(&solved, &solved)).max(VARIANCE_MIN);
        lanes::solve_upper(&self.packed, &mut solved);
        let mean = scale * lanes::dot(&self.alpha, &line.values[..self.observed]);
        let by_mean: Vec<f64> =
            self.alpha.iter().zip(&line.number_slopes).map(|(alpha, slope)| alpha * slope).collect();
        let by_variance: Vec<f64> =
            solved.iter().zip(&line.number_slopes).map(|(solved, slope)| solved * slope).collect();
        let (mut mean_slopes, mut variance_slopes) = (Vec::new(), Vec::new());
        for &place in places {
            let (column, at) = (&self.columns.columns[place], row[place]);
            let differences: Vec<f64> = column.iter().map(|x| at - x).collect();
            let factor = 2.0 * scale * self.weights.inverse_squares[place];
            mean_slopes.push(factor * lanes::dot(&by_mean, &differences[..self.observed]));
            variance_slopes.push(-2.0 * factor * lanes::dot(&by_variance, &differences));
        }
        Slopes { mean, variance, mean_slopes, variance_slopes }
    }

    /// The kernel (variance 1) between a row and other rows: what the feasibility is smoothed with.
    pub(crate) fn closeness(&self, line: &mut Line, others: &Columns, row: &[f64]) -> f64 {
        line.fill(&self.shape, &self.weights, others, row, others.count);
        line.values.iter().sum()
    }
}

/// See [`Posterior::gradient`].
#[derive(Clone, Debug)]
pub(crate) struct Slopes {
    pub mean: f64,
    pub variance: f64,
    pub mean_slopes: Vec<f64>,
    pub variance_slopes: Vec<f64>,
}
