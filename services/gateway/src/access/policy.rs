//! The rules of access by route, in one place: what a method needs, and the few routes that a run token opens.

use actix_web::http::Method;
use vocabulary::token::RunToken;
use vocabulary::{Problem, RunId};

use super::principal::{Principal, Scope, forbidden};

/// Where a run token may go. The run in the path must be its own.
const RUN_TOKEN_ROUTES: &[(&str, &[Method])] = &[
    ("runs/{run}", &[Method::GET]),
    ("runs/{run}/metrics", &[Method::GET, Method::POST]),
    ("runs/{run}/metrics/{name}", &[Method::GET]),
    ("runs/{run}/logs", &[Method::GET, Method::POST]),
    ("runs/{run}/artifacts", &[Method::GET, Method::POST]),
    ("runs/{run}/artifacts/{path}", &[Method::GET, Method::HEAD, Method::PUT]),
    ("objects/sha256:{hash}", &[Method::HEAD, Method::PUT]),
];

/// The part of a path that stands before a workspace's own routes.
const WORKSPACE_ROUTES: &str = "/api/v1/workspaces/{workspace}/";

/// Checks the principal against the route `template`. `workspace` and `run` are what the path names, where it names
/// any.
///
/// # Errors
/// 404 for another workspace, 403 when the scope does not suffice.
pub fn check(
    principal: &Principal,
    method: &Method,
    template: &str,
    workspace: Option<&str>,
    run: Option<&str>,
) -> Result<(), Problem> {
    if let Some(workspace) = workspace.filter(|workspace| !principal.sees(workspace)) {
        return Err(unknown_workspace(workspace));
    }
    match principal {
        Principal::Run(token) => check_run(token, method, template, run),
        Principal::User(_) if *method == Method::GET || *method == Method::HEAD => principal.require(Scope::Reader),
        Principal::User(_) => principal.require(Scope::Contributor),
    }
}

/// 404 for a workspace that does not exist, or not for this token.
pub fn unknown_workspace(workspace: &str) -> Problem {
    Problem::new(404, "NotFound", format!("workspace '{workspace}'"))
}

fn check_run(token: &RunToken, method: &Method, template: &str, run: Option<&str>) -> Result<(), Problem> {
    let template = template.strip_prefix(WORKSPACE_ROUTES).unwrap_or_default();
    let open = RUN_TOKEN_ROUTES.iter().any(|(route, methods)| *route == template && methods.contains(method));
    if !open {
        return Principal::Run(token.clone()).require(Scope::Reader);
    }
    let same = |run: &str| match (RunId::parse(run), RunId::parse(&token.run_id)) {
        (Ok(asked), Ok(own)) => asked == own,
        _ => false,
    };
    match run {
        Some(run) if !same(run) => {
            Err(forbidden(format!("the token is for run '{}', not for run '{run}'", token.run_id)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::UserToken;
    use super::*;

    const METRICS: &str = "/api/v1/workspaces/{workspace}/runs/{run}/metrics";
    const SWEEPS: &str = "/api/v1/workspaces/{workspace}/sweeps";

    #[test]
    fn scopes_follow_the_method() {
        let user = |scope| {
            let (token_id, name, workspace) = ("t".to_owned(), String::new(), "lab".to_owned());
            Principal::User(UserToken { token_id, name, scope, workspace, endpoint: String::new(), expires_at: None })
        };
        let status = |scope, method: Method| {
            check(&user(scope), &method, SWEEPS, Some("lab"), None).err().map_or(200, |problem| problem.status)
        };
        assert_eq!(status(Scope::Reader, Method::GET), 200);
        assert_eq!(status(Scope::Reader, Method::POST), 403);
        assert_eq!(status(Scope::Scorer, Method::GET), 403);
        assert_eq!(status(Scope::Contributor, Method::DELETE), 200);
        // The name of another's workspace is not confirmed by a 403.
        assert_eq!(check(&user(Scope::Owner), &Method::GET, SWEEPS, Some("w2"), None).unwrap_err().status, 404);
        assert_eq!(check(&user(Scope::Admin), &Method::POST, SWEEPS, Some("w2"), None), Ok(()));
    }

    #[test]
    fn a_run_token_reaches_its_own_run_only() {
        let own = RunId::new(uuid::Uuid::from_u128(5));
        let other = RunId::new(uuid::Uuid::from_u128(6)).to_string();
        let token = Principal::Run(RunToken { workspace: "lab".into(), run_id: own.to_string(), attempt: 1 });
        let status = |method: Method, template: &str, run: Option<&str>| {
            check(&token, &method, template, Some("lab"), run).err().map_or(200, |problem| problem.status)
        };
        assert_eq!(status(Method::POST, METRICS, Some(&own.to_string())), 200);
        assert_eq!(status(Method::POST, METRICS, Some(&own.hex())), 200);
        assert_eq!(status(Method::POST, METRICS, Some(&other)), 403);
        assert_eq!(status(Method::POST, SWEEPS, None), 403);
        assert_eq!(status(Method::PUT, "/api/v1/workspaces/{workspace}/objects/sha256:{hash}", None), 200);
        assert_eq!(check(&token, &Method::POST, METRICS, Some("w2"), Some(&own.to_string())).unwrap_err().status, 404);
    }
}
