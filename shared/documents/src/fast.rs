//! Bodies of busy routes: a right one is read by serde alone, without a tree.

use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::{VALUES_MAX, work};

/// A struct that is read from a map only: what serde derives takes a list for its fields as well, one after another.
#[derive(Debug)]
pub struct ByName<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = T;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries))
            }
        }

        deserializer.deserialize_map(Map(PhantomData)).map(Self)
    }
}

/// What serde makes of a JSON body, borrowing from it. It is a map; structs inside it are to be [`ByName`].
///
/// # Errors
/// What is wrong, in serde's words, or that it has more than [`VALUES_MAX`] values: then nothing was read. Whoever
/// wants to say it well reads the body with [`read`](crate::read).
pub fn read_fast<'b, T: Deserialize<'b>>(bytes: &'b [u8]) -> Result<T, String> {
    let values = values_of(bytes);
    work::add(values);
    if values > VALUES_MAX {
        return Err(format!("{values} values"));
    }
    serde_json::from_slice(bytes).map(|ByName(body)| body).map_err(|error| error.to_string())
}

/// The values of a JSON text that is right, and no fewer than a reader meets in one that is not.
fn values_of(bytes: &[u8]) -> usize {
    let (mut values, mut in_text, mut escaped) = (1, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Format;

    #[test]
    fn fields_are_read_by_name_only() {
        // A list would be taken for them, in the order in which they stand in our source.
        #[derive(Debug, Deserialize)]
        #[serde(default)]
        struct Inner<'a> {
            text: std::borrow::Cow<'a, str>,
        }

        impl Default for Inner<'_> {
            fn default() -> Self {
                Self { text: "".into() }
            }
        }

        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        struct Outer<'a> {
            #[serde(borrow)]
            inner: Option<ByName<Inner<'a>>>,
        }
        let read = |text: &'static str| read_fast::<Outer<'_>>(text.as_bytes());
        assert_eq!(read(r#"{"inner": {"text": "a"}}"#).unwrap().inner.unwrap().0.text, "a");
        for wrong in ["[]", r#"[{"text": "a"}]"#, r#"{"inner": ["a"]}"#, r#"{"inner": []}"#] {
            assert!(read(wrong).unwrap_err().contains("a map"), "{wrong}");
        }
    }

    #[test]
    fn values_are_counted_before_anything_is_read() {
        for (text, values) in [("1", 1), (r#"[1, 2, {"a,[": ["\",\\"]}]"#, 6), (r#"{"a": 1, "b": []}"#, 4)] {
            assert_eq!(values_of(text.as_bytes()), values, "{text}");
        }
        let list = |values: usize| format!(r#"{{"list": [{}1]}}"#, "1,".repeat(values - 3));
        let read = |text: &str| read_fast::<BTreeMap<String, Vec<u8>>>(text.as_bytes());
        assert_eq!(read(&list(1000)).unwrap()["list"].len(), 998);
        let long = list(VALUES_MAX + 2);
        assert!(read(&long).unwrap_err().contains("values"));
        assert_eq!(crate::read(long.as_bytes(), Format::Json).unwrap_err().status, 413, "and said well");
    }
}
