//! The value of a parameter: a text, a number or a boolean, and how it is written for a program.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize, Serializer};

/// Doubles hold every integer up to here, so a whole number is written without a fraction only below it.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// One value that a parameter can have. 1 and 1.0 are equal, 1 and `true` are not.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A text, passed on as it is.
    Text(String),
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
}

/// The values of the active parameters by name.
pub type Configuration = BTreeMap<String, Value>;

impl Value {
    /// The text in a trial's arguments and environment: numbers as ECMAScript writes them (RFC 8785), so whole numbers
    /// have no fraction and both `int()` and `float()` read them.
    pub fn argv_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => number_text(*value),
        }
    }

    /// For messages: blanks at the ends of a text are seen.
    pub fn quoted(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            _ => self.argv_text(),
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Text(_) | Self::Bool(_) => None,
        }
    }
}

/// The fewest digits that read back to the same double, laid out as ECMAScript does.
pub fn number_text(value: f64) -> String {
    ryu_js::Buffer::new().format(value).to_owned()
}

/// A 128-bit digest of a configuration, so that a set of seen configurations costs 16 bytes an entry.
pub fn fingerprint(configuration: &Configuration) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in configuration {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        match value {
            Value::Text(text) => hasher.update(b"t").update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes()),
            Value::Number(number) => hasher.update(b"n").update(&bits(*number).to_le_bytes()),
            Value::Bool(flag) => hasher.update(if *flag { b"1" } else { b"0" }),
        };
    }
    let digest = hasher.finalize();
    u128::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// Adding zero turns -0.0 into 0.0 and leaves every other number alone.
fn bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => bits(*a) == bits(*b),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => (0_u8, text).hash(state),
            Self::Number(value) => (1_u8, bits(*value)).hash(state),
            Self::Bool(value) => (2_u8, value).hash(state),
        }
    }
}

/// Whole numbers are written as JSON integers: a Python script that reads 16 gets an `int`.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) if value.fract() == 0.0 && value.abs() <= WHOLE_MAX => {
                serializer.serialize_i64(*value as i64)
            }
            Self::Number(value) => serializer.serialize_f64(*value),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.argv_text())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
