//! Prints answers: the JSON as it came, or a few columns for people.

use serde_json::Value;

use super::Client;

/// Prints what was submitted: its id and name, and the warnings beside it.
pub fn submitted(client: &Client, answer: &Value) {
    if client.is_json() {
        thing(client, answer);
        return;
    }
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        eprintln!("warning: {} ({})", field(warning, "message"), field(warning, "code"));
    }
    println!("{}  {}", field(answer, "id"), field(answer, "name"));
}

/// Prints one thing: JSON, or its fields one a line.
pub fn thing(client: &Client, value: &Value) {
    if client.is_json() {
        println!("{value}");
        return;
    }
    let Value::Object(fields) = value else { return println!("{}", text(value)) };
    let width = fields.keys().map(String::len).max().unwrap_or_default();
    for (name, field) in fields.iter().filter(|(_, field)| !is_empty(field)) {
        println!("{name:width$}  {}", text(field));
    }
}

/// Prints a list: JSON, or the named columns. A column is a field, or `field.inner`.
pub fn list(client: &Client, value: &Value, field: &str, columns: &[&str]) {
    if client.is_json() {
        println!("{value}");
        return;
    }
    let empty = Vec::new();
    let rows = value.get(field).and_then(Value::as_array).unwrap_or(&empty);
    let cell = |row: &Value, column: &str| {
        let found = column.split('.').try_fold(row, |value, name| value.get(name));
        found.map(text).unwrap_or_default()
    };
    let head = columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>();
    let table: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()))
        .collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| table.iter().map(|row| row[place].chars().count()).max().unwrap_or_default())
        .collect();
    for row in table {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
        println!("{}", line.join("  ").trim_end());
    }
}

/// How a trial failed: phase and cause, and the last line that it wrote to stderr.
pub fn failure(trial: &Value) -> String {
    let (reason, error) = (field(trial, "reason"), field(trial, "error"));
    if error.is_empty() { reason } else { format!("{reason}: {error}") }
}

/// What there is in the place of the result of a trial that has ended without one.
pub fn no_value(trial: &Value) -> Option<String> {
    let ended = ["Completed", "Failed", "Canceled", "EarlyStopped"].contains(&field(trial, "state").as_str());
    if !ended || trial.get("best_value").is_some_and(|value| !value.is_null()) {
        return None;
    }
    let reports = trial.get("non_finite_reports").and_then(Value::as_u64).unwrap_or_default();
    Some(if reports == 0 { "no value".to_owned() } else { format!("no value ({reports} x NaN)") })
}

/// Whether there is nothing to show.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value on one line.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A field's text; empty when absent.
pub fn field(value: &Value, name: &str) -> String {
    value.get(name).map(text).unwrap_or_default()
}

/// The entries of a list; none when there is no such list.
pub fn entries<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}
