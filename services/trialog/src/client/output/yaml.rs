//! Writes a JSON value as YAML.

use serde_json::Value;

/// Words that YAML takes for something else than a text.
const TAKEN: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// The document, with a line break at its end.
pub fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => map(fields, 0, &mut out),
        Value::Array(items) if !items.is_empty() => list(items, 0, &mut out),
        _ => out.push_str(&format!("{}\n", scalar(value))),
    }
    out
}

fn map(fields: &serde_json::Map<String, Value>, depth: usize, out: &mut String) {
    for (place, (name, value)) in fields.iter().enumerate() {
        // The first field of a list's entry stands beside its dash.
        if place > 0 || out.is_empty() || out.ends_with('\n') {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(&format!("{}:", quoted(name)));
        below(value, depth, out);
    }
}

fn list(items: &[Value], depth: usize, out: &mut String) {
    for item in items {
        out.push_str(&format!("{}- ", "  ".repeat(depth)));
        match item {
            Value::Object(fields) if !fields.is_empty() => map(fields, depth + 1, out),
            // A list in a list stays on its line.
            other => out.push_str(&format!("{}\n", scalar(other))),
        }
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            map(fields, depth + 1, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, depth, out);
        }
        other => out.push_str(&format!(" {}\n", scalar(other))),
    }
}

/// A text as it is where nothing else can be meant; all else as JSON, which is YAML.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
        && !TAKEN.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use documents::Format;
    use serde_json::json;

    use super::document;

    #[test]
    fn what_is_written_reads_as_the_same() {
        // Somebody pipes `-o yaml` into a file and submits it again.
        let value = json!({
            "name": "digits", "empty": {}, "none": [], "on": "off", "number": "1e3", "text": "a: b # c\n\"d\"",
            "space": {"lr": {"type": "uniform", "min_value": 1e-5, "values": [1, "two", true, null, [3, [4]]]}},
            "trials": [{"index": 0, "values": {"a": 0.5}}, {"values": [], "tags": {}}], "a b": "-",
        });
        let text = document(&value);
        let read = documents::read(text.as_bytes(), Format::Yaml).unwrap_or_else(|_| panic!("{text}"));
        assert_eq!(read.to_json(), value, "{text}");
    }
}
