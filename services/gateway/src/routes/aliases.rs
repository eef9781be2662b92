//! Aliases: names that point to a version and can be moved, each move with who, when and why.

use actix_web::http::StatusCode;
use actix_web::{delete, get, put};
use contracts::models::{
    Alias, ListAliasHistoryReply, ListAliasHistoryRequest, RemoveAliasRequest, SetAliasRequest,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page::PageQuery;
use crate::door::{self, Query, Call, Document, Reply, Service, json, written};

super::routes!(list_alias_history, set_alias, remove_alias);

/// Why an alias is removed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ReasonQuery {
    /// The reason, for the history.
    #[serde(default)]
    reason: String,
}

/// Shows every move of a model's aliases, the newest first.
#[utoipa::path(tag = "models", params(PageQuery), responses((status = 200, body = ListAliasHistoryReply)))]
#[get("/api/v1/workspaces/{workspace}/models/{model}/aliases")]
pub(crate) async fn list_alias_history(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, model) = (call.workspace.clone(), call.path("model").to_owned());
    let context = call.reading(Service::Models)?;
    let request = ListAliasHistoryRequest { workspace, model, page_size, page_token };
    let reply = call.peers().models_client().list_alias_history(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Points an alias to a version.
#[utoipa::path(tag = "models", request_body = SetAliasRequest,
    responses((status = 200, body = Alias), (status = 201, body = Alias)))]
#[put("/api/v1/workspaces/{workspace}/models/{model}/aliases/{alias}")]
pub(crate) async fn set_alias(body: Document, call: Call) -> Reply {
    let (workspace, model, alias) =
        (call.workspace.clone(), call.path("model").to_owned(), call.path("alias").to_owned());
    let request = SetAliasRequest { workspace, model, alias, ..body.message().await? };
    let reply = call.peers().models_client().set_alias(call.writing(body.hash())?.attach(request)).await?;
    written(door::put(&reply), Service::Models, reply)
}

/// Removes an alias. The reason may be sent in the body too, as when it is set.
#[utoipa::path(tag = "models", params(ReasonQuery),
    request_body = RemoveAliasRequest, responses((status = 200, body = Alias)))]
#[delete("/api/v1/workspaces/{workspace}/models/{model}/aliases/{alias}")]
pub(crate) async fn remove_alias(body: Document, call: Call, query: Query<ReasonQuery>) -> Reply {
    let (workspace, model, alias) =
        (call.workspace.clone(), call.path("model").to_owned(), call.path("alias").to_owned());
    let sent: RemoveAliasRequest = body.message().await?;
    let asked = query.into_inner().reason;
    let reason = if asked.is_empty() { sent.reason } else { asked };
    let request = RemoveAliasRequest { workspace, model, alias, reason };
    let reply = call.peers().models_client().remove_alias(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::OK, Service::Models, reply)
}
