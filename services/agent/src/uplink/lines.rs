//! Lines of the standard output that speak to Trialog: JSON objects with the key `trialog`. Every other line is just
//! log.

use contracts::runs::MetricPoint;
use serde_json::{Map, Value};

/// Bytes of a line that can still be a message; longer ones are only log.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Payload {
    /// `{"trialog": "metric", …}`
    Metric(MetricPoint),
    /// `{"trialog": "ready", "address": …}`
    Ready(String),
    /// It has the key but cannot be understood; why.
    Unclear(String),
}

/// A message and where its line begins, counted from the start of the bytes.
#[derive(Debug)]
pub(super) struct Message {
    pub start: usize,
    pub end: usize,
    pub payload: Payload,
}

/// Whether a line ends here. A carriage return ends one too: a progress bar has nothing else, and what is printed right
/// behind it begins a line of its own for everybody who sees it.
pub(super) fn ends_line(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// All messages in the bytes, whose first line is whole unless `skip_first`.
pub(super) fn read(bytes: &[u8], skip_first: bool) -> Vec<Message> {
    let (mut messages, mut start) = (Vec::new(), 0);
    for (number, line) in bytes.split_inclusive(ends_line).enumerate() {
        let end = start + line.len();
        if !(skip_first && number == 0)
            && let Some(payload) = parse(line)
        {
            messages.push(Message { start, end, payload });
        }
        start = end;
    }
    messages
}

fn parse(line: &[u8]) -> Option<Payload> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?.trim();
    // Most lines are plain text: they are told apart without parsing.
    if !text.starts_with('{') || !text.contains("\"trialog\"") {
        return None;
    }
    let object = match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(object) => object,
        // Python writes NaN and Infinity bare.
        Err(first) => match serde_json::from_str(&with_quoted_words(text)) {
            Ok(object) => object,
            Err(_) => return Some(Payload::Unclear(format!("not JSON: {first}"))),
        },
    };
    match object.get("trialog")?.as_str() {
        Some("metric") => Some(metric(&object)),
        Some("ready") => Some(match object.get("address").and_then(Value::as_str) {
            Some(address) => Payload::Ready(address.to_owned()),
            None => Payload::Unclear("\"address\" is missing".to_owned()),
        }),
        _ => Some(Payload::Unclear("\"trialog\" must be \"metric\"".to_owned())),
    }
}

fn metric(object: &Map<String, Value>) -> Payload {
    let Some(name) = object.get("name").and_then(Value::as_str) else {
        return Payload::Unclear("\"name\" must be a text".to_owned());
    };
    let Some(value) = object.get("value").and_then(number) else {
        return Payload::Unclear(format!(
            "\"value\" of '{name}' must be a number, \"NaN\", \"Infinity\" or \"-Infinity\", not {}",
            object.get("value").map_or_else(|| "missing".to_owned(), Value::to_string)
        ));
    };
    let whole = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(given) => match integer(given) {
            Some(number) => Ok(Some(number)),
            None => Err(Payload::Unclear(format!("\"{key}\" of '{name}' must be a whole number, not {given}"))),
        },
    };
    match (whole("step"), whole("timestamp_ms")) {
        (Ok(step), Ok(timestamp_ms)) => {
            Payload::Metric(MetricPoint { name: name.to_owned(), value, step, timestamp_ms, ..MetricPoint::default() })
        }
        (Err(unclear), _) | (_, Err(unclear)) => unclear,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number, also when it was written with a fraction of zero.
fn integer(value: &Value) -> Option<i64> {
    /// Beyond this, doubles leave whole numbers out.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
        format!("{number:.0}").parse().ok()
    })
}

/// Puts quotes around NaN, Infinity and -Infinity outside of texts.
fn with_quoted_words(text: &str) -> String {
    let (mut quoted, mut rest, mut in_text) = (String::with_capacity(text.len() + 8), text, false);
    while let Some(next) = rest.chars().next() {
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| !in_text && rest.starts_with(word));
        let length = match (word, next) {
            (Some(word), _) => {
                quoted.extend(["\"", word, "\""]);
                word.len()
            }
            (None, '\\') if in_text => {
                let pair = rest.chars().take(2).map(char::len_utf8).sum();
                quoted.push_str(&rest[..pair]);
                pair
            }
            (None, other) => {
                in_text ^= other == '"';
                quoted.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<Payload> {
        parse(line.as_bytes())
    }

    #[test]
    fn metrics_are_told_from_log_lines() {
        // A value that is overlooked makes a trial look as if it had never reported.
        let Some(Payload::Metric(point)) =
            parsed(r#" {"trialog": "metric", "name": "acc", "value": 0.5, "step": 3.0} "#)
        else {
            panic!("not understood");
        };
        assert_eq!((point.name.as_str(), point.value, point.step), ("acc", 0.5, Some(3)));
        for word in ["NaN", "\"NaN\""] {
            let line = format!(r#"{{"trialog": "metric", "name": "a NaN \" NaN", "value": {word}}}"#);
            let Some(Payload::Metric(point)) = parsed(&line) else { panic!("not understood: {line}") };
            assert!(point.value.is_nan() && point.name == "a NaN \" NaN", "{point:?}");
        }
        for log in ["epoch 3", r#"{"loss": 1}"#, r#"["trialog"]"#, r#"text {"trialog": "metric"}"#, "{"] {
            assert_eq!(parsed(log), None, "{log}");
        }
        for unclear in [
            r#"{"trialog": "metric", "name": "a"}"#,
            r#"{"trialog": "metric", "name": "a", "value": "high"}"#,
            r#"{"trialog": "metric", "name": "a", "value": 1e400}"#,
            r#"{"trialog": "metric", "name": "a", "value": 1, "step": 1.5}"#,
            r#"{"trialog": "metric""#,
        ] {
            assert!(matches!(parsed(unclear), Some(Payload::Unclear(_))), "{unclear}");
        }
    }

    #[test]
    fn a_metric_behind_a_carriage_return_is_read() {
        // A progress bar ends in one, and the value that is printed behind it is all that the trial reports.
        let bytes = b"\rstep 1/60\rstep 2/60\r{\"trialog\": \"metric\", \"name\": \"acc\", \"value\": 0.5}\r\nrest";
        let messages = read(bytes, false);
        assert_eq!(messages.len(), 1);
        assert!(matches!(&messages[0].payload, Payload::Metric(point) if point.name == "acc"));
        assert_eq!((&bytes[messages[0].start..][..1], &bytes[messages[0].end..]), (&b"{"[..], &b"\nrest"[..]));
        assert_eq!(read(&bytes[1..], true).len(), 1, "what is skipped ends at the carriage return");
    }

    #[test]
    fn the_places_of_lines_are_kept() {
        // A batch that is split must be split between lines.
        let bytes = b"x\n{\"trialog\":\"ready\",\"address\":\"unix:/a\"}\nrest";
        let messages = read(bytes, false);
        assert_eq!(messages.len(), 1);
        assert_eq!(&bytes[messages[0].end..], b"rest");
        assert_eq!(messages[0].start, 2);
        assert!(read(&bytes[2..], true).is_empty());
    }
}
