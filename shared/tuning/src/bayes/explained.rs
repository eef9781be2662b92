//! Why a configuration was suggested.

use serde::{Deserialize, Serialize};

/// What a sampler can say about its suggestion. Values are in the metric's own units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// default | inherited | sobol | gp | tpe | cma_es.
    pub by: String,
    /// Why this sampler, in words.
    pub why: String,
    /// The value that the model expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Where the model expects two thirds of the outcomes: one standard deviation to each side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// The logarithm of the expected improvement, in the model's units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_expected_improvement: Option<f64>,
    /// The best value that the model believes in so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incumbent: Option<f64>,
    /// With several objectives: how much each weighs in this suggestion, in written order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// What the models expect of the further objectives and the metrics of the constraints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Expected>,
    /// The chance that all constraints hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feasible: Option<f64>,
    /// The nearest tried configurations by the model's own measure, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Near>,
}

impl Explained {
    /// Only who, and why.
    pub(super) fn by(who: &str, why: &str) -> Self {
        Self { by: who.to_owned(), why: why.to_owned(), ..Self::default() }
    }
}

/// What the model of a further output expects, in the metric's own units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// The metric.
    pub name: String,
    /// The value.
    pub mean: f64,
    /// One standard deviation to each side.
    pub interval: (f64, f64),
}

/// A tried configuration that is near.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// Which trial; absent when an earlier sweep had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u32>,
    /// The correlation that the model assumes: 1 is the same point, 0 has nothing to say.
    pub correlation: f64,
    /// Its value.
    pub value: f64,
}
