//! Long polls: `?wait=30s`, with the version that the caller has already seen.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, IF_NONE_MATCH};
use serde::Deserialize;
use utoipa::IntoParams;
use vocabulary::Problem;

/// Longest long poll: below the idle time-outs of usual proxies.
const WAIT_SECONDS_MAX: f64 = 60.0;

/// Query parameters of a long poll.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// How long to wait for a version above `after_version` (or above the one in If-None-Match), e.g. `30s`, `500ms`,
    /// `1m`; at most 60 s. Without a version the answer comes at once.
    #[serde(default)]
    wait: Option<String>,
    /// The version that the caller has already seen.
    #[serde(default)]
    after_version: Option<i64>,
}

/// A long poll as services take it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Waiting {
    /// How long to wait; 0 = not at all.
    pub seconds: f64,
    /// The version that must be exceeded.
    pub after_version: i64,
    /// The version in If-None-Match: when it is still the same, the answer is 304.
    pub none_match: Option<i64>,
}

impl WaitQuery {
    /// Puts query and headers together.
    ///
    /// # Errors
    /// 400 when the duration cannot be read.
    pub fn of(&self, request: &HttpRequest) -> Result<Waiting, Problem> {
        let seconds = self.wait.as_deref().map(parse_wait).transpose()?.unwrap_or_default();
        let none_match = version_in(request.headers());
        let after_version = self.after_version.or(none_match).unwrap_or_default();
        Ok(Waiting { seconds, after_version, none_match })
    }
}

fn version_in(headers: &HeaderMap) -> Option<i64> {
    headers.get(IF_NONE_MATCH)?.to_str().ok().and_then(version_of)
}

/// The version in an entity tag such as `"v12"`.
pub(super) fn version_of(tag: &str) -> Option<i64> {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix("\"v")?.strip_suffix('"')?.parse().ok()
}

/// Reads `30s`, `500ms`, `2m` or plain seconds, capped at [`WAIT_SECONDS_MAX`].
///
/// # Errors
/// 400 for anything else.
pub fn parse_wait(text: &str) -> Result<f64, Problem> {
    let (digits, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let scale = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().unwrap_or(f64::NAN) * scale;
    if seconds.is_finite() && seconds >= 0.0 {
        return Ok(seconds.min(WAIT_SECONDS_MAX));
    }
    Err(Problem::new(400, "BadWait", format!("wait '{text}': send a duration such as 30s, 500ms or 1m")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, seconds) in
            [("30s", 30.0), ("500ms", 0.5), ("1m", 60.0), ("2", 2.0), ("1h", -1.0), ("-1s", -1.0), ("s", -1.0)]
        {
            assert_eq!(parse_wait(text).unwrap_or(-1.0), seconds, "{text}");
        }
        assert_eq!(parse_wait("90s"), Ok(60.0));
    }

    #[test]
    fn entity_tags_carry_versions() {
        assert_eq!(version_of("\"v12\""), Some(12));
        assert_eq!(version_of("W/\"v12\""), Some(12));
        assert_eq!(version_of("v12"), None);
    }
}
