//! Tree-structured Parzen estimators (Bergstra et al. 2011; multivariate kernels and bandwidths as in Watanabe 2023,
//! arXiv 2304.11127): what the good have in common against what the rest have in common.
//!
//! Every second proposal comes from kernels over all parameters at once, the others from each parameter by itself: the
//! first is better where parameters act together, the second where there are many.

use super::dims::{Dim, Dims, Row};
use super::gp::{Columns, Shape};
use super::lanes;
use super::special::{LN_SQRT_2_PI, normal_below};
use super::stream::Stream;

/// The share of the observations that is good, and how many they are at most.
const GOOD_SHARE: f64 = 0.15;
/// See [`GOOD_SHARE`].
const GOOD_MAX: usize = 25;
/// The rest is thinned to so many, evenly over the ranking, so that a suggestion's cost is bounded.
const REST_MAX: usize = 1000;
/// Candidates of a proposal over all parameters.
const CANDIDATES: usize = 64;
/// Candidates for one parameter.
const CANDIDATES_OF_ONE: usize = 24;
/// The bandwidth with one observation; it shrinks with the number of observations as Scott's rule says.
const BANDWIDTH: f64 = 0.2;
/// The least bandwidth.
const BANDWIDTH_MIN: f64 = 0.01;
/// A configuration is kept where a value is so many times as likely as a failure.
const ODDS_MIN: f64 = 20.0;
/// The least share of other categories in a kernel.
const SPREAD_MIN: f64 = 0.1;

/// What the estimators are made from.
#[derive(Debug)]
pub(crate) struct Parzen<'a> {
    pub dims: &'a Dims,
    pub shape: &'a Shape,
    /// Observed rows, best first.
    pub ranked: &'a [Row],
    /// What failed or is under way: not to be repeated.
    pub avoided: &'a [Row],
    /// What failed, to keep away from; empty where that is not asked for.
    pub failed: &'a [Row],
}

/// Where trials give a value, by the densities of those that did and of those that failed (after c-TPE: Watanabe and
/// Hutter 2022, arXiv 2211.14411).
pub(crate) struct Runs {
    worked: Mixture,
    failed: Mixture,
}

impl Parzen<'_> {
    fn good(&self) -> &[Row] {
        let wanted = (GOOD_SHARE * self.ranked.len() as f64).ceil() as usize;
        &self.ranked[..wanted.clamp(1, GOOD_MAX).min(self.ranked.len())]
    }

    fn rest(&self) -> Vec<Row> {
        let rest = &self.ranked[self.good().len()..];
        let every = rest.len().div_ceil(REST_MAX).max(1);
        rest.iter().step_by(every).chain(self.avoided.iter().rev().take(REST_MAX)).cloned().collect()
    }

    /// What tells where trials fail; none while none has.
    pub(crate) fn runs(&self) -> Option<Runs> {
        let all: Vec<usize> = (0..self.dims.len()).collect();
        let every = self.ranked.len().div_ceil(REST_MAX).max(1);
        let worked: Vec<Row> = self.ranked.iter().step_by(every).cloned().collect();
        let of = |rows: &[Row]| Mixture::new(self, rows, &all);
        (!self.failed.is_empty()).then(|| Runs { worked: of(&worked), failed: of(self.failed) })
    }

    /// Whether a value is likely enough there.
    pub(crate) fn is_safe(&self, runs: &Runs, row: &[f64]) -> bool {
        let weighed = |mixture: &Mixture| mixture.ln_density(self, row) + libm::log(mixture.rows.len() as f64);
        weighed(&runs.worked) - weighed(&runs.failed) > libm::log(ODDS_MIN)
    }

    /// Candidates, best first.
    pub(crate) fn together(&self, stream: &mut Stream) -> Vec<Row> {
        let all: Vec<usize> = (0..self.dims.len()).collect();
        let good = Mixture::new(self, self.good(), &all);
        let rest = Mixture::new(self, &self.rest(), &all);
        let mut scored: Vec<(f64, Row)> = (0..CANDIDATES)
            .map(|_| {
                let row = self.dims.row(&good.draw(self, stream));
                (good.ln_density(self, &row) - rest.ln_density(self, &row), row)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().map(|(_, row)| row).collect()
    }

    /// One row, each parameter by itself.
    pub(crate) fn apart(&self, stream: &mut Stream) -> Row {
        let rest = self.rest();
        let active = |rows: &[Row], place: usize| -> Vec<Row> {
            rows.iter().filter(|row| !row[place].is_nan()).cloned().collect()
        };
        let chosen = (0..self.dims.len()).map(|place| {
            let one = [place];
            let good = Mixture::new(self, &active(self.good(), place), &one);
            let bad = Mixture::new(self, &active(&rest, place), &one);
            let mut best = (f64::NEG_INFINITY, 0.5);
            for _ in 0..CANDIDATES_OF_ONE {
                let u = good.draw(self, stream)[place];
                let mut row = vec![f64::NAN; self.dims.len()];
                row[place] = self.dims.canonical(place, u);
                let score = good.ln_density(self, &row) - bad.ln_density(self, &row);
                if score > best.0 {
                    best = (score, u);
                }
            }
            best.1
        });
        let u: Vec<f64> = chosen.collect();
        self.dims.row(&u)
    }
}

/// A kernel for each row, and one over the whole space.
#[derive(Debug)]
struct Mixture {
    rows: Vec<Row>,
    columns: Columns,
    places: Vec<usize>,
    width: f64,
    /// The normaliser of each kernel, as -ln, less the smallest of them.
    offsets: Vec<f64>,
    least: f64,
}

impl Mixture {
    fn new(of: &Parzen<'_>, rows: &[Row], places: &[usize]) -> Self {
        let mut columns = Columns::new(of.shape);
        rows.iter().for_each(|row| columns.push(of.shape, row));
        let count = rows.len().max(1) as f64;
        let power = -1.0 / (places.len() as f64 + 4.0);
        let width = (BANDWIDTH * libm::pow(count, power)).max(BANDWIDTH_MIN);
        let mut mixture =
            Self { rows: rows.to_vec(), columns, places: places.to_vec(), width, offsets: Vec::new(), least: 0.0 };
        let mut offsets = vec![0.0; rows.len()];
        for &place in places {
            for (offset, at) in offsets.iter_mut().zip(&mixture.columns.columns[place]) {
                *offset += match &of.dims.dims[place] {
                    Dim::Category(shares) => -libm::log(mixture.same(shares.count())),
                    Dim::Continuous | Dim::Steps(_) => {
                        let mass = normal_below((1.0 - at) / width) - normal_below(-at / width);
                        libm::log(width * mass) + LN_SQRT_2_PI
                    }
                };
            }
        }
        mixture.least = offsets.iter().copied().fold(0.0, f64::min);
        mixture.offsets = offsets.iter().map(|offset| offset - mixture.least).collect();
        mixture
    }

    /// How much of a kernel lies on other categories.
    fn spread(&self, count: usize) -> f64 {
        let (count, rows) = (count as f64, self.rows.len() as f64);
        (count / (count + rows)).max(SPREAD_MIN)
    }

    /// The chance of the kernel's own category.
    fn same(&self, count: usize) -> f64 {
        let spread = self.spread(count);
        1.0 - spread + spread / count as f64
    }

    fn ln_density(&self, of: &Parzen<'_>, row: &[f64]) -> f64 {
        let mut exponents = self.offsets.clone();
        for &place in &self.places {
            let (at, column) = (of.shape.entry(place, row[place]), &self.columns.columns[place]);
            match &of.dims.dims[place] {
                Dim::Category(shares) => {
                    let other = self.spread(shares.count()) / shares.count() as f64;
                    let weight = libm::log(self.same(shares.count()) / other);
                    lanes::add_mismatches(&mut exponents, at, weight, column);
                }
                Dim::Continuous | Dim::Steps(_) => {
                    lanes::add_squares(&mut exponents, at, 0.5 / (self.width * self.width), column);
                }
            }
        }
        let mut densities = vec![0.0; exponents.len()];
        lanes::exp_of_minus(&exponents, &mut densities);
        // The kernel over the whole space has density 1, categories as they are drawn.
        let whole: f64 = self
            .places
            .iter()
            .map(|place| match &of.dims.dims[*place] {
                Dim::Category(shares) => 1.0 / shares.count() as f64,
                Dim::Continuous | Dim::Steps(_) => 1.0,
            })
            .product();
        let sum = densities.iter().sum::<f64>() + whole * libm::exp(self.least);
        libm::log(sum / (self.rows.len() as f64 + 1.0)) - self.least
    }

    /// A point of the cube from one of the kernels.
    fn draw(&self, of: &Parzen<'_>, stream: &mut Stream) -> Vec<f64> {
        let kernel = stream.below(self.rows.len() + 1);
        let row = self.rows.get(kernel);
        let drawn = (0..of.dims.len()).map(|place| {
            let entry = row.map_or(f64::NAN, |row| row[place]);
            if entry.is_nan() || !self.places.contains(&place) {
                return stream.unit();
            }
            match &of.dims.dims[place] {
                Dim::Category(shares) if stream.unit() < self.spread(shares.count()) => stream.unit(),
                Dim::Category(_) => of.dims.u(place, entry),
                Dim::Continuous | Dim::Steps(_) => reflected(entry + self.width * stream.normal()),
            }
        });
        drawn.collect()
    }
}

/// Into the unit interval, by reflection at its ends.
pub(crate) fn reflected(u: f64) -> f64 {
    let folded = u - 2.0 * (u / 2.0).floor();
    let folded = if folded > 1.0 { 2.0 - folded } else { folded };
    folded.clamp(f64::EPSILON, 1.0 - f64::EPSILON)
}
