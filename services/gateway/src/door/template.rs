//! Route templates without the expressions that actix matches by.

use actix_web::HttpRequest;

/// The template of the route that a request matched, e.g. `/api/v1/workspaces/{workspace}/runs/{run}`.
pub fn template_of(request: &HttpRequest) -> Option<String> {
    request.match_pattern().map(|pattern| plain(&pattern))
}

/// `{run:[^/:]+}` becomes `{run}`.
fn plain(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let (mut inside, mut skipping) = (false, false);
    for character in pattern.chars() {
        match character {
            '{' => inside = true,
            '}' => (inside, skipping) = (false, false),
            ':' if inside => skipping = true,
            _ => {}
        }
        if !skipping {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn expressions_are_dropped_and_verbs_kept() {
        assert_eq!(super::plain("/a/{s:[^/:]+}:pause/{p:.*}/sha256:{h}"), "/a/{s}:pause/{p}/sha256:{h}");
    }
}
