//! Requests that no route takes: 405 when another method would do, else 404 with the path that was probably meant.

use actix_web::HttpRequest;
use documents::did_you_mean;
use vocabulary::Problem;

use super::{Refusal, Reply};
use crate::openapi;

/// The answer to a path or method that is not offered.
///
/// # Errors
/// Always: 404 or 405.
pub async fn route_not_found(request: HttpRequest) -> Reply {
    let path = request.path();
    let methods = methods_of(path);
    if methods.is_empty() {
        let hint = nearest(path).map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Err(Refusal(Problem::new(404, "RouteNotFound", format!("no route '{path}'{hint}"))));
    }
    let allowed = methods.join(", ");
    let detail = format!("{} is not offered on '{path}'; offered: {allowed}", request.method());
    Err(Refusal(Problem::new(405, "MethodNotAllowed", detail).with("allowed", methods)))
}

/// Scoring is served elsewhere: where its path comes here, this process does not score.
fn templates() -> impl Iterator<Item = (&'static String, &'static serde_json::Value)> {
    let paths = openapi::document()["paths"].as_object().into_iter().flatten();
    paths.filter(|(path, _)| !path.starts_with("/endpoints/"))
}

fn methods_of(path: &str) -> Vec<String> {
    let here = templates().filter(|(template, _)| fits(template, path));
    let mut methods: Vec<_> = here.flat_map(|(_, item)| item.as_object().into_iter().flatten()).collect::<Vec<_>>();
    methods.sort_by_key(|(method, _)| (*method).clone());
    methods.into_iter().map(|(method, _)| method.to_uppercase()).collect()
}

/// Whether the path is an instance of the template.
fn fits(template: &str, path: &str) -> bool {
    // The only parameters that span segments are the last ones of their templates.
    let open = ["{path}", "{id}", "{name}"].iter().find_map(|end| template.strip_suffix(end));
    let (template, path) = match open {
        Some(start) => {
            let depth = start.matches('/').count();
            let mut parts = path.splitn(depth + 1, '/');
            let head: Vec<_> = parts.by_ref().take(depth).collect();
            if parts.next().is_none_or(str::is_empty) {
                return false;
            }
            (start.trim_end_matches('/').to_owned(), head.join("/"))
        }
        None => (template.to_owned(), path.to_owned()),
    };
    let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    wanted.len() == given.len() && wanted.iter().zip(&given).all(|(wanted, given)| segment_fits(wanted, given))
}

fn segment_fits(wanted: &str, given: &str) -> bool {
    let Some((before, rest)) = wanted.split_once('{') else { return wanted == given };
    let Some((_, after)) = rest.split_once('}') else { return false };
    let inner = given.strip_prefix(before).and_then(|text| text.strip_suffix(after));
    // A parameter alone does not swallow a verb.
    let alone = before.is_empty() && after.is_empty();
    inner.is_some_and(|inner| !(inner.is_empty() || alone && inner.contains(':')))
}

/// A path of the same shape in which one fixed segment is spelt better.
fn nearest(path: &str) -> Option<String> {
    let given: Vec<_> = path.trim_end_matches('/').split('/').collect();
    let mut best: Option<(usize, String)> = None;
    for (template, _) in templates() {
        let wanted: Vec<_> = template.split('/').collect();
        if wanted.len() != given.len() {
            continue;
        }
        let mut changed = 0;
        let meant = wanted.iter().zip(&given).map(|(wanted, given)| {
            if segment_fits(wanted, given) {
                return Some((*given).to_owned());
            }
            changed += 1;
            respelt(wanted, given)
        });
        let Some(meant) = meant.collect::<Option<Vec<_>>>() else { continue };
        if best.as_ref().is_none_or(|(least, _)| changed < *least) {
            best = Some((changed, meant.join("/")));
        }
    }
    best.map(|(_, path)| path)
}

fn respelt(wanted: &str, given: &str) -> Option<String> {
    match wanted.split_once("}:") {
        // `{sweep}:pause` against `s1:pase`.
        Some((_, verb)) => {
            let (name, near) = given.rsplit_once(':')?;
            did_you_mean(near, [verb]).map(|verb| format!("{name}:{verb}"))
        }
        None if wanted.contains('{') => None,
        None => did_you_mean(given, [wanted]).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_fit_their_templates() {
        let sweeps = "/api/v1/workspaces/{workspace}/sweeps/{sweep}";
        assert!(fits(sweeps, "/api/v1/workspaces/lab/sweeps/s1"));
        assert!(!fits(sweeps, "/api/v1/workspaces/lab/sweeps/s1:pause"));
        assert!(fits(&format!("{sweeps}:pause"), "/api/v1/workspaces/lab/sweeps/s1:pause"));
        assert!(fits("/a/{run}/artifacts/{path}", "/a/r1/artifacts/outputs/model/x.pkl"));
        assert!(!fits("/a/{run}/artifacts/{path}", "/a/r1/artifacts"));
    }

    #[test]
    fn the_path_that_was_meant_is_named() {
        let meant = |path| nearest(path).unwrap_or_default();
        assert_eq!(meant("/api/v1/workspaces/lab/sweep"), "/api/v1/workspaces/lab/sweeps");
        assert_eq!(meant("/api/v1/workspaces/lab/sweeps/s1:pase"), "/api/v1/workspaces/lab/sweeps/s1:pause");
        assert_eq!(meant("/nothing/like/it"), "");
    }
}
