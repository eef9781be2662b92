//! Times as they are shown.

use jiff::Timestamp;

/// RFC 3339 of microseconds since 1970; empty for 0, which means not yet.
pub fn shown(at_us: i64) -> String {
    match Timestamp::from_microsecond(at_us) {
        Ok(at) if at_us != 0 => at.to_string(),
        _ => String::new(),
    }
}
