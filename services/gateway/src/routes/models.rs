//! Registered models.

use actix_web::http::StatusCode;
use actix_web::{get, patch};
use contracts::models::{GetModelRequest, ListModelsReply, ListModelsRequest, Model, UpdateModelRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::door::{Query, Call, Document, Reply, Service, Waiting, changed, found, json};

super::routes!(list_models, get_model, update_model);

/// Which models or versions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ViewQuery {
    /// `active` (default), `archived` or `all`.
    #[serde(default)]
    pub view: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    pub page_token: String,
}

/// The time at which to look.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AtQuery {
    /// RFC 3339: show the model as it stood then, with its description, tags, aliases and newest version.
    #[serde(default)]
    at: String,
}

/// Lists registered models.
#[utoipa::path(tag = "models", params(ViewQuery), responses((status = 200, body = ListModelsReply)))]
#[get("/api/v1/workspaces/{workspace}/models")]
pub(crate) async fn list_models(call: Call, query: Query<ViewQuery>) -> Reply {
    let ViewQuery { view, page_size, page_token } = query.into_inner();
    let request = ListModelsRequest { workspace: call.workspace.clone(), view, page_size, page_token };
    let context = call.reading(Service::Models)?;
    let reply = call.peers().models_client().list_models(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Shows a model with its aliases, now or as it stood at a time in the past.
#[utoipa::path(tag = "models", params(AtQuery), responses((status = 200, body = Model)))]
#[get("/api/v1/workspaces/{workspace}/models/{model}")]
pub(crate) async fn get_model(call: Call, query: Query<AtQuery>) -> Reply {
    let (workspace, model, at) = (call.workspace.clone(), call.path("model").to_owned(), query.into_inner().at);
    let context = call.reading(Service::Models)?;
    let request = GetModelRequest { workspace, model, at };
    found(call.peers().models_client().get_model(context.attach(request)).await?, Waiting::default())
}

/// Changes a model's description and tags, archives it or takes it back.
#[utoipa::path(tag = "models", request_body = UpdateModelRequest, responses((status = 200, body = Model)))]
#[patch("/api/v1/workspaces/{workspace}/models/{model}")]
pub(crate) async fn update_model(body: Document, call: Call) -> Reply {
    let (workspace, model) = (call.workspace.clone(), call.path("model").to_owned());
    let request = UpdateModelRequest { workspace, model, ..body.message().await? };
    let reply = call.peers().models_client().update_model(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Models, reply)
}
