//! Makes, lists and revokes tokens: `tlg_<id>_<32 random bytes, base 62>`.

use contracts::workspaces as wire;
use contracts::{CallContext, status_of, with_position};
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use vocabulary::{Entropy, FieldError, Problem};

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
    }
}

fn check(request: &wire::CreateTokenRequest) -> Result<(), Status> {
    let mut errors = Vec::new();
    if !SCOPES.contains(&request.scope.as_str()) {
        let message = documents::not_one_of("scope", &request.scope, &SCOPES);
        errors.push(FieldError::new("/scope", "BadScope", message));
    }
    if !request.endpoint.is_empty() && request.scope != "scorer" {
        errors.push(FieldError::new("/endpoint", "BadScope", "endpoint: only a scorer's token is bound to one"));
    }
    if errors.is_empty() { Ok(()) } else { Err(status_of(&Problem::of_errors(422, errors))) }
}

impl Api {
    pub(super) async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreatedToken>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        check(&request)?;
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
            at: self.clock.now(),
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
        let stream = stream(&request.into_inner().workspace);
        let tokens = self
            .log
            .inspect::<Workspace, _>(&stream, |state, _| state.tokens.values().map(shown).collect())
            .await
            .map_err(calls::unreadable)?;
        Ok(Response::new(wire::ListTokensReply { tokens }))
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
        let create = Command::Create { name: workspace.to_owned(), tags: Default::default(), at };
        let context = calls::context(&CallContext::default(), self.entropy.as_ref(), Vec::new());
        self.log.execute::<Workspace>(&stream(workspace), create, context).await.map_err(calls::problem)?;
        let token_id = id_of(token);
        let created = TokenCreated {
            token_id,
            sha256: sha256(token),
            scope: "admin".to_owned(),
            workspace: String::new(),
            endpoint: String::new(),
            name: "first admin".to_owned(),
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
