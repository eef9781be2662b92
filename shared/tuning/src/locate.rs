//! From the value of a parameter back to its uniform number: for imports, warm starts and defaults.
//!
//! A continuous value stands where the distribution function puts it; a quantised one, an integer and a choice stand in
//! the middle of the numbers that give them. Mapping back gives the value again: exactly when there are finitely many
//! values or a step, otherwise up to the rounding of the two maps.

use crate::distribution::{Manner, Size};
use crate::integers::Integers;
use crate::lattice::from_step;
use crate::sampler::Draw;
use crate::space::{Distribution, SearchSpace};
use crate::value::{Value, number_text};

/// The smallest uniform number that a sampler draws: half a cell of 2^-52. The largest is as far from 1.
const U_MIN: f64 = f64::EPSILON / 2.0;
/// Bounds that went through a logarithm and back, or through decimal text, are off by a few units in the last place;
/// what is this near to a bound, relative to the size of the numbers, is on it.
const NEAR: f64 = 1e-12;
/// Steps may be off by this part of a step, as in [`crate::lattice`]: 0.1 + 0.2 means step 3 of 0.1.
const NEAR_STEP: f64 = 1e-9;
/// Standard deviations from the mean that a draw can reach: z(2^-53).
const REACH: f64 = 8.22;
/// Neighbouring doubles that are tried when rounding has put a number just outside the interval of its value.
const NEIGHBOURS: u32 = 16;

impl SearchSpace {
    /// The uniform number of a value of the parameter at `place`.
    ///
    /// # Errors
    /// A sentence when the parameter cannot have the value.
    ///
    /// # Panics
    /// When there is no parameter at `place`.
    pub fn u_of(&self, place: usize, value: &Value) -> Result<f64, String> {
        let parameter = &self.parameters[place];
        let manner = Manner::of(self);
        let name = &parameter.name;
        parameter.distribution.locate(value, manner).map_err(|wrong| format!("{name}: {value} {wrong}"))
    }

    /// A draw with a given value. A value with a step is put exactly on it.
    ///
    /// # Errors
    /// As [`SearchSpace::u_of`].
    ///
    /// # Panics
    /// When there is no parameter at `place`.
    pub fn draw_of(&self, place: usize, value: &Value) -> Result<Draw, String> {
        let u = self.u_of(place, value)?;
        let exact = self.parameters[place].distribution.is_discrete();
        let value = if exact { self.value_of(place, u) } else { value.clone() };
        Ok(Draw { name: self.parameters[place].name.clone(), u, value })
    }
}

impl Distribution {
    /// Whether its values stand apart from each other.
    pub(crate) fn is_discrete(&self) -> bool {
        matches!(self, Self::Choice { .. }) || self.integers().is_some() || self.quantum().is_some()
    }

    pub(crate) fn locate(&self, value: &Value, manner: Manner) -> Result<f64, String> {
        if let Self::Choice { values, weights, .. } = self {
            let at = values.iter().position(|known| known == value).ok_or("is none of the values")?;
            return Ok(self.settle(centre_of_share(at, values.len(), weights.as_deref()), value, manner));
        }
        let x = value.as_number().ok_or("is not a number")?;
        if !x.is_finite() {
            return Err("is not a finite number".to_owned());
        }
        if let Some(integers) = self.integers() {
            let index = integers.index(x).ok_or_else(|| self.not_an_integer(integers))?;
            return Ok(self.settle((index + 0.5) / integers.count as f64, value, manner));
        }
        match self.quantum() {
            Some(q) => self.locate_step(x, q, manner),
            None => self.locate_point(x, manner),
        }
    }

    fn not_an_integer(&self, of: Integers) -> String {
        let (first, step, last) = (number_text(of.first), number_text(of.step), number_text(of.last()));
        match self {
            Self::Randint { upper, .. } => format!("is not an integer in 0..{upper}"),
            _ if of.step == 1.0 => format!("is not an integer in {first}..={last}"),
            _ => format!("is not one of {first} to {last} in steps of {step}"),
        }
    }

    fn locate_point(&self, x: f64, manner: Manner) -> Result<f64, String> {
        if let Some((low, high)) = self.bounds(manner) {
            let slack = NEAR * low.abs().max(high.abs()).min(x.abs().max(high - low));
            if !(low - slack..=high + slack).contains(&x) {
                return Err(format!("is outside [{}, {}]", number_text(low), number_text(high)));
            }
        }
        if self.size(manner) == Size::Finite(1) {
            // Lower and upper bound, or mean, are the only value there is.
            let only = self.value(0.5, manner).as_number().unwrap_or_default();
            let same = (x - only).abs() <= NEAR * only.abs().max(x.abs());
            return if same { Ok(0.5) } else { Err(format!("is not the only value {}", number_text(only))) };
        }
        let (u, z) = self.function(x, manner);
        if z.is_some_and(|z| z.is_nan() || z.abs() > REACH) {
            return Err("is farther from the mean than any draw".to_owned());
        }
        Ok(self.settle(u, &Value::Number(x), manner))
    }

    /// The middle of all numbers that are rounded to the step; the first and last step of a bounded lattice take what
    /// lies beyond them.
    fn locate_step(&self, x: f64, q: f64, manner: Manner) -> Result<f64, String> {
        let step = (x / q).round_ties_even();
        let on_it = (x / q - step).abs() <= NEAR_STEP * (x / q).abs().max(1.0);
        let (mut below, mut above) = ((step - 0.5) * q, (step + 0.5) * q);
        let mut value = from_step(step, q);
        if let Some((low, high)) = self.bounds(manner) {
            let (first, last) = match self.lattice(manner) {
                Some(lattice) => (lattice.value(0), lattice.value(lattice.count().saturating_sub(1))),
                None => (from_step((low / q).round_ties_even(), q), from_step((high / q).round_ties_even(), q)),
            };
            let half = q / 2.0;
            if x < first - half || x > last + half {
                return Err(format!("is outside [{}, {}]", number_text(first), number_text(last)));
            }
            if let Some(lattice) = self.lattice(manner) {
                value = lattice.nearest(x);
            }
            below = if value <= first { low } else { below.max(low) };
            above = if value >= last { high } else { above.min(high) };
        }
        if !on_it {
            return Err(format!("is not a multiple of {}", number_text(q)));
        }
        if self.size(manner) == Size::Finite(1) {
            let only = self.value(0.5, manner);
            return if only == Value::Number(value) { Ok(0.5) } else { Err(format!("is not the only value {only}")) };
        }
        let (a, b) = (self.function(below, manner).0, self.function(above, manner).0);
        let u = self.settle(a / 2.0 + b / 2.0, &Value::Number(value), manner);
        if self.value(u, manner) == Value::Number(value) {
            Ok(u)
        } else {
            Err("is farther from the mean than any draw".to_owned())
        }
    }

    /// The distribution function of the values before rounding, and the distance from the mean in standard deviations
    /// of those that have one.
    fn function(&self, x: f64, manner: Manner) -> (f64, Option<f64>) {
        let exponent = |x: f64| libm::log(x.max(0.0)) / manner.ln_base.unwrap_or(1.0);
        let linear = |x: f64, low: f64, high: f64| ((x - low) / (high - low), None);
        let normal = |x: f64, mu: f64, sigma: f64| {
            let z = (x - mu) / sigma;
            (0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2), Some(z))
        };
        match *self {
            Self::Uniform { min_value, max_value } | Self::Quniform { min_value, max_value, .. } => {
                linear(x, min_value, max_value)
            }
            Self::Loguniform { min_value, max_value, .. } | Self::Qloguniform { min_value, max_value, .. } => {
                linear(exponent(x), min_value, max_value)
            }
            Self::LogUniformValues { min_value, max_value } | Self::QLogUniformValues { min_value, max_value, .. } => {
                linear(libm::log(x), libm::log(min_value), libm::log(max_value))
            }
            Self::Normal { mu, sigma } | Self::Qnormal { mu, sigma, .. } => normal(x, mu, sigma),
            Self::Lognormal { mu, sigma } | Self::Qlognormal { mu, sigma, .. } => normal(exponent(x), mu, sigma),
            Self::Choice { .. } | Self::Randint { .. } | Self::IntUniform { .. } => (0.5, None),
        }
    }

    /// The number itself, or a neighbour of it that gives the value exactly.
    fn settle(&self, u: f64, value: &Value, manner: Manner) -> f64 {
        let u = u.clamp(U_MIN, 1.0 - U_MIN);
        let (mut up, mut down) = (u, u);
        for _ in 0..NEIGHBOURS {
            for candidate in [up, down] {
                if self.value(candidate, manner) == *value {
                    return candidate;
                }
            }
            up = up.next_up().min(1.0 - U_MIN);
            down = down.next_down().max(U_MIN);
        }
        u
    }
}

/// The middle of a value's share of all weights; sums run left to right, as where a value is drawn.
fn centre_of_share(at: usize, count: usize, weights: Option<&[f64]>) -> f64 {
    let weight = |index: usize| weights.map_or(1.0, |weights| weights.get(index).copied().unwrap_or(1.0));
    let sum = |end: usize| (0..end).fold(0.0, |sum, index| sum + weight(index));
    (sum(at) + weight(at) / 2.0) / sum(count)
}
