//! CMA-ES (Hansen 2016, arXiv 1604.00772) with a Cholesky factor in place of the eigenvectors (Krause et al. 2016), on
//! the numeric parameters. Steps keep a margin of half a step, so that no integer freezes (Hamano et al. 2022).
//!
//! A generation is made of endings in log order, whichever mean they were drawn round, so the state is a function of
//! the log and nothing waits for a straggler.

use super::dims::{Dim, Dims, Row};
use super::lanes;
use super::stream::Stream;
use super::tpe::reflected;

/// The first step size: the cube has side 1.
const SIGMA: f64 = 0.25;
/// Bounds of the step size.
const SIGMA_BOUNDS: (f64, f64) = (1e-6, 0.5);
/// Keeps the covariance positive definite.
const RIDGE: f64 = 1e-10;

/// The search distribution after the observations it has seen.
#[derive(Clone, Debug)]
pub(crate) struct Cma {
    places: Vec<usize>,
    mean: Vec<f64>,
    sigma: f64,
    covariance: Vec<Vec<f64>>,
    /// The covariance's factor, packed.
    factor: Vec<f64>,
    path: Vec<f64>,
    sigma_path: Vec<f64>,
    generation: u32,
    /// How many observations it has seen.
    pub seen: usize,
    constants: Constants,
}

/// The default parameters of Hansen's table 1.
#[derive(Clone, Debug)]
struct Constants {
    size: usize,
    weights: Vec<f64>,
    mass: f64,
    c_sigma: f64,
    d_sigma: f64,
    c_path: f64,
    c_one: f64,
    c_mu: f64,
    expected: f64,
}

impl Constants {
    fn new(dimensions: usize) -> Self {
        let n = dimensions as f64;
        let size = 4 + (3.0 * libm::log(n)).floor() as usize;
        let parents = size / 2;
        let raw: Vec<f64> =
            (1..=parents).map(|rank| libm::log((size as f64 + 1.0) / 2.0) - libm::log(rank as f64)).collect();
        let sum: f64 = raw.iter().sum();
        let weights: Vec<f64> = raw.iter().map(|weight| weight / sum).collect();
        let mass = 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>();
        let c_sigma = (mass + 2.0) / (n + mass + 5.0);
        let d_sigma = 1.0 + 2.0 * (((mass - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_path = (4.0 + mass / n) / (n + 4.0 + 2.0 * mass / n);
        let c_one = 2.0 / ((n + 1.3) * (n + 1.3) + mass);
        let c_mu = (2.0 * (mass - 2.0 + 1.0 / mass) / ((n + 2.0) * (n + 2.0) + mass)).min(1.0 - c_one);
        let expected = n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n));
        Self { size, weights, mass, c_sigma, d_sigma, c_path, c_one, c_mu: c_mu.max(0.0), expected }
    }
}

impl Cma {
    /// Starts at the best of the design, which `rows` and `values` (smaller is better) begin with.
    pub(crate) fn new(dims: &Dims, places: Vec<usize>, rows: &[Row], values: &[f64]) -> Self {
        let best = (0..rows.len()).min_by(|a, b| values[*a].total_cmp(&values[*b]));
        let start = |place: &usize| best.map_or(0.5, |at| entry(rows[at][*place]));
        let mean = places.iter().map(start).collect();
        let n = places.len();
        let covariance = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        let (path, sigma_path) = (vec![0.0; n], vec![0.0; n]);
        let constants = Constants::new(n.max(1));
        let factor = Vec::new();
        let mut cma = Self {
            places,
            mean,
            sigma: SIGMA,
            covariance,
            factor,
            path,
            sigma_path,
            generation: 0,
            seen: rows.len(),
            constants,
        };
        cma.factorise(dims);
        cma
    }

    /// Takes in whole generations of later observations.
    pub(crate) fn extend(&mut self, dims: &Dims, rows: &[Row], values: &[f64]) {
        let size = self.constants.size;
        while self.seen + size <= rows.len() {
            let until = self.seen + size;
            self.update(dims, &rows[self.seen..until], &values[self.seen..until]);
            self.seen = until;
        }
    }

    /// A point of the cube: the numbers from the distribution, the rest from `others`.
    pub(crate) fn draw(&self, others: &[f64], stream: &mut Stream) -> Vec<f64> {
        let z: Vec<f64> = self.places.iter().map(|_| stream.normal()).collect();
        let mut u = others.to_vec();
        let mut at = 0;
        for (i, place) in self.places.iter().enumerate() {
            let step = lanes::dot(&self.factor[at..=at + i], &z[..=i]);
            u[*place] = reflected(self.mean[i] + self.sigma * step);
            at += i + 1;
        }
        u
    }

    fn update(&mut self, dims: &Dims, rows: &[Row], values: &[f64]) {
        let c = self.constants.clone();
        let n = self.places.len();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let steps: Vec<Vec<f64>> = order
            .iter()
            .take(c.weights.len())
            .map(|at| {
                let places = self.places.iter().zip(&self.mean);
                places.map(|(place, mean)| (entry(rows[*at][*place]) - mean) / self.sigma).collect()
            })
            .collect();
        let shift: Vec<f64> =
            (0..n).map(|i| steps.iter().zip(&c.weights).map(|(step, weight)| weight * step[i]).sum()).collect();
        for (mean, shift) in self.mean.iter_mut().zip(&shift) {
            *mean = (*mean + self.sigma * shift).clamp(0.0, 1.0);
        }
        let mut white = shift.clone();
        lanes::solve_lower(&self.factor, &mut white);
        let gain = (c.c_sigma * (2.0 - c.c_sigma) * c.mass).sqrt();
        for (path, white) in self.sigma_path.iter_mut().zip(&white) {
            *path = (1.0 - c.c_sigma) * *path + gain * white;
        }
        let length = self.sigma_path.iter().map(|p| p * p).sum::<f64>().sqrt();
        self.generation += 1;
        let settled = 1.0 - libm::pow(1.0 - c.c_sigma, 2.0 * f64::from(self.generation));
        let moving = length / settled.sqrt() < (1.4 + 2.0 / (n as f64 + 1.0)) * c.expected;
        let gain = if moving { (c.c_path * (2.0 - c.c_path) * c.mass).sqrt() } else { 0.0 };
        for (path, shift) in self.path.iter_mut().zip(&shift) {
            *path = (1.0 - c.c_path) * *path + gain * shift;
        }
        let lost = if moving { 0.0 } else { c.c_path * (2.0 - c.c_path) };
        for i in 0..n {
            for j in 0..n {
                let rank: f64 = steps.iter().zip(&c.weights).map(|(step, weight)| weight * step[i] * step[j]).sum();
                let old = (1.0 - c.c_one - c.c_mu + c.c_one * lost) * self.covariance[i][j];
                self.covariance[i][j] = old + c.c_one * self.path[i] * self.path[j] + c.c_mu * rank;
            }
        }
        let growth = libm::exp((c.c_sigma / c.d_sigma) * (length / c.expected - 1.0));
        self.sigma = (self.sigma * growth.min(2.0)).clamp(SIGMA_BOUNDS.0, SIGMA_BOUNDS.1);
        self.factorise(dims);
    }

    /// The factor, with the margin of the parameters that have steps.
    fn factorise(&mut self, dims: &Dims) {
        let n = self.places.len();
        for (i, place) in self.places.iter().enumerate() {
            if let Dim::Steps(shares) = &dims.dims[*place] {
                let margin = 0.5 / (shares.count() as f64 * self.sigma);
                self.covariance[i][i] = self.covariance[i][i].max(margin * margin);
            }
        }
        let mut factor = Vec::with_capacity(n * (n + 1) / 2);
        for i in 0..n {
            let row: Vec<f64> = self.covariance[i][..i].to_vec();
            if !lanes::append_row(&mut factor, i, &row, self.covariance[i][i] + RIDGE, RIDGE) {
                // A degenerate covariance starts again as a ball of the same size.
                self.covariance = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
                return self.factorise_ball(n);
            }
        }
        self.factor = factor;
    }

    fn factorise_ball(&mut self, n: usize) {
        self.factor = (0..n).flat_map(|i| (0..=i).map(move |j| f64::from(u8::from(i == j)))).collect();
    }
}

fn entry(entry: f64) -> f64 {
    if entry.is_nan() { 0.5 } else { entry }
}
