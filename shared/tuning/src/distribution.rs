//! From a uniform number to the value of a parameter.

use crate::lattice::{Lattice, from_step};
use crate::normal::inverse_normal;
use crate::space::{Distribution, SearchSpace};
use crate::value::Value;

/// What of the space, besides the distribution itself, decides a value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// ln of the base of the log types; 1 for e.
    pub ln_base: Option<f64>,
    /// The published formulas, without clipping to the lattice.
    pub compat: bool,
    /// Whether the steps of a lattice of powers are kept inside the powers of its bounds.
    pub clamps_powers: bool,
}

impl Manner {
    pub(crate) fn of(space: &SearchSpace) -> Self {
        let clamps_powers = space.version.clamps_powers();
        Self { ln_base: space.logbase.map(libm::log), compat: space.compat, clamps_powers }
    }

    /// The base to the power of x.
    pub(crate) fn power(self, x: f64) -> f64 {
        libm::exp(x * self.ln_base.unwrap_or(1.0))
    }
}

/// How many values a distribution has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Finite(u64),
    Infinite,
}

impl Distribution {
    /// The value for a uniform `u` strictly between 0 and 1. A checked space gives a finite value for each of them.
    pub(crate) fn value(&self, u: f64, manner: Manner) -> Value {
        match self {
            Self::Choice { values, weights, .. } => choose(values, weights.as_deref(), u),
            _ => Value::Number(match self.integers() {
                Some(integers) => integers.value((u * integers.count as f64).floor()),
                None => bounded(self.continuous(u, manner)),
            }),
        }
    }

    fn continuous(&self, u: f64, manner: Manner) -> f64 {
        let raw = match *self {
            Self::Choice { .. } | Self::Randint { .. } | Self::IntUniform { .. } => 0.0,
            Self::Uniform { min_value, max_value } | Self::Quniform { min_value, max_value, .. } => {
                min_value + u * (max_value - min_value)
            }
            Self::Loguniform { min_value, max_value, .. } | Self::Qloguniform { min_value, max_value, .. } => {
                manner.power(min_value + u * (max_value - min_value))
            }
            Self::LogUniformValues { min_value, max_value } | Self::QLogUniformValues { min_value, max_value, .. } => {
                let low = libm::log(min_value);
                libm::exp(low + u * (libm::log(max_value) - low))
            }
            Self::Normal { mu, sigma } | Self::Qnormal { mu, sigma, .. } => mu + sigma * inverse_normal(u),
            Self::Lognormal { mu, sigma } | Self::Qlognormal { mu, sigma, .. } => {
                manner.power(mu + sigma * inverse_normal(u))
            }
        };
        let bounds = self.bounds(manner);
        let value = bounds.map_or(raw, |(low, high)| raw.max(low).min(high));
        match (self.quantum(), self.lattice(manner)) {
            (Some(_), Some(lattice)) => lattice.nearest(value),
            (Some(q), None) => from_step((value / q).round_ties_even(), q),
            (None, _) => value,
        }
    }

    /// The real bounds of the values, smaller one first (a base below 1 turns exponents round).
    pub(crate) fn bounds(&self, manner: Manner) -> Option<(f64, f64)> {
        match *self {
            Self::Uniform { min_value, max_value }
            | Self::Quniform { min_value, max_value, .. }
            | Self::LogUniformValues { min_value, max_value }
            | Self::QLogUniformValues { min_value, max_value, .. } => Some((min_value, max_value)),
            Self::Loguniform { min_value, max_value, .. } | Self::Qloguniform { min_value, max_value, .. } => {
                let (a, b) = (manner.power(min_value), manner.power(max_value));
                Some((a.min(b), a.max(b)))
            }
            _ => None,
        }
    }

    /// Whether the written bounds are exponents, so that the real ones are powers, rounded as such.
    pub(crate) fn has_exponents(&self) -> bool {
        matches!(self, Self::Loguniform { .. } | Self::Qloguniform { .. })
    }

    /// The step of the quantised types.
    pub(crate) fn quantum(&self) -> Option<f64> {
        match *self {
            Self::Quniform { q, .. }
            | Self::Qloguniform { q, .. }
            | Self::QLogUniformValues { q, .. }
            | Self::Qnormal { q, .. }
            | Self::Qlognormal { q, .. } => Some(q),
            _ => None,
        }
    }

    /// The lattice to which values are clipped: quantised types with bounds, outside compat.
    pub(crate) fn lattice(&self, manner: Manner) -> Option<Lattice> {
        if manner.compat {
            return None;
        }
        let (q, (low, high)) = (self.quantum()?, self.bounds(manner)?);
        let lattice = Lattice::new(low, high, q);
        Some(if self.has_exponents() && !manner.clamps_powers { lattice.unclamped() } else { lattice })
    }

    /// How many different values can be drawn.
    pub(crate) fn size(&self, manner: Manner) -> Size {
        match *self {
            Self::Choice { ref values, .. } => Size::Finite(values.len() as u64),
            Self::Loguniform { min_value, max_value, .. } if min_value == max_value => Size::Finite(1),
            Self::Normal { sigma, .. }
            | Self::Lognormal { sigma, .. }
            | Self::Qnormal { sigma, .. }
            | Self::Qlognormal { sigma, .. }
                if sigma == 0.0 =>
            {
                Size::Finite(1)
            }
            _ => match (self.integers(), self.lattice(manner), self.quantum().zip(self.bounds(manner))) {
                (Some(integers), ..) => Size::Finite(integers.count),
                (None, Some(lattice), _) => Size::Finite(lattice.count()),
                (None, None, Some((q, (low, high)))) => {
                    let steps = (high / q).round_ties_even() - (low / q).round_ties_even();
                    Size::Finite(steps as u64 + 1)
                }
                _ => Size::Infinite,
            },
        }
    }
}

/// The last resort behind the checks: whatever the arguments, no infinity and no NaN leaves the sampler.
fn bounded(value: f64) -> f64 {
    match value {
        v if v.is_finite() => v,
        f64::INFINITY => f64::MAX,
        _ => f64::MIN,
    }
}

/// The first value whose running weight exceeds `u` times the total; both sums run left to right.
fn choose(values: &[Value], weights: Option<&[f64]>, u: f64) -> Value {
    let weight = |index: usize| weights.map_or(1.0, |weights| weights.get(index).copied().unwrap_or(1.0));
    let target = u * (0..values.len()).fold(0.0, |sum, index| sum + weight(index));
    let mut seen = 0.0;
    for (index, value) in values.iter().enumerate() {
        seen += weight(index);
        if target < seen {
            return value.clone();
        }
    }
    values.last().cloned().unwrap_or(Value::Bool(false))
}
