//! Number texts: their grammar in JSON and YAML, and their values.

use serde_json::Value;

/// The double that a number text of either language stands for; infinite when it is too large for a double.
pub(crate) fn to_double(text: &str) -> f64 {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let size = match digits {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" => f64::NAN,
        // The grammar was checked when the document was read; Rust's own reader takes all of it.
        _ => digits.parse().unwrap_or(f64::NAN),
    };
    if negative { -size } else { size }
}

/// The integer that a number text stands for; `None` for `1.5`, but also for `1.0` and `1e3`: who means an
/// integer writes one.
pub(crate) fn to_integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The JSON value of a number text.
pub(crate) fn to_json(text: &str) -> Value {
    if let Some(whole) = to_integer(text) {
        if let Ok(value) = u64::try_from(whole) {
            return Value::from(value);
        }
        if let Ok(value) = i64::try_from(whole) {
            return Value::from(value);
        }
    }
    let double = to_double(text);
    match vocabulary::number::non_finite_text(double) {
        Some(text) => Value::from(text),
        None => Value::from(double),
    }
}

/// What a plain scalar of YAML's core schema is: a number's text, or nothing when it is a text.
pub(crate) fn yaml_number(text: &str) -> Option<String> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            // from_str_radix would take a sign here, which the schema does not; beyond 128 bits it is no
            // number of ours.
            let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return plain.then(|| u128::from_str_radix(digits, radix).ok()).flatten().map(|value| value.to_string());
        }
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    (special || is_yaml_decimal(digits)).then(|| text.to_owned())
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_yaml_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_good = all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_good = exponent.is_none_or(|part| {
        let digits = part.strip_prefix(['-', '+']).unwrap_or(part);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_good && exponent_good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_core_schema_numbers() {
        for number in ["0", "-7", "+7", "007", "1.", ".5", "1e3", "1E-3", "0x1F", "0o17", "-.inf", ".nan", "1e999"] {
            assert!(yaml_number(number).is_some(), "{number}");
        }
        for text in
            ["", ".", "-", "+", "1e", "0x", "0xg", "0o8", "1_000", "inf", "nan", "-.nan", "1.2.3", "--1", "0x-1"]
        {
            assert_eq!(yaml_number(text), None, "{text}");
        }
        assert_eq!(yaml_number("0x1F").as_deref(), Some("31"));
    }

    #[test]
    fn values_keep_64_bits() {
        assert_eq!(to_json("18446744073709551615"), Value::from(u64::MAX));
        assert_eq!(to_json("-9223372036854775808"), Value::from(i64::MIN));
        assert_eq!(to_json("1e999"), Value::from("Infinity"));
        assert_eq!(to_integer("1.0"), None);
        assert_eq!(to_integer("-12"), Some(-12));
        assert_eq!(to_double("-.inf"), f64::NEG_INFINITY);
    }
}
