//! The integers of the types that count: a first one, a step and how many there are.

use crate::space::Distribution;

/// Integers at equal steps, all of which doubles hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Integers {
    pub first: f64,
    pub step: f64,
    pub count: u64,
}

impl Integers {
    /// Number `index`, from 0; the last one for all numbers behind it.
    pub(crate) fn value(self, index: f64) -> f64 {
        self.first + self.step * index.min(self.count as f64 - 1.0)
    }

    /// The number of a value; `None` when it is none of them.
    pub(crate) fn index(self, value: f64) -> Option<f64> {
        let index = (value - self.first) / self.step;
        let is_one = index.fract() == 0.0 && (0.0..self.count as f64).contains(&index);
        (is_one && self.value(index) == value).then_some(index)
    }

    /// The largest of them.
    pub(crate) fn last(self) -> f64 {
        self.value(self.count as f64)
    }
}

impl Distribution {
    /// The integers that are drawn with equal weights.
    pub(crate) fn integers(&self) -> Option<Integers> {
        match *self {
            Self::Randint { upper, .. } => Some(Integers { first: 0.0, step: 1.0, count: upper }),
            Self::IntUniform { min_value, max_value, step, .. } => {
                let width = max_value.saturating_sub(min_value).max(0).unsigned_abs();
                let count = width / step.max(1) + 1;
                Some(Integers { first: min_value as f64, step: step as f64, count })
            }
            _ => None,
        }
    }
}
