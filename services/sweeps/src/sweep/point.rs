//! Reported values.

use serde::{Deserialize, Serialize};

/// One report of the watched metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The name of the point.
    pub step: i64,
    /// NaN and infinities move the clock and have no value.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
}

/// One report of another watched metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedValue {
    /// The metric.
    pub name: String,
    /// The name of the point.
    pub step: i64,
    /// NaN and infinities say nothing.
    #[serde(with = "vocabulary::number")]
    pub value: f64,
}
