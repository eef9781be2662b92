//! Makes, lists and revokes tokens: `tlg_<id>_<32 random bytes, base 62>`.

use std::ops::Bound;

use contracts::workspaces as wire;
use contracts::{CallContext, status_of, with_position};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use vocabulary::{Entropy, FieldError, Problem, names};

use super::{Api, stream};
use crate::workspace::{Command, INSTALLATION, Token, TokenCreated, Workspace};

/// What a token may do.
const SCOPES: [&str; 5] = ["admin", "owner", "contributor", "reader", "scorer"];
/// Characters of the id and of the secret: 12 are enough to be unique, 43 base-62 characters hold 256 bits.
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 43;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random base-62 text; bytes that would make some characters likelier than others are thrown away.
fn random_text(entropy: &dyn Entropy, length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        entropy.fill(&mut bytes);
        let fair = bytes.iter().filter(|&&byte| byte < 248).map(|&byte| char::from(BASE62[usize::from(byte) % 62]));
        text.extend(fair.take(length - text.len()));
    }
    text
}

/// The public part of a token.
fn id_of(text: &str) -> String {
    text.split('_').nth(1).unwrap_or("unnamed").to_owned()
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn shown(token: &Token) -> wire::Token {
    let made = &token.created;
    wire::Token {
        token_id: made.token_id.clone(),
        name: made.name.clone(),
        scope: made.scope.clone(),
        workspace: made.workspace.clone(),
        endpoint: made.endpoint.clone(),
        created_at: made.at.to_string(),
        revoked_at: token.revoked_at.map(|at| at.to_string()).unwrap_or_default(),
        expires_at: made.expires_at.map(|at| at.to_string()).unwrap_or_default(),
    }
}

/// Checks a request made at `now`: when the token ends.
fn check(request: &wire::CreateTokenRequest, now: Timestamp) -> Result<Option<Timestamp>, Status> {
    let mut errors = Vec::new();
    // Without a name nobody could say later who did what.
    if let Some(wrong) = names::title(&request.name) {
        errors.push(FieldError::new("/name", "BadName", wrong));
    }
    if !SCOPES.contains(&request.scope.as_str()) {
        let message = documents::not_one_of("scope", &request.scope, &SCOPES);
        errors.push(FieldError::new("/scope", "BadScope", message));
    }
    if !request.endpoint.is_empty() && request.scope != "scorer" {
        errors.push(FieldError::new("/endpoint", "BadScope", "endpoint: only a scorer's token is bound to one"));
    }
    let expires_at = expiry(request, now).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if errors.is_empty() { Ok(expires_at) } else { Err(status_of(&Problem::of_errors(422, errors))) }
}

/// When the token ends, which is after `now`; `None` = never.
fn expiry(request: &wire::CreateTokenRequest, now: Timestamp) -> Result<Option<Timestamp>, FieldError> {
    let (at, seconds) = (request.expires_at.as_str(), request.expires_in_seconds);
    let past = |place, received: String| {
        let message = format!("{received}: it must lie after now, {now}; leave it out for a token that never ends");
        FieldError::new(place, "OutOfRange", message)
    };
    match (at, seconds) {
        ("", 0) => Ok(None),
        ("", seconds) => {
            let end = now.checked_add(SignedDuration::from_secs(seconds)).ok().filter(|end| *end > now);
            end.map(Some).ok_or_else(|| past("/expires_in_seconds", format!("expires_in_seconds {seconds}")))
        }
        (at, 0) => match at.parse::<Timestamp>() {
            Ok(end) if end > now => Ok(Some(end)),
            Ok(_) => Err(past("/expires_at", format!("expires_at {at:?}"))),
            Err(error) => Err(FieldError::new("/expires_at", "BadTime", format!("expires_at {at:?}: {error}"))),
        },
        (..) => {
            let message = "expires_at and expires_in_seconds are two ways to say one thing: send one of them";
            Err(FieldError::new("/expires_at", "Conflict", message))
        }
    }
}

impl Api {
    pub(super) async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreatedToken>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let now = self.clock.now();
        let expires_at = check(&request, now)?;
        let text = new_token_text(self.entropy.as_ref());
        let token_id = id_of(&text);
        let workspace = if request.scope == "admin" { String::new() } else { request.workspace };
        let created = TokenCreated {
            token_id,
            sha256: sha256(&text),
            scope: request.scope,
            workspace: workspace.clone(),
            endpoint: request.endpoint,
            name: request.name,
            expires_at,
            at: now,
        };
        let token = Token { created: created.clone(), revoked_at: None };
        // The reply that is kept for a repeat has the id only: a token's text is never stored.
        let context = calls::context(&call, self.entropy.as_ref(), created.token_id.clone().into_bytes());
        let stream = stream(&workspace);
        let committed = self
            .log
            .execute::<Workspace>(&stream, Command::CreateToken(created), context)
            .await
            .map_err(calls::refused)?;
        if !committed.repeated {
            return Ok(with_position(wire::CreatedToken { token: Some(shown(&token)), text }, committed.position));
        }
        let id = String::from_utf8_lossy(&committed.reply).into_owned();
        let first = self
            .log
            .inspect::<Workspace, _>(&stream, move |state, _| state.tokens.get(&id).map(shown))
            .await
            .map_err(calls::unreadable)?;
        Ok(with_position(wire::CreatedToken { token: first, text: String::new() }, committed.position))
    }

    pub(super) async fn list_tokens(
        &self,
        request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let wire::ListTokensRequest { workspace, page_size, page_token } = request.into_inner();
        let (size, after) = calls::page(page_size, &page_token)?;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let stream = stream(&workspace);
        let listed = self.log.inspect::<Workspace, _>(&stream, move |state, _| {
            let tokens = state.tokens.range((after, Bound::Unbounded));
            calls::page_of(size, tokens.map(|(id, token)| (id.clone(), shown(token))))
        });
        let (tokens, next_page_token) = listed.await.map_err(calls::unreadable)?;
        Ok(Response::new(wire::ListTokensReply { tokens, next_page_token }))
    }

    pub(super) async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenReply>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        let command = Command::RevokeToken { token_id: request.token_id.clone(), at: self.clock.now() };
        let stream = stream(&request.workspace);
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let committed = self.log.execute::<Workspace>(&stream, command, context).await.map_err(calls::refused)?;
        let token = self
            .log
            .inspect::<Workspace, _>(&stream, move |state, _| state.tokens.get(&request.token_id).map(shown))
            .await
            .map_err(calls::unreadable)?;
        Ok(with_position(wire::RevokeTokenReply { token }, committed.position))
    }

    pub(crate) async fn bootstrap(&self, workspace: &str, token: &str) -> anyhow::Result<()> {
        let at = self.clock.now();
        let was_there = self.log.inspect::<Workspace, _>(&stream(workspace), |_, version| version > 0).await?;
        // One that was deleted since stays so.
        if !was_there {
            let (name, tags, region) = (workspace.to_owned(), Default::default(), String::new());
            let create = Command::Create { name, tags, region, at };
            let context = calls::context(&CallContext::default(), self.entropy.as_ref(), Vec::new());
            self.log.execute::<Workspace>(&stream(workspace), create, context).await.map_err(calls::problem)?;
        }
        let token_id = id_of(token);
        let created = TokenCreated {
            token_id,
            sha256: sha256(token),
            scope: "admin".to_owned(),
            workspace: String::new(),
            endpoint: String::new(),
            name: "first admin".to_owned(),
            expires_at: None,
            at,
        };
        let context = calls::context(&CallContext::default(), self.entropy.as_ref(), Vec::new());
        self.log
            .execute::<Workspace>(INSTALLATION, Command::CreateToken(created), context)
            .await
            .map_err(calls::problem)?;
        Ok(())
    }
}

/// The text of a new token; the service that keeps it only ever sees its hash.
pub(crate) fn new_token_text(entropy: &dyn Entropy) -> String {
    format!("tlg_{}_{}", random_text(entropy, ID_LENGTH), random_text(entropy, SECRET_LENGTH))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vocabulary::{ManualClock, SeededEntropy};

    use super::*;

    async fn api(folder: &tempfile::TempDir) -> Api {
        std::fs::create_dir_all(folder.path().join("db")).unwrap();
        let dependencies = crate::Dependencies {
            stores: testkit::stores(&folder.path().join("db")),
            clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
            entropy: Arc::new(SeededEntropy::new(7)),
        };
        let service = crate::open(dependencies).await.unwrap();
        service.bootstrap("lab", "tlg_first_x").await.unwrap();
        service.api
    }

    fn request(name: &str) -> wire::CreateTokenRequest {
        let (workspace, name, scope) = ("lab".to_owned(), name.to_owned(), "reader".to_owned());
        wire::CreateTokenRequest { workspace, name, scope, ..Default::default() }
    }

    #[tokio::test]
    async fn a_token_has_a_name_and_ends_when_it_was_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let api = api(&folder).await;
        let make = |request| api.create_token(Request::new(request));
        let in_a_day = wire::CreateTokenRequest { expires_in_seconds: 86_400, ..request("a day") };
        let at = wire::CreateTokenRequest { expires_at: "1970-01-03T00:00:00Z".to_owned(), ..request("two") };
        for request in [request("for ever"), in_a_day, at] {
            make(request).await.unwrap();
        }
        let list = wire::ListTokensRequest { workspace: "lab".to_owned(), ..Default::default() };
        let listed = api.list_tokens(Request::new(list)).await.unwrap().into_inner().tokens;
        let mut ends: Vec<_> = listed.iter().map(|token| (token.name.as_str(), token.expires_at.as_str())).collect();
        ends.sort_unstable();
        assert_eq!(ends, [("a day", "1970-01-02T00:00:00Z"), ("for ever", ""), ("two", "1970-01-03T00:00:00Z")]);
        let nameless = request("");
        let as_an_agent = request("agent:n1");
        let past = wire::CreateTokenRequest { expires_in_seconds: -1, ..request("n") };
        let endless = wire::CreateTokenRequest { expires_in_seconds: i64::MAX, ..request("n") };
        let at_once = wire::CreateTokenRequest { expires_at: "1970-01-01T00:00:00Z".to_owned(), ..request("n") };
        let no_time = wire::CreateTokenRequest { expires_at: "tomorrow".to_owned(), ..request("n") };
        let both = wire::CreateTokenRequest { expires_in_seconds: 1, ..at_once.clone() };
        for (request, pointer, code) in [
            (nameless, "/name", "BadName"),
            (as_an_agent, "/name", "BadName"),
            (past, "/expires_in_seconds", "OutOfRange"),
            (endless, "/expires_in_seconds", "OutOfRange"),
            (at_once, "/expires_at", "OutOfRange"),
            (no_time, "/expires_at", "BadTime"),
            (both, "/expires_at", "Conflict"),
        ] {
            let refused = contracts::problem_of(&make(request.clone()).await.unwrap_err());
            let error = &refused.errors[0];
            assert_eq!((error.pointer.as_str(), error.code.as_str()), (pointer, code), "{request:?}: {refused}");
        }
    }
}
