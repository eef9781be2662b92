//! How much a configuration promises: the logarithm of the expected improvement, and whether it will run at all.

use super::dims::Row;
use super::gp::{Columns, Line, Posterior};
use super::model::Model;
use super::special::{ln_improvement, ln_normal_below};

/// What a search looks for the most of.
pub(crate) trait Promise {
    /// One score a row.
    fn score(&self, rows: &[Row]) -> Vec<f64>;

    /// The negative score without the feasibility, and its gradient by the given numeric entries.
    fn descent(&self, row: &[f64], places: &[usize], gradient: &mut [f64]) -> f64;
}

/// A configuration has to be on the side of those that gave a value with this probability. Beside a border behind which
/// everything fails, a large improvement would otherwise outweigh a small chance again and again.
const CHANCE_MIN: f64 = 0.95;
/// What it loses for each unit of probability that it lacks then: more than the logarithms of improvements differ by.
const CHANCE_LOSS: f64 = 1e6;

/// Where trials give no value.
#[derive(Debug)]
pub(crate) enum Failures {
    /// None has failed.
    None,
    /// A kernel-smoothed share with one success as prior: what failed, and what gave a value. As long as nothing was
    /// learned of the failures themselves, as when they are random.
    Smoothed { bad: Columns, good: Columns },
    /// A Gaussian process on labels (least-squares classification: Rasmussen and Williams 2006, section 6.5) with
    /// lengthscales of its own. The expected improvement is multiplied with the probability of a value, and where that
    /// is below a threshold nothing is proposed as long as there is anywhere else (Gelbart, Snoek and Adams 2014, arXiv
    /// 1403.5607).
    Learned {
        model: Box<Model>,
        /// The label up to which a configuration is on the safe side.
        safe: f64,
    },
}

impl Failures {
    /// Adds the logarithm of the chance of a value to the score of each row.
    pub(crate) fn weigh(&self, posterior: &Posterior, rows: &[Row], scores: &mut [f64]) {
        match self {
            Self::None => {}
            Self::Smoothed { bad, good } => {
                let mut line = Line::default();
                for (score, row) in scores.iter_mut().zip(rows) {
                    let bad = posterior.closeness(&mut line, bad, row);
                    let good = posterior.closeness(&mut line, good, row);
                    *score += libm::log((1.0 + good) / (1.0 + good + bad));
                }
            }
            Self::Learned { model, safe } => {
                let bound = model.scale.apply(*safe);
                for (score, (mean, variance)) in scores.iter_mut().zip(model.posterior.predict(rows)) {
                    let ln_chance = ln_normal_below((bound - mean) / variance.sqrt());
                    *score += ln_chance - CHANCE_LOSS * (CHANCE_MIN - libm::exp(ln_chance)).max(0.0);
                }
            }
        }
    }
}

/// Log expected improvement (Ament et al. 2023, arXiv 2310.20708) against the incumbent, plus the logarithm of the
/// chance that the configuration gives a value at all.
#[derive(Debug)]
pub(crate) struct Acquisition<'a> {
    pub posterior: &'a Posterior,
    /// What is to be improved on, in the model's units.
    pub incumbent: f64,
    /// Where trials fail.
    pub failures: Failures,
}

impl Promise for Acquisition<'_> {
    fn score(&self, rows: &[Row]) -> Vec<f64> {
        let promised = self.posterior.predict(rows).into_iter().map(|(mean, variance)| {
            let spread = variance.sqrt();
            libm::log(spread) + ln_improvement((self.incumbent - mean) / spread).0
        });
        let mut scores: Vec<f64> = promised.collect();
        self.failures.weigh(self.posterior, rows, &mut scores);
        scores
    }

    fn descent(&self, row: &[f64], places: &[usize], gradient: &mut [f64]) -> f64 {
        let at = self.posterior.gradient(row, places);
        let spread = at.variance.sqrt();
        let z = (self.incumbent - at.mean) / spread;
        let (value, slope) = ln_improvement(z);
        for (i, entry) in gradient.iter_mut().enumerate() {
            let by_spread = at.variance_slopes[i] / (2.0 * spread);
            *entry = -(by_spread / spread + slope * (-at.mean_slopes[i] - z * by_spread) / spread);
        }
        -(libm::log(spread) + value)
    }
}
