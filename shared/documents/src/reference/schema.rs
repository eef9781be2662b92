//! JSON Schemas (2020-12) of the documents, for editors and for clients that check before they send.

use serde_json::{Map, Value, json};

use super::{DOCUMENTS, Entry, Kinds, Presence, Range, Section, Type};

/// Where the schemas are on a server, and what they are called.
pub fn schema_id(document: &str) -> String {
    format!("/schemas/{document}.json")
}

/// The schema of a document; `None` for a name that none has.
pub fn schema(document: &str) -> Option<Value> {
    let (_, section) = DOCUMENTS.iter().find(|(name, _)| *name == document)?;
    Some(of_section(section, None))
}

fn of_section(section: &Section, tag: Option<(&str, &str)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some((tag, kind)) = tag {
        properties.insert(tag.to_owned(), json!({ "type": "string", "const": kind }));
        required.push(tag);
    }
    for entry in section.fields {
        properties.insert(entry.name.to_owned(), of_entry(entry));
        if entry.presence == Presence::Required && is_always_required(section, entry) {
            required.push(entry.name);
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": section.meaning,
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some((_, kind)) = tag {
        schema["title"] = kind.into();
    }
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// A sweep has one objective or several, and in mode external neither cluster nor trial: a schema that said more would
/// refuse what the server takes.
fn is_always_required(section: &Section, entry: &Entry) -> bool {
    let is_sweep = std::ptr::eq(section.fields, super::SWEEP.fields);
    !(is_sweep && ["objective", "cluster", "trial"].contains(&entry.name))
}

fn of_entry(entry: &Entry) -> Value {
    let mut schema = of_type(&entry.of);
    let example: Value = serde_json::from_str(entry.example).unwrap_or_default();
    schema["description"] = match entry.presence {
        Presence::Otherwise(sentence) => format!("{} Absent: {sentence}.", entry.meaning).into(),
        _ => entry.meaning.into(),
    };
    schema["examples"] = json!([example]);
    if let Presence::Default(value) = entry.presence {
        schema["default"] = serde_json::from_str(value).unwrap_or_default();
    }
    schema
}

fn of_type(of: &Type) -> Value {
    match of {
        Type::Text => json!({ "type": "string" }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Number(range) => of_range("number", range),
        Type::Integer(range) => of_range("integer", range),
        Type::OneOf(values) => json!({ "type": "string", "enum": values }),
        Type::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Type::List(items) => json!({ "type": "array", "items": of_type(items) }),
        Type::Map(section) => of_section(section, None),
        Type::Named(_, values) => json!({ "type": "object", "additionalProperties": of_type(values) }),
        Type::Kinds(kinds) => of_kinds(kinds),
        Type::Any(types) => json!({ "anyOf": types.iter().map(of_type).collect::<Vec<_>>() }),
        Type::Free => json!({}),
    }
}

fn of_kinds(kinds: &Kinds) -> Value {
    let short = (!kinds.short.is_empty()).then(|| json!({ "type": "string", "enum": kinds.short }));
    let long = kinds.kinds.iter().map(|(name, section)| of_section(section, Some((kinds.tag, name))));
    json!({ "anyOf": short.into_iter().chain(long).collect::<Vec<_>>() })
}

/// Numbers beyond 2^53 are no bound that a JSON reader keeps.
fn of_range<N: Copy + Into<Bound>>(kind: &str, range: &Range<N>) -> Value {
    let mut schema = json!({ "type": kind });
    let bounds = [
        (range.least, range.open.0, "minimum", "exclusiveMinimum"),
        (range.most, range.open.1, "maximum", "exclusiveMaximum"),
    ];
    for (bound, open, closed_name, open_name) in bounds {
        let Some(Bound(bound)) = bound.map(Into::into) else { continue };
        schema[if open { open_name } else { closed_name }] = bound;
    }
    schema
}

struct Bound(Value);

impl From<f64> for Bound {
    fn from(bound: f64) -> Self {
        // Whole bounds are written as people write them.
        Self(if bound.fract() == 0.0 { json!(bound as i64) } else { json!(bound) })
    }
}

impl From<i128> for Bound {
    fn from(bound: i128) -> Self {
        Self(
            u64::try_from(bound)
                .map(Value::from)
                .or_else(|_| i64::try_from(bound).map(Value::from))
                .unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_says_what_the_table_says() {
        let sweep = schema("sweep").unwrap();
        assert_eq!(sweep["required"], json!(["search_space", "sampling_algorithm"]));
        let asha = sweep["properties"]["early_termination"]["anyOf"].as_array().unwrap();
        let asha = asha.iter().find(|kind| kind["title"] == "asha").unwrap();
        assert_eq!(asha["required"], json!(["type", "max_resource"]));
        assert_eq!(asha["properties"]["reduction_factor"]["default"], 4);
        assert_eq!(asha["properties"]["reduction_factor"]["minimum"], 2);
        assert_eq!(sweep["properties"]["limits"]["properties"]["timeout_seconds"]["exclusiveMinimum"], 0);
        assert_eq!(schema("sweeps"), None);
    }
}
