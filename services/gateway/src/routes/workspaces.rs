//! Workspaces.

use actix_web::http::StatusCode;
use actix_web::{delete, get, put};
use contracts::compute::{ListClustersRequest, ListEndpointsRequest};
use contracts::models::ListModelsRequest;
use contracts::runs::ListRunsRequest;
use contracts::sweeps::ListSweepsRequest;
use contracts::workspaces::{
    GetWorkspaceRequest, ListWorkspacesReply, ListWorkspacesRequest, PutWorkspaceRequest, Workspace,
};

use vocabulary::Problem;

use super::page::PageQuery;
use crate::access::{Principal, Scope};
use crate::door::{self, Query, Call, Document, Refusal, Reply, Service, Waiting, changed, found, json};

super::routes!(list_workspaces, put_workspace, get_workspace, delete_workspace);

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
#[utoipa::path(tag = "workspaces", request_body = PutWorkspaceRequest,
    responses((status = 200, body = Workspace), (status = 201, body = Workspace)))]
#[put("/api/v1/workspaces/{workspace}")]
pub(crate) async fn put_workspace(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    let request = PutWorkspaceRequest { name: call.workspace.clone(), ..body.message().await? };
    let reply = call.peers().workspaces_client().put_workspace(call.writing(body.hash())?.attach(request)).await?;
    call.gateway().directory().add_workspace(&reply.get_ref().name);
    changed(door::put(&reply), Service::Workspaces, reply)
}

/// Shows a workspace.
#[utoipa::path(tag = "workspaces", responses((status = 200, body = Workspace)))]
#[get("/api/v1/workspaces/{workspace}")]
pub(crate) async fn get_workspace(call: Call) -> Reply {
    let request = GetWorkspaceRequest { name: call.workspace.clone() };
    let context = call.reading(Service::Workspaces)?;
    found(call.peers().workspaces_client().get_workspace(context.attach(request)).await?, Waiting::default())
}

/// So many of a kind are counted; more are as many.
const COUNTED_MAX: i32 = 1000;

/// Deletes a workspace, with its tokens, for good: its name is not given again. 409 with what is in it unless it is
/// empty. For admins.
#[utoipa::path(tag = "workspaces", responses((status = 200, body = Workspace)))]
#[delete("/api/v1/workspaces/{workspace}")]
pub(crate) async fn delete_workspace(body: Document, call: Call) -> Reply {
    call.principal.require(Scope::Admin)?;
    let context = call.writing(body.hash())?;
    let contents = contents(&call).await?;
    if !contents.is_empty() {
        return Err(not_empty(&call.workspace, &contents).into());
    }
    let request = GetWorkspaceRequest { name: call.workspace.clone() };
    let deleted = call.peers().workspaces_client().delete_workspace(context.attach(request)).await?;
    call.gateway().directory().remove_workspace(&call.workspace);
    changed(StatusCode::OK, Service::Workspaces, deleted)
}

/// What is in the workspace: how many of what, up to a thousand of each.
async fn contents(call: &Call) -> Result<Vec<(&'static str, usize)>, Refusal> {
    let (workspace, page_size, peers) = (call.workspace.clone(), COUNTED_MAX, call.peers());
    let context = call.reading(Service::Workspaces)?;
    // Archived ones, too: whoever may not be reached any more is not nothing.
    let all = "all".to_owned();
    let sweeps = ListSweepsRequest { workspace: workspace.clone(), page_size, view: all.clone(), ..Default::default() };
    let runs = ListRunsRequest { workspace: workspace.clone(), page_size, ..Default::default() };
    let models = ListModelsRequest { workspace: workspace.clone(), page_size, view: all, ..Default::default() };
    let clusters = ListClustersRequest { workspace: workspace.clone(), page_size, ..Default::default() };
    let endpoints = ListEndpointsRequest { workspace, page_size, ..Default::default() };
    let counts = [
        ("sweeps", peers.sweeps_client().list_sweeps(context.attach(sweeps)).await?.into_inner().sweeps.len()),
        ("runs", peers.runs_client().list_runs(context.attach(runs)).await?.into_inner().runs.len()),
        ("models", peers.models_client().list_models(context.attach(models)).await?.into_inner().models.len()),
        ("clusters", peers.compute_client().list_clusters(context.attach(clusters)).await?.into_inner().clusters.len()),
        (
            "endpoints",
            peers.compute_client().list_endpoints(context.attach(endpoints)).await?.into_inner().endpoints.len(),
        ),
    ];
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}

fn not_empty(workspace: &str, contents: &[(&'static str, usize)]) -> Problem {
    let counted = |what: &str, count: usize| match count {
        1 => format!("1 {}", what.trim_end_matches('s')),
        count => format!("{count} {what}"),
    };
    let words: Vec<_> = contents.iter().map(|(what, count)| counted(what, *count)).collect();
    let detail = format!("workspace '{workspace}' is not empty: delete what is in it first: {}", words.join(", "));
    let problem = Problem::conflict("WorkspaceNotEmpty", detail);
    contents.iter().fold(problem, |problem, (what, count)| problem.with(what, *count))
}
