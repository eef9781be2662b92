//! Bodies of busy routes: a right one is read by serde alone, without a tree.

use serde::Deserialize;

use crate::{VALUES_MAX, work};

/// What serde makes of a JSON body, borrowing from it.
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
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
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
    use super::*;
    use crate::Format;

    #[test]
    fn values_are_counted_before_anything_is_read() {
        for (text, values) in [("1", 1), (r#"[1, 2, {"a,[": ["\",\\"]}]"#, 6), (r#"{"a": 1, "b": []}"#, 4)] {
            assert_eq!(values_of(text.as_bytes()), values, "{text}");
        }
        let list = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
        assert_eq!(read_fast::<Vec<u8>>(list(1000).as_bytes()).unwrap().len(), 999);
        let long = list(VALUES_MAX + 2);
        assert!(read_fast::<Vec<u8>>(long.as_bytes()).unwrap_err().contains("values"));
        assert_eq!(crate::read(long.as_bytes(), Format::Json).unwrap_err().status, 413, "and said well");
    }
}
