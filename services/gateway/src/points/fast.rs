//! The batch as serde reads it, borrowing names from the body.

use std::borrow::Cow;

use documents::ByName;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// The body of `POST runs/{run}/metrics`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch<'a> {
    #[serde(default)]
    pub(super) attempt: Option<u32>,
    #[serde(default, borrow)]
    pub(super) writer: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) sequence: Option<i64>,
    #[serde(borrow)]
    pub(super) metrics: Vec<ByName<Point<'a>>>,
}

/// One point.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Point<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) value: Value,
    #[serde(default)]
    pub(super) step: Option<i64>,
    #[serde(default)]
    pub(super) timestamp_ms: Option<i64>,
}

/// A number, or one of the three texts of non-finite ones. An untagged enum would buffer every value first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value(pub(crate) f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrText)
    }
}

struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        let value = vocabulary::number::from_non_finite_text(text).map(Value);
        value.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}
