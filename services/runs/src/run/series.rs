//! The live points of a watched key: a later attempt supersedes the steps of earlier ones from its own on.

use std::collections::BTreeMap;

/// The live points of a watched key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    points: BTreeMap<i64, Reported>,
}

/// A live point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported {
    pub bits: u64,
    pub attempt: u32,
}

impl Series {
    /// Whether nothing was reported.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The greatest live step.
    pub fn last_step(&self) -> Option<i64> {
        self.points.last_key_value().map(|(step, _)| *step)
    }

    /// The live points: step and bits, by step.
    pub fn live(&self) -> Vec<(i64, u64)> {
        self.points.iter().map(|(step, point)| (*step, point.bits)).collect()
    }

    pub(super) fn points(&self) -> &BTreeMap<i64, Reported> {
        &self.points
    }

    pub(super) fn take(&mut self, step: i64, value: f64, attempt: u32) {
        let superseded = self.points.range(step..).filter(|(_, point)| point.attempt < attempt);
        let superseded: Vec<i64> = superseded.map(|(step, _)| *step).collect();
        for step in superseded {
            self.points.remove(&step);
        }
        self.points.insert(step, Reported { bits: bits_of(value), attempt });
    }
}

/// The bits that make two values the same: all NaN are one.
pub fn bits_of(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}
