//! Non-finite doubles in JSON: the texts "NaN", "Infinity" and "-Infinity" stand where JSON has no number.

use serde::{Deserialize, Deserializer, Serializer};

/// The text of a non-finite double; `None` for a finite one.
pub fn non_finite_text(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("Infinity"),
        f64::NEG_INFINITY => Some("-Infinity"),
        _ => None,
    }
}

/// The non-finite double that a text stands for.
pub fn from_non_finite_text(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// For `#[serde(with = "vocabulary::number")]` on an `f64`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match non_finite_text(*value) {
        Some(text) => serializer.serialize_str(text),
        None => serializer.serialize_f64(*value),
    }
}

/// For `#[serde(with = "vocabulary::number")]` on an `f64`.
///
/// # Errors
/// When the value is neither a number nor one of the three texts.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(f64),
        Text(String),
    }
    match Form::deserialize(deserializer)? {
        Form::Number(value) => Ok(value),
        Form::Text(text) => from_non_finite_text(&text).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a number, \"NaN\", \"Infinity\" or \"-Infinity\""))
        }),
    }
}

/// The same for `Option<f64>`: `#[serde(with = "vocabulary::number::option", default)]`.
pub mod option {
    use super::{Deserialize, Deserializer, Serializer};

    /// See [`super::serialize`].
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// See [`super::deserialize`].
    ///
    /// # Errors
    /// Those of [`super::deserialize`].
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super")] f64);
        Ok(Option::<Wrapped>::deserialize(deserializer)?.map(|wrapped| wrapped.0))
    }
}
