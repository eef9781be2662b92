//! API tokens of a workspace. Their text is shown once, when they are made.

use actix_web::http::StatusCode;
use actix_web::{delete, get, post};
use contracts::workspaces::{
    CreateTokenRequest, CreatedToken, ListTokensReply, ListTokensRequest, RevokeTokenReply, RevokeTokenRequest,
    Token,
};
use sha2::{Digest, Sha256};
use vocabulary::Problem;

use super::page::PageQuery;
use crate::access::{Scope, UserToken};
use crate::door::{Call, Document, Query, Reply, Service, json, written};

super::routes!(create_token, list_tokens, revoke_token, list_admin_tokens, revoke_admin_token);

/// Makes a token. Its name is who does what is done with it; it may end by itself. Scope is owner, contributor, reader
/// or scorer (then with an endpoint); admin tokens are made by admins.
#[utoipa::path(tag = "tokens", request_body = CreateTokenRequest, responses((status = 201, body = CreatedToken)))]
#[post("/api/v1/workspaces/{workspace}/tokens")]
pub(crate) async fn create_token(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Owner)?;
    let request = CreateTokenRequest { workspace: call.workspace.clone(), ..body.message().await? };
    let Ok(scope) = request.scope.parse::<Scope>() else {
        let scopes = ["owner", "contributor", "reader", "scorer", "admin"];
        let message = documents::not_one_of("scope", &request.scope, &scopes);
        return Err(Problem::invalid("/scope", "BadScope", message).into());
    };
    if scope == Scope::Admin {
        call.principal.require(Scope::Admin)?;
    }
    let reply = call.peers().workspaces_client().create_token(call.writing(body.hash())?.attach(request)).await?;
    let created = reply.get_ref();
    if let Some(token) = created.token.clone().filter(|_| !created.text.is_empty()) {
        let hash = Sha256::digest(created.text.as_bytes()).into();
        let expires_at = token.expires_at.parse().ok();
        let Token { token_id, name, workspace, endpoint, .. } = token;
        let token = UserToken { token_id, name, scope, workspace, endpoint, expires_at };
        call.gateway().directory().add_token(hash, token);
    }
    written(StatusCode::CREATED, Service::Workspaces, reply)
}

/// Lists the workspace's tokens, without their texts.
#[utoipa::path(tag = "tokens", params(PageQuery), responses((status = 200, body = ListTokensReply)))]
#[get("/api/v1/workspaces/{workspace}/tokens")]
pub(crate) async fn list_tokens(call: Call, page: Query<PageQuery>) -> Reply {
    call.principal.require(Scope::Owner)?;
    list(&call, page.into_inner()).await
}

/// Revokes a token.
#[utoipa::path(tag = "tokens", responses((status = 200, body = RevokeTokenReply)))]
#[delete("/api/v1/workspaces/{workspace}/tokens/{token}")]
pub(crate) async fn revoke_token(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Owner)?;
    revoke(&body, &call).await
}

/// Lists the tokens that are good for all workspaces, without their texts.
#[utoipa::path(tag = "tokens", params(PageQuery), responses((status = 200, body = ListTokensReply)))]
#[get("/api/v1/tokens")]
pub(crate) async fn list_admin_tokens(call: Call, page: Query<PageQuery>) -> Reply {
    call.principal.require(Scope::Admin)?;
    list(&call, page.into_inner()).await
}

/// Revokes a token that is good for all workspaces. When it was the last one, a server makes another one if its file
/// `admin.token` is removed before the next start.
#[utoipa::path(tag = "tokens", responses((status = 200, body = RevokeTokenReply)))]
#[delete("/api/v1/tokens/{token}")]
pub(crate) async fn revoke_admin_token(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    revoke(&body, &call).await
}

/// Those of the workspace in the path; without one those of the installation.
async fn list(call: &Call, page: PageQuery) -> Reply {
    let PageQuery { page_size, page_token } = page;
    let request = ListTokensRequest { workspace: call.workspace.clone(), page_size, page_token };
    let context = call.reading(Service::Workspaces)?;
    let reply = call.peers().workspaces_client().list_tokens(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

async fn revoke(body: &Document, call: &Call) -> Reply {
    let token_id = call.path("token").to_owned();
    let request = RevokeTokenRequest { workspace: call.workspace.clone(), token_id: token_id.clone() };
    let reply = call.peers().workspaces_client().revoke_token(call.writing(body.hash())?.attach(request)).await?;
    call.gateway().directory().remove_token(&token_id);
    written(StatusCode::OK, Service::Workspaces, reply)
}
