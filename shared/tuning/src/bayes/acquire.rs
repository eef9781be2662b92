//! How much a configuration promises: the logarithm of the expected improvement, and whether it will run at all.

use super::dims::Row;
use super::gp::{Columns, Line, Posterior};
use super::special::ln_improvement;

/// What a search looks for the most of.
pub(crate) trait Promise {
    /// One score a row.
    fn score(&self, rows: &[Row]) -> Vec<f64>;

    /// The negative score without the feasibility, and its gradient by the given numeric entries.
    fn descent(&self, row: &[f64], places: &[usize], gradient: &mut [f64]) -> f64;
}

/// The logarithm of the chance of a value: a kernel-smoothed share with one success as prior.
pub(crate) fn ln_ok(posterior: &Posterior, failures: Option<&(Columns, Columns)>, line: &mut Line, row: &[f64]) -> f64 {
    let Some((bad, good)) = failures else { return 0.0 };
    let bad = posterior.closeness(line, bad, row);
    let good = posterior.closeness(line, good, row);
    libm::log((1.0 + good) / (1.0 + good + bad))
}

/// Log expected improvement (Ament et al. 2023, arXiv 2310.20708) against the incumbent, plus the logarithm of the
/// chance that the configuration gives a value at all.
#[derive(Debug)]
pub(crate) struct Acquisition<'a> {
    pub posterior: &'a Posterior,
    /// What is to be improved on, in the model's units.
    pub incumbent: f64,
    /// Configurations that failed, and those that gave a value; none when nothing has failed.
    pub failures: Option<(Columns, Columns)>,
}

impl Promise for Acquisition<'_> {
    fn score(&self, rows: &[Row]) -> Vec<f64> {
        let mut line = Line::default();
        let predicted = self.posterior.predict(rows);
        let scored = predicted.into_iter().zip(rows).map(|((mean, variance), row)| {
            let spread = variance.sqrt();
            libm::log(spread)
                + ln_improvement((self.incumbent - mean) / spread).0
                + ln_ok(self.posterior, self.failures.as_ref(), &mut line, row)
        });
        scored.collect()
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
