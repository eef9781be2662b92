//! Workspaces.

use actix_web::http::StatusCode;
use actix_web::{get, put};
use contracts::workspaces::{
    GetWorkspaceRequest, ListWorkspacesReply, ListWorkspacesRequest, PutWorkspaceRequest, Workspace,
};

use super::page::PageQuery;
use crate::access::{Principal, Scope};
use crate::door::{Query, Call, Document, Reply, Service, Waiting, changed, found, json};

super::routes!(list_workspaces, put_workspace, get_workspace);

/// Lists workspaces: all of them for an admin, else the token's own.
#[utoipa::path(tag = "workspaces", params(PageQuery), responses((status = 200, body = ListWorkspacesReply)))]
#[get("/api/v1/workspaces")]
pub(crate) async fn list_workspaces(call: Call, page: Query<PageQuery>) -> Reply {
    let mut client = call.peers().workspaces_client();
    let context = call.reading(Service::Workspaces)?;
    let reply = match &call.principal {
        Principal::User(token) if token.scope != Scope::Admin => {
            let request = GetWorkspaceRequest { name: token.workspace.clone() };
            let own = client.get_workspace(context.attach(request)).await?.into_inner();
            ListWorkspacesReply { workspaces: vec![own], next_page_token: String::new() }
        }
        _ => {
            let PageQuery { page_size, page_token } = page.into_inner();
            client.list_workspaces(context.attach(ListWorkspacesRequest { page_size, page_token })).await?.into_inner()
        }
    };
    json(StatusCode::OK, &reply)
}

/// Creates a workspace, or answers the existing one. For admins.
#[utoipa::path(tag = "workspaces", request_body = PutWorkspaceRequest, responses((status = 200, body = Workspace)))]
#[put("/api/v1/workspaces/{workspace}")]
pub(crate) async fn put_workspace(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    let request = PutWorkspaceRequest { name: call.workspace.clone(), ..body.message().await? };
    let reply = call.peers().workspaces_client().put_workspace(call.writing(body.hash())?.attach(request)).await?;
    call.gateway().directory().add_workspace(&reply.get_ref().name);
    changed(StatusCode::OK, Service::Workspaces, reply)
}

/// Shows a workspace.
#[utoipa::path(tag = "workspaces", responses((status = 200, body = Workspace)))]
#[get("/api/v1/workspaces/{workspace}")]
pub(crate) async fn get_workspace(call: Call) -> Reply {
    let request = GetWorkspaceRequest { name: call.workspace.clone() };
    let context = call.reading(Service::Workspaces)?;
    found(call.peers().workspaces_client().get_workspace(context.attach(request)).await?, Waiting::default())
}
