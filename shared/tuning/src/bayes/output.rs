//! Values as the models see them: minimised, robust against outliers, close to normal.

use super::recipe::{Recipe, Transform};
use crate::normal::inverse_normal;

/// Values worse than the median by more than this many interquartile ranges are clipped: a diverged run must not
/// flatten the model.
const CLIP_RANGES: f64 = 5.0;
/// From this skew on a power transform has not helped, and ranks are used.
const SKEW_MAX: f64 = 1.0;
/// Where the exponent of the power transform is looked for.
const EXPONENTS: (f64, f64) = (-2.0, 4.0);

/// So many standard deviations from the bound is as sure as it gets with values that are all the same.
const CERTAIN: f64 = 3.0;

/// How raw values become the model's. Learned from the values that a fit saw and applied to those that came later.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    clip: f64,
    mean: f64,
    spread: f64,
    power: Option<Power>,
    /// Sorted raw values and their normal scores, when ranks are used.
    ranks: Option<(Vec<f64>, Vec<f64>)>,
    /// Of a constraint: how far from its bound at 0 values usually are. They are logarithmic on both sides of it.
    unit: Option<f64>,
}

/// Yeo and Johnson's transform (Biometrika 2000) of standardised values, and what standardises its results.
#[derive(Clone, Copy, Debug)]
struct Power {
    exponent: f64,
    mean: f64,
    spread: f64,
}

impl Scale {
    /// Learns from at least one finite value.
    pub(crate) fn learn(values: &[f64], recipe: &Recipe) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let clip = if values.len() > 3 && recipe.output != Transform::None { clip_at(&sorted) } else { f64::MAX };
        let clipped: Vec<f64> = values.iter().map(|value| value.min(clip)).collect();
        let (mean, spread) = moments(&clipped);
        let mut scale = Self { clip, mean, spread, power: None, ranks: None, unit: None };
        if spread == 0.0 {
            return scale;
        }
        let standard: Vec<f64> = clipped.iter().map(|value| (value - mean) / spread).collect();
        if matches!(recipe.output, Transform::Power | Transform::Auto) {
            scale.power = power(&standard);
        }
        let skew = standard.iter().map(|value| scale.powered(*value).powi(3)).sum::<f64>() / values.len() as f64;
        if recipe.output == Transform::Ranks || (recipe.output == Transform::Auto && skew.abs() > SKEW_MAX) {
            scale.ranks = Some(ranks(&sorted));
        }
        scale
    }

    /// Learns from at least one finite value of a constraint: values far from the bound on either side must not flatten
    /// what is near it (the bilog of Eriksson and Poloczek 2021, arXiv 2002.08526).
    pub(crate) fn about_zero(values: &[f64]) -> Self {
        let mut distances: Vec<f64> = values.iter().map(|value| value.abs()).collect();
        distances.sort_unstable_by(f64::total_cmp);
        let middle = distances[distances.len() / 2];
        let largest = distances[distances.len() - 1];
        let unit = [middle, largest].into_iter().find(|unit| *unit > 0.0).unwrap_or(1.0);
        let logs: Vec<f64> = values.iter().map(|value| bilog(value / unit)).collect();
        let (mean, spread) = moments(&logs);
        Self { clip: f64::MAX, mean, spread, power: None, ranks: None, unit: Some(unit) }
    }

    /// Where a constraint's bound is in the model's units. Values that are all the same are far from it.
    pub(crate) fn bound(&self) -> f64 {
        match self.spread > 0.0 {
            true => -self.mean / self.spread,
            false if self.mean <= 0.0 => CERTAIN,
            false => -CERTAIN,
        }
    }

    /// Whether a raw value is so bad that it is clipped.
    pub(crate) fn clips(&self, value: f64) -> bool {
        value > self.clip
    }

    /// A raw value in the model's units; larger stays worse.
    pub(crate) fn apply(&self, value: f64) -> f64 {
        if let Some((values, scores)) = &self.ranks {
            return interpolate(values, scores, value);
        }
        if self.spread == 0.0 {
            return 0.0;
        }
        if let Some(unit) = self.unit {
            return (bilog(value / unit) - self.mean) / self.spread;
        }
        self.powered((value.min(self.clip) - self.mean) / self.spread)
    }

    fn powered(&self, standard: f64) -> f64 {
        self.power.map_or(standard, |power| (yeo_johnson(standard, power.exponent) - power.mean) / power.spread)
    }

    /// The raw value that a model's value stands for.
    pub(crate) fn invert(&self, value: f64) -> f64 {
        if let Some((values, scores)) = &self.ranks {
            return interpolate(scores, values, value);
        }
        if let Some(unit) = self.unit {
            let log = self.mean + self.spread * value;
            return unit * libm::copysign(libm::expm1(log.abs()), log);
        }
        // The transform is increasing: bisection is exact enough for something that is only shown.
        let (mut low, mut high) = (-50.0, 50.0);
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if self.powered(middle) < value { low = middle } else { high = middle }
        }
        self.mean + self.spread * 0.5 * (low + high)
    }
}

/// The median and five interquartile ranges, by linear interpolation between order statistics.
pub(crate) fn clip_at(sorted: &[f64]) -> f64 {
    let quantile = |share: f64| {
        let at = share * (sorted.len() - 1) as f64;
        let below = at.floor();
        let (low, high) = (sorted[below as usize], sorted[(below as usize + 1).min(sorted.len() - 1)]);
        low + (at - below) * (high - low)
    };
    let range = quantile(0.75) - quantile(0.25);
    if range > 0.0 { quantile(0.5) + CLIP_RANGES * range } else { f64::MAX }
}

/// Mean and standard deviation; a deviation that is only rounding noise is 0.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    // Halves keep the sum of two huge values finite.
    let mean = values.iter().fold(0.0, |sum, value| sum + value / count);
    let variance = values.iter().fold(0.0, |sum, value| sum + (value - mean) * ((value - mean) / count));
    let spread = variance.sqrt();
    let real = spread.is_finite() && spread >= 1e-12 * mean.abs().max(f64::MIN_POSITIVE);
    (mean, if real { spread } else { 0.0 })
}

/// Logarithmic on both sides of 0, about the value itself near it.
fn bilog(value: f64) -> f64 {
    libm::copysign(libm::log1p(value.abs()), value)
}

fn yeo_johnson(x: f64, exponent: f64) -> f64 {
    if x >= 0.0 {
        if exponent.abs() < 1e-9 { libm::log1p(x) } else { libm::expm1(exponent * libm::log1p(x)) / exponent }
    } else {
        let other = 2.0 - exponent;
        if other.abs() < 1e-9 { -libm::log1p(-x) } else { -libm::expm1(other * libm::log1p(-x)) / other }
    }
}

/// The exponent of the highest likelihood, by golden sections; none when nothing finite comes out.
fn power(standard: &[f64]) -> Option<Power> {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    let count = standard.len() as f64;
    let jacobian: f64 = standard.iter().map(|x| x.signum() * libm::log1p(x.abs())).sum();
    let likelihood = |exponent: f64| {
        let moved: Vec<f64> = standard.iter().map(|x| yeo_johnson(*x, exponent)).collect();
        let (_, spread) = moments(&moved);
        let value = -count * libm::log(spread) + (exponent - 1.0) * jacobian;
        if spread > 0.0 && value.is_finite() { value } else { f64::NEG_INFINITY }
    };
    let (mut low, mut high) = EXPONENTS;
    let (mut a, mut b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut at_a, mut at_b) = (likelihood(a), likelihood(b));
    while high - low > 1e-4 {
        if at_a < at_b {
            (low, a, at_a) = (a, b, at_b);
            b = low + GOLDEN * (high - low);
            at_b = likelihood(b);
        } else {
            (high, b, at_b) = (b, a, at_a);
            a = high - GOLDEN * (high - low);
            at_a = likelihood(a);
        }
    }
    let exponent = 0.5 * (low + high);
    let moved: Vec<f64> = standard.iter().map(|x| yeo_johnson(*x, exponent)).collect();
    let (mean, spread) = moments(&moved);
    (spread > 1e-9 && likelihood(exponent).is_finite()).then_some(Power { exponent, mean, spread })
}

/// Normal scores of the ranks, standardised; equal values share the middle of their ranks.
fn ranks(sorted: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let count = sorted.len() as f64;
    let (mut values, mut scores, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let mut from = 0;
    while from < sorted.len() {
        let until = from + sorted[from..].iter().take_while(|value| **value == sorted[from]).count();
        values.push(sorted[from]);
        scores.push(inverse_normal((from + until) as f64 / 2.0 / count));
        weights.push((until - from) as f64);
        from = until;
    }
    let second: f64 = scores.iter().zip(&weights).map(|(score, weight)| weight * score * score).sum();
    let mean: f64 = scores.iter().zip(&weights).map(|(score, weight)| weight * score).sum::<f64>() / count;
    let spread = (second / count - mean * mean).max(0.0).sqrt();
    if spread > 0.0 {
        scores.iter_mut().for_each(|score| *score = (*score - mean) / spread);
    }
    (values, scores)
}

/// Linear between known points, constant outside.
fn interpolate(from: &[f64], to: &[f64], at: f64) -> f64 {
    let above = from.partition_point(|value| *value < at);
    if above == from.len() {
        return to[above - 1];
    }
    if above == 0 || from[above] == at {
        return to[above];
    }
    let share = (at - from[above - 1]) / (from[above] - from[above - 1]);
    to[above - 1] + share * (to[above] - to[above - 1])
}
