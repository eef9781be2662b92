//! How much a configuration promises where a trial has several outputs.

use super::acquire::{Failures, Promise};
use super::dims::Row;
use super::gp::{Posterior, Slopes};
use super::several::Norm;
use super::special::{LN_SQRT_2_PI, ln_improvement, ln_normal_below};

/// An improvement of this much of the front's extent is smoothed into nothing: far away from any improvement there is
/// still a slope (Ament et al. 2023).
const SMOOTH: f64 = 1e-3;
/// Beyond this the smoothed step is one of its asymptotes.
const FAR: f64 = 30.0;

/// A constraint: what its model says, and where its bound is in the model's units.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub posterior: &'a Posterior,
    pub at: f64,
}

/// The logarithm of the expected improvement of the norm, plus those of the chances that the constraints hold and that
/// there is a value at all.
#[derive(Debug)]
pub(super) struct Several<'a> {
    /// Of the objectives; the first one's is what the failures are looked at with.
    pub objectives: Vec<&'a Posterior>,
    pub norm: &'a Norm,
    /// None while nothing is feasible: then the chances are all that counts.
    pub incumbent: Option<f64>,
    /// Standard normal points; none with one objective, whose expectation has a closed form.
    pub normals: &'a [Vec<f64>],
    pub bounds: Vec<Bound<'a>>,
    pub failures: Failures,
}

/// ln(ln(1 + exp(t))), and its slope.
fn ln_softplus(t: f64) -> (f64, f64) {
    if t < -FAR {
        return (t, 1.0);
    }
    if t > FAR {
        return (libm::log(t), 1.0 / t);
    }
    let softplus = libm::log1p(libm::exp(t));
    (libm::log(softplus), 1.0 / ((1.0 + libm::exp(-t)) * softplus))
}

impl Several<'_> {
    /// The logarithm of the expected improvement, from mean and spread of each objective.
    fn ln_gain(&self, incumbent: f64, at: &[(f64, f64)]) -> f64 {
        if let [(mean, spread)] = at {
            return libm::log(*spread) + ln_improvement((incumbent - mean) / spread).0;
        }
        let mut values = vec![0.0; at.len()];
        let terms = self.normals.iter().map(|normals| {
            for ((value, (mean, spread)), z) in values.iter_mut().zip(at).zip(normals) {
                *value = mean + spread * z;
            }
            ln_softplus((incumbent - self.norm.of(&values)) / SMOOTH).0
        });
        let terms: Vec<f64> = terms.collect();
        ln_mean(&terms) + libm::log(SMOOTH)
    }

    /// The chance that each constraint holds, as logarithms, summed.
    pub(super) fn ln_feasible(&self, rows: &[Row]) -> Vec<f64> {
        let mut sums = vec![0.0; rows.len()];
        for bound in &self.bounds {
            for (sum, (mean, variance)) in sums.iter_mut().zip(bound.posterior.predict(rows)) {
                *sum += ln_normal_below((bound.at - mean) / variance.sqrt());
            }
        }
        sums
    }

    /// The same as [`Several::ln_gain`] with the gradient by each entry added.
    fn gain_slopes(&self, incumbent: f64, at: &[Slopes], gradient: &mut [f64]) -> f64 {
        let spreads: Vec<f64> = at.iter().map(|slopes| slopes.variance.sqrt()).collect();
        // By the mean and by the spread of each objective.
        let mut by = vec![(0.0, 0.0); at.len()];
        let gain = if let [one] = at {
            let z = (incumbent - one.mean) / spreads[0];
            let (value, slope) = ln_improvement(z);
            by[0] = (-slope / spreads[0], (1.0 - slope * z) / spreads[0]);
            libm::log(spreads[0]) + value
        } else {
            let (mut values, mut slopes) = (vec![0.0; at.len()], vec![0.0; at.len()]);
            let mut parts = Vec::with_capacity(self.normals.len());
            for normals in self.normals {
                for (place, value) in values.iter_mut().enumerate() {
                    *value = at[place].mean + spreads[place] * normals[place];
                }
                let norm = self.norm.slopes(&values, &mut slopes);
                let (term, slope) = ln_softplus((incumbent - norm) / SMOOTH);
                parts.push((term, slope, slopes.clone()));
            }
            let terms: Vec<f64> = parts.iter().map(|(term, ..)| *term).collect();
            let mean = ln_mean(&terms);
            for ((term, slope, slopes), normals) in parts.iter().zip(self.normals) {
                let share = libm::exp(term - mean) / self.normals.len() as f64;
                for (place, by) in by.iter_mut().enumerate() {
                    let pull = -share * slope * slopes[place] / SMOOTH;
                    *by = (by.0 + pull, by.1 + pull * normals[place]);
                }
            }
            mean + libm::log(SMOOTH)
        };
        for ((slopes, spread), by) in at.iter().zip(&spreads).zip(&by) {
            for (place, entry) in gradient.iter_mut().enumerate() {
                *entry += by.0 * slopes.mean_slopes[place] + by.1 * slopes.variance_slopes[place] / (2.0 * spread);
            }
        }
        gain
    }
}

/// The logarithm of the mean of what the terms are logarithms of.
fn ln_mean(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = terms.iter().fold(0.0, |sum, term| sum + libm::exp(term - largest));
    largest + libm::log(sum / terms.len() as f64)
}

impl Promise for Several<'_> {
    fn score(&self, rows: &[Row]) -> Vec<f64> {
        let mut scores = self.ln_feasible(rows);
        if let Some(incumbent) = self.incumbent {
            let predicted: Vec<Vec<(f64, f64)>> =
                self.objectives.iter().map(|posterior| posterior.predict(rows)).collect();
            let mut at = vec![(0.0, 0.0); predicted.len()];
            for (row, score) in scores.iter_mut().enumerate() {
                for (entry, predicted) in at.iter_mut().zip(&predicted) {
                    let (mean, variance) = predicted[row];
                    *entry = (mean, variance.sqrt());
                }
                *score += self.ln_gain(incumbent, &at);
            }
        }
        self.failures.weigh(self.objectives[0], rows, &mut scores);
        scores
    }

    fn descent(&self, row: &[f64], places: &[usize], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut value = 0.0;
        if let Some(incumbent) = self.incumbent {
            let at: Vec<Slopes> = self.objectives.iter().map(|posterior| posterior.gradient(row, places)).collect();
            value += self.gain_slopes(incumbent, &at, gradient);
        }
        for bound in &self.bounds {
            let at = bound.posterior.gradient(row, places);
            let spread = at.variance.sqrt();
            let z = (bound.at - at.mean) / spread;
            let ln_below = ln_normal_below(z);
            value += ln_below;
            let slope = libm::exp(-0.5 * z * z - LN_SQRT_2_PI - ln_below);
            for (place, entry) in gradient.iter_mut().enumerate() {
                let by_spread = at.variance_slopes[place] / (2.0 * spread);
                *entry += slope * (-at.mean_slopes[place] - z * by_spread) / spread;
            }
        }
        gradient.iter_mut().for_each(|entry| *entry = -*entry);
        -value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::dims::Dims;
    use crate::bayes::gp::Shape;
    use crate::bayes::recipe::Recipe;
    use crate::bayes::several::Axis;
    use crate::bayes::stream::Stream;
    use crate::space::{Distribution, Parameter, SearchSpace};

    fn posteriors(count: usize) -> Vec<Posterior> {
        let parameter = |name: &str| Parameter {
            name: name.to_owned(),
            distribution: Distribution::Uniform { min_value: 0.0, max_value: 1.0 },
            when: Vec::new(),
            default: None,
        };
        let space = SearchSpace { parameters: vec![parameter("x"), parameter("y")], ..SearchSpace::default() };
        let (dims, recipe) = (Dims::new(&space), Recipe::default());
        let mut stream = Stream::new(1, 2, "test");
        let rows: Vec<Row> = (0..9).map(|_| vec![stream.unit(), stream.unit()]).collect();
        let of = |_: usize| {
            let mut posterior = Posterior::new(Shape::new(&dims, &recipe), &[-0.5, 0.1, 0.0, -4.0]);
            for row in &rows {
                assert!(posterior.observe(row, stream.normal(), 1.0));
            }
            posterior.settle();
            posterior
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let all = posteriors(4);
        for (objectives, incumbent) in [(1, Some(0.3)), (1, None), (2, Some(0.6)), (3, Some(-0.2))] {
            let mut stream = Stream::new(3, 4, "test");
            let axes = (0..objectives).map(|at| Axis { low: -1.0, extent: 1.0 + at as f64 }).collect();
            let weights = [0.5, 0.3, 0.2][..objectives].to_vec();
            let norm = Norm { axes, weights };
            let normals: Vec<Vec<f64>> = (0..16).map(|_| (0..objectives).map(|_| stream.normal()).collect()).collect();
            let several = Several {
                objectives: all[..objectives].iter().collect(),
                norm: &norm,
                incumbent,
                normals: &normals,
                bounds: vec![Bound { posterior: &all[3], at: -0.4 }],
                failures: Failures::None,
            };
            let row = [0.37, 0.81];
            let (mut gradient, mut unused) = ([0.0; 2], [0.0; 2]);
            let value = several.descent(&row, &[0, 1], &mut gradient);
            assert!((several.score(&[row.to_vec()])[0] + value).abs() < 1e-9, "{objectives}");
            for place in 0..2 {
                let (mut up, mut down) = (row, row);
                up[place] += 1e-6;
                down[place] -= 1e-6;
                let rise = several.descent(&up, &[0, 1], &mut unused) - several.descent(&down, &[0, 1], &mut unused);
                let slope = rise / 2e-6;
                let near = (slope - gradient[place]).abs() < 1e-4 * slope.abs().max(1.0);
                assert!(near, "{objectives} {incumbent:?} {place}: {slope} {gradient:?}");
            }
        }
    }

    #[test]
    fn the_smoothed_step_is_what_it_says() {
        for t in [-40.0_f64, -29.9, -3.0, 0.0, 2.0, 29.9, 31.0] {
            let (value, slope) = ln_softplus(t);
            let exact = if t < -35.0 { t } else { t.exp().ln_1p().ln() };
            assert!((value - exact).abs() < 1e-9 * exact.abs().max(1.0), "{t}: {value} {exact}");
            let numeric = (ln_softplus(t + 1e-5).0 - ln_softplus(t - 1e-5).0) / 2e-5;
            assert!((slope - numeric).abs() < 1e-5, "{t}: {slope} {numeric}");
        }
    }
}
