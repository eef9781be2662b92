//! The search space as it is declared and stored: parameters, their distributions and the conditions between them.

use serde::{Deserialize, Serialize};

use crate::value::Value;
use crate::version::SamplerVersion;

/// Most parameters of a search space: the table of Sobol directions has as many dimensions.
pub const PARAMETERS_MAX: usize = 256;
/// Most values of one choice.
pub const CHOICE_VALUES_MAX: usize = 1000;
/// Largest `upper` of a randint: the last integer up to which doubles leave no gap.
pub const RANDINT_UPPER_MAX: u64 = 1 << 53;
/// Largest bound of an int_uniform, either side of 0, and its widest range, for the same reason.
pub const INTEGER_MAX: i64 = 1 << 53;

/// What a document says about the bounds of the log types. It changes no value, so spaces that differ in it alone are
/// the same.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// Nothing: bounds that look like real ones are refused.
    #[default]
    Unsaid,
    /// That they are meant as exponents, however they look.
    Exponents,
}

impl Bounds {
    fn is_unsaid(&self) -> bool {
        matches!(self, Self::Unsaid)
    }
}

impl PartialEq for Bounds {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// How the value of a parameter is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Distribution {
    /// One of the listed values.
    Choice {
        /// 1..1000 values, of mixed types if wished.
        values: Vec<Value>,
        /// A positive weight for each value; absent: all equal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<Vec<f64>>,
        /// Whether the written order of the values means something to a model.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ordered: bool,
    },
    /// An integer in `[0, upper)`.
    Randint {
        /// The first integer that is not drawn.
        upper: u64,
        /// Whether a grid may enumerate the integers.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grid_points: bool,
    },
    /// An integer between two bounds, both included.
    IntUniform {
        /// Smallest value.
        min_value: i64,
        /// Largest value; the last one drawn is a whole number of steps from the smallest.
        max_value: i64,
        /// From one value to the next, counted from the smallest.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        step: u64,
        /// Whether a grid may enumerate the integers.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grid_points: bool,
    },
    /// Uniform between two bounds.
    Uniform {
        /// Smallest value.
        min_value: f64,
        /// Largest value.
        max_value: f64,
    },
    /// Uniform, then rounded to a multiple of `q`.
    Quniform {
        /// Smallest value.
        min_value: f64,
        /// Largest value.
        max_value: f64,
        /// The step.
        q: f64,
        /// Whether a grid may enumerate the multiples.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grid_points: bool,
    },
    /// `exp` of a uniform: the bounds are exponents.
    Loguniform {
        /// Smallest exponent.
        min_value: f64,
        /// Largest exponent.
        max_value: f64,
        /// What the document says about them.
        #[serde(default, skip_serializing_if = "Bounds::is_unsaid")]
        bounds: Bounds,
    },
    /// Log-uniform, then rounded to a multiple of `q`: the bounds are exponents.
    Qloguniform {
        /// Smallest exponent.
        min_value: f64,
        /// Largest exponent.
        max_value: f64,
        /// The step.
        q: f64,
        /// What the document says about the bounds.
        #[serde(default, skip_serializing_if = "Bounds::is_unsaid")]
        bounds: Bounds,
    },
    /// Log-uniform between two real, positive bounds.
    LogUniformValues {
        /// Smallest value.
        min_value: f64,
        /// Largest value.
        max_value: f64,
    },
    /// Log-uniform between two real, positive bounds, then rounded to a multiple of `q`.
    QLogUniformValues {
        /// Smallest value.
        min_value: f64,
        /// Largest value.
        max_value: f64,
        /// The step; 1 for an integer on a log scale.
        q: f64,
        /// Whether a grid may enumerate the multiples.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        grid_points: bool,
    },
    /// Normal.
    Normal {
        /// Mean.
        mu: f64,
        /// Standard deviation.
        sigma: f64,
    },
    /// Normal, then rounded to a multiple of `q`.
    Qnormal {
        /// Mean.
        mu: f64,
        /// Standard deviation.
        sigma: f64,
        /// The step.
        q: f64,
    },
    /// `exp` of a normal.
    Lognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// Log-normal, then rounded to a multiple of `q`.
    Qlognormal {
        /// Mean of the logarithm.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// The step.
        q: f64,
    },
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(step: &u64) -> bool {
    *step == 1
}

impl Distribution {
    /// The names of all distributions, as documents write them.
    pub const KINDS: [&'static str; 13] = [
        "choice",
        "randint",
        "int_uniform",
        "uniform",
        "quniform",
        "loguniform",
        "qloguniform",
        "log_uniform_values",
        "q_log_uniform_values",
        "normal",
        "qnormal",
        "lognormal",
        "qlognormal",
    ];

    /// The name in documents.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Choice { .. } => "choice",
            Self::Randint { .. } => "randint",
            Self::IntUniform { .. } => "int_uniform",
            Self::Uniform { .. } => "uniform",
            Self::Quniform { .. } => "quniform",
            Self::Loguniform { .. } => "loguniform",
            Self::Qloguniform { .. } => "qloguniform",
            Self::LogUniformValues { .. } => "log_uniform_values",
            Self::QLogUniformValues { .. } => "q_log_uniform_values",
            Self::Normal { .. } => "normal",
            Self::Qnormal { .. } => "qnormal",
            Self::Lognormal { .. } => "lognormal",
            Self::Qlognormal { .. } => "qlognormal",
        }
    }
}

/// One line of `when`: the parent must be active and have one of the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The parameter that is looked at.
    pub parent: String,
    /// The values with which the condition holds.
    pub values: Vec<Value>,
}

/// One parameter of the search space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The name, unique in the space.
    pub name: String,
    /// How its value is drawn.
    #[serde(flatten)]
    pub distribution: Distribution,
    /// It is active iff all of these hold. Empty: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// The value that the first proposal has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// The whole space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchSpace {
    /// In written order, which is the order of a grid and of the Sobol dimensions.
    pub parameters: Vec<Parameter>,
    /// The base of the log types; absent: e.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logbase: Option<f64>,
    /// Azure's published formulas instead of the lattice rules.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compat: bool,
    /// By which rules values are made. Not stored with the space: each proposal says by which it was made.
    #[serde(skip)]
    pub version: SamplerVersion,
}

impl SearchSpace {
    /// The same space with the rules of another version.
    #[must_use]
    pub fn as_of(&self, version: SamplerVersion) -> Self {
        Self { version, ..self.clone() }
    }
}

/// Something wrong, or worth a warning, in a search space, a sampler or a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The parameter's name; empty when it is about the whole.
    pub parameter: String,
    /// The field inside it, as a path: `min_value`, `values/1`, `when/optimizer`; may be empty.
    pub field: String,
    /// The stable code.
    pub code: &'static str,
    /// What was wrong, what was received and how to fix it.
    pub message: String,
    /// True when it does not refuse the document.
    pub warning: bool,
}

impl Issue {
    /// An error.
    pub fn error(parameter: &str, field: &str, code: &'static str, message: String) -> Self {
        Self { parameter: parameter.to_owned(), field: field.to_owned(), code, message, warning: false }
    }

    /// A warning.
    pub fn warning(parameter: &str, field: &str, code: &'static str, message: String) -> Self {
        Self { warning: true, ..Self::error(parameter, field, code, message) }
    }
}
