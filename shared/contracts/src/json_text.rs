//! A protobuf text that holds JSON, shown as nested JSON in REST.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// For `#[serde(with = "json_text")]`.
///
/// # Errors
/// When the text is not JSON.
pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if text.is_empty() {
        return serializer.serialize_none();
    }
    let raw: &serde_json::value::RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

/// For `#[serde(with = "json_text")]`.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(if value.is_null() { String::new() } else { value.to_string() })
}
