//! Who calls: the token, the workspace in the path, and the context that goes along to the services.

use std::collections::BTreeMap;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::IF_MATCH;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use contracts::{AttemptBearer, CallContext, Peers};
use documents::did_you_mean;
use percent_encoding::percent_decode_str;
use uuid::Uuid;
use vocabulary::{Problem, RunId};

use super::wait::version_of;
use super::{Refusal, RequestId, Service, parse_positions, template_of};
use crate::Gateway;
use crate::access::{self, Principal, Scope};

/// The namespace of command ids made of Idempotency-Keys. Never to change: a repeat must find its first.
const COMMANDS: Uuid = Uuid::from_u128(0x5f1c_8a52_70b4_4d0e_9a53_2b61_0c7e_41d9);
/// Longest Idempotency-Key.
const KEY_LENGTH_MAX: usize = 255;
/// The only route on which the workspace need not exist yet.
const PUT_WORKSPACE: &str = "/api/v1/workspaces/{workspace}";

/// An authenticated request, allowed to be where it is.
#[derive(Debug)]
pub struct Call {
    /// Who sent it.
    pub principal: Principal,
    /// The workspace in the path; empty on routes outside of workspaces.
    pub workspace: String,
    /// The request itself.
    pub request: HttpRequest,
    gateway: web::Data<Gateway>,
    path: BTreeMap<String, String>,
}

impl Call {
    /// The gateway's state.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The services.
    pub fn peers(&self) -> &Peers {
        self.gateway.peers()
    }

    /// A parameter of the path, decoded. Empty when the route has none of this name.
    pub fn path(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The run in the path, in its first spelling.
    ///
    /// # Errors
    /// 404 when it is no run id at all.
    pub fn run_id(&self) -> Result<String, Problem> {
        let text = self.path("run");
        RunId::parse(text).map(|id| id.to_string()).map_err(|_| Problem::not_found("run", text, &self.workspace))
    }

    /// A number in the path.
    ///
    /// # Errors
    /// 404 when it is none: nothing has that name.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, Problem> {
        let text = self.path(name);
        text.parse().map_err(|_| Problem::not_found(name, text, &self.workspace))
    }

    /// The context of a read at `service`.
    ///
    /// # Errors
    /// 400 when Trialog-At-Least cannot be read.
    pub fn reading(&self, service: Service) -> Result<CallContext, Problem> {
        let at_least = match self.header("trialog-at-least")? {
            Some(text) => parse_positions(text, "Trialog-At-Least")?.get(service.name()).map(|seen| seen.position),
            None => None,
        };
        Ok(CallContext { at_least, ..self.context() })
    }

    /// The context of a write: `request_hash` is that of the body.
    ///
    /// # Errors
    /// 400 when Idempotency-Key or If-Match cannot be read; 404 when the workspace was deleted while the body came.
    pub fn writing(&self, request_hash: [u8; 32]) -> Result<CallContext, Problem> {
        self.check_workspace()?;
        let key = self.header("idempotency-key")?;
        if let Some(key) = key.filter(|key| key.is_empty() || key.len() > KEY_LENGTH_MAX) {
            let detail = format!("Idempotency-Key has {} characters: send 1 to {KEY_LENGTH_MAX}", key.len());
            return Err(Problem::new(400, "BadIdempotencyKey", detail));
        }
        let command_id = match key {
            Some(key) => command_id(&self.workspace, self.request.method(), self.request.path(), key),
            None => self.gateway.entropy().uuid(),
        };
        let request_hash = key.map(|_| request_hash);
        Ok(CallContext {
            command_id: Some(command_id),
            request_hash,
            expected_version: self.expected_version()?,
            ..self.context()
        })
    }

    fn context(&self) -> CallContext {
        let request_id = self.request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        let attempt = match &self.principal {
            Principal::Run(token) => Some(AttemptBearer { run_id: token.run_id.clone(), attempt: token.attempt }),
            Principal::User(_) => None,
        };
        let traceparent = self.request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|text| is_trace(text)).unwrap_or_default().to_owned();
        CallContext { actor: self.principal.actor(), request_id, attempt, traceparent, ..CallContext::default() }
    }

    fn expected_version(&self) -> Result<Option<i64>, Problem> {
        let Some(tag) = self.request.headers().get(IF_MATCH) else { return Ok(None) };
        match tag.to_str() {
            Ok("*") => Ok(None),
            Ok(tag) if version_of(tag).is_some() => Ok(version_of(tag)),
            _ => Err(Problem::new(
                400,
                "BadIfMatch",
                format!("If-Match {tag:?}: send the ETag of an answer, such as \"v3\""),
            )),
        }
    }

    fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.request.headers().get(name) else { return Ok(None) };
        value
            .to_str()
            .map(Some)
            .map_err(|_| Problem::new(400, "BadHeader", format!("{name}: send visible ASCII characters")))
    }

    pub(super) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let Some(gateway) = request.app_data::<web::Data<Gateway>>().cloned() else {
            return Err(Problem::internal("the gateway was not configured"));
        };
        let principal = gateway.authenticate(request)?;
        let path = parameters(request)?;
        let template = template_of(request).unwrap_or_default();
        let (workspace, run) = (path.get("workspace").map(String::as_str), path.get("run").map(String::as_str));
        access::check(&principal, request.method(), &template, workspace, run)?;
        let made_here = template == PUT_WORKSPACE && *request.method() == Method::PUT;
        if made_here {
            principal.require(Scope::Admin)?;
        }
        let workspace = workspace.unwrap_or_default().to_owned();
        let call = Self { principal, workspace, request: request.clone(), gateway, path };
        call.check_workspace()?;
        Ok(call)
    }

    /// Refuses a call about a workspace that is not there. What was made there while it was deleted an admin sees and
    /// ends still.
    fn check_workspace(&self) -> Result<(), Problem> {
        let (name, directory, template) = (&self.workspace, self.gateway.directory(), template_of(&self.request));
        let template = template.unwrap_or_default();
        let method = self.request.method();
        let made_here = template == PUT_WORKSPACE && *method == Method::PUT;
        if name.is_empty() || made_here || directory.has_workspace(name) {
            return Ok(());
        }
        let looks_or_ends =
            [Method::GET, Method::HEAD, Method::DELETE].contains(method) || template.ends_with(":cancel");
        if looks_or_ends && directory.was_deleted(name) && self.principal.require(Scope::Admin).is_ok() {
            return Ok(());
        }
        let mut seen = directory.workspaces();
        seen.retain(|other| self.principal.sees(other));
        seen.sort_unstable();
        let meant = did_you_mean(name, seen.iter().map(String::as_str));
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        Err(Problem::new(404, "NotFound", format!("workspace '{name}'{meant}")))
    }
}

impl FromRequest for Call {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request).map_err(Refusal))
    }
}

/// The parameters of the path. Actix leaves `%2F`, `%25` and `%2B` as they came, so that they do not change what
/// matches.
///
/// # Errors
/// 400 for what is no UTF-8 and for names that no thing can have.
pub fn parameters(request: &HttpRequest) -> Result<BTreeMap<String, String>, Problem> {
    let path = request.uri().path();
    // Where a path is no UTF-8 actix has written replacement characters by now: different names would be one.
    if percent_decode_str(path).decode_utf8().is_err() {
        return Err(Problem::new(400, "BadPath", format!("'{path}': send UTF-8, percent-encoded where it must be")));
    }
    request.match_info().iter().map(|(name, value)| Ok((name.to_owned(), decoded(name, value)?))).collect()
}

fn decoded(name: &str, value: &str) -> Result<String, Problem> {
    let bad = |rule: &str| Problem::new(400, "BadPath", format!("{name} '{}': {rule}", value.escape_debug()));
    let is_escape = |rest: &str| rest.len() > 1 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !value.split('%').skip(1).all(is_escape) {
        return Err(bad("write a percent sign as %25"));
    }
    let text = percent_decode_str(value).decode_utf8().map_err(|_| bad("send UTF-8"))?;
    // No name of ours has one, and some mean something where names are kept.
    if text.contains(char::is_control) {
        return Err(bad("it has a control character; no name has one"));
    }
    Ok(text.into_owned())
}

/// The command id of a request with an Idempotency-Key.
fn command_id(workspace: &str, method: &Method, path: &str, key: &str) -> Uuid {
    Uuid::new_v5(&COMMANDS, format!("{workspace}\n{method}\n{path}\n{key}").as_bytes())
}

/// Whether a text is a W3C trace context of version 00: anything else is not passed on.
fn is_trace(text: &str) -> bool {
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), [version, trace, span, flags]
        if *version == "00" && hex(trace, 32) && hex(span, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_the_same_command_and_only_then() {
        let id = |workspace, method: Method, path, key| command_id(workspace, &method, path, key);
        let first = id("lab", Method::POST, "/sweeps", "k1");
        assert_eq!(first, id("lab", Method::POST, "/sweeps", "k1"));
        for other in [
            id("w2", Method::POST, "/sweeps", "k1"),
            id("lab", Method::PUT, "/sweeps", "k1"),
            id("lab", Method::POST, "/runs", "k1"),
            id("lab", Method::POST, "/sweeps", "k2"),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn a_trace_context_is_passed_on_when_it_is_one() {
        assert!(is_trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for text in ["", "00-xyz-b7ad6b7169203331-01", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a"] {
            assert!(!is_trace(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(decoded("path", "a%2Fb%25c ä").unwrap(), "a/b%c ä");
        for bad in ["a%1Fb", "a%1E", "\u{1e}", "a%0A", "%7F", "%FF", "%zz", "%4", "%"] {
            assert_eq!(decoded("cluster", bad).unwrap_err().code, "BadPath", "{bad}");
        }
    }
}
