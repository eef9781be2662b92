//! What stands in a cell: values as people read them, never JSON.

use jiff::Timestamp;
use serde_json::Value;

/// Digits of a number that are shown; `-o csv` and `-o json` have them all.
const DIGITS: i32 = 6;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

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

/// A value on one line, with all its digits.
pub fn exact(value: &Value) -> String {
    plain(value, &|number| number.to_string())
}

/// A field's text; empty when absent.
pub fn field(value: &Value, name: &str) -> String {
    value.get(name).map(text).unwrap_or_default()
}

/// A value on one line; a number with the digits that say something.
pub fn text(value: &Value) -> String {
    plain(value, &|number| match number.as_f64() {
        Some(float) if number.is_f64() => rounded(float),
        _ => number.to_string(),
    })
}

fn plain(value: &Value, number: &dyn Fn(&serde_json::Number) -> String) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(|item| plain(item, number)).collect::<Vec<_>>().join(", "),
        Value::Object(_) => {
            let pairs = flat(value).into_iter().filter(|(_, value)| !is_empty(value));
            pairs.map(|(name, value)| format!("{name}={}", plain(value, number))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A text with a space in the place of whatever is not to be seen: a row is one line, whatever a program wrote.
pub fn on_one_line(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A number with few digits; trailing zeros say nothing.
pub fn rounded(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let magnitude = number.abs().log10().floor() as i32;
    if !(-4..15).contains(&magnitude) {
        let text = format!("{number:.*e}", (DIGITS - 1) as usize);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", without_zeros(digits));
    }
    without_zeros(&format!("{number:.*}", (DIGITS - 1 - magnitude).max(0) as usize)).to_owned()
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// The fields of a value with those of its inner maps, each by its dotted path.
pub fn flat(value: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    collect(value, String::new(), &mut found);
    found
}

fn collect<'a>(value: &'a Value, path: String, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(field, path, found);
            }
        }
        _ => found.push((path, value)),
    }
}

/// How long ago a time was; as it is when it is none.
pub fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return time.to_owned() };
    span(now.as_second().saturating_sub(then.as_second()).max(0))
}

/// A span in its largest units.
fn span(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{seconds}s"),
        120..600 => format!("{}m{}s", seconds / MINUTE, seconds % MINUTE),
        600..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => format!("{}h{}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ if seconds < 7 * DAY => format!("{}d{}h", seconds / DAY, seconds % DAY / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

/// A size in its largest unit.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut size, mut unit) = (count as f64, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{} {}", rounded((size * 10.0).round() / 10.0), UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_for_reading_and_never_json() {
        // Braces and sixteen digits in a table are what people complain of first.
        for (value, expected) in [
            (json!(0.1 + 0.2), "0.3"),
            (json!(4.731_234_567), "4.73123"),
            (json!(0.000_012_345_678), "1.23457e-5"),
            (json!(123_456_789.123), "123456789"),
            (json!(3), "3"),
            (json!({"lr": 0.1, "net": {"depth": 3}, "none": null}), "lr=0.1 net.depth=3"),
            (json!(["blue", "green"]), "blue, green"),
            (json!(null), ""),
        ] {
            assert_eq!(text(&value), expected);
        }
        assert_eq!(exact(&json!(0.1 + 0.2)), "0.30000000000000004");
    }

    #[test]
    fn a_cell_is_one_line() {
        // What pip says goes over forty of them, and the table was none any more.
        assert_eq!(on_one_line("ERROR: no\r\n\tsuch thing\u{1b}[0m"), "ERROR: no such thing [0m");
        assert_eq!(on_one_line("as  it is"), "as  it is");
    }

    #[test]
    fn times_are_ages_and_sizes_have_units() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-11-30T11:59:48Z", "12s"),
            ("2026-11-30T11:54:30.5Z", "5m30s"),
            ("2026-11-30T11:20:00Z", "40m"),
            ("2026-11-30T08:48:00Z", "3h12m"),
            ("2026-11-28T10:00:00Z", "2d2h"),
            ("2026-10-01T12:00:00Z", "60d"),
            ("2026-11-30T12:00:07Z", "0s"),
            ("never", "never"),
        ] {
            assert_eq!(age(time, now), expected);
        }
        assert_eq!([bytes(17), bytes(1536), bytes(3 << 30)], ["17 B", "1.5 KiB", "3 GiB"]);
    }
}
