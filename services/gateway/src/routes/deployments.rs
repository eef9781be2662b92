//! Deployments: a model version on nodes, behind an endpoint.

use actix_web::http::StatusCode;
use actix_web::{delete, get, put};
use contracts::compute::{
    Deployment, DeploymentLogs, Environment, GetDeploymentRequest, ListDeploymentsReply, ListDeploymentsRequest,
    PutDeploymentRequest, ReadDeploymentLogsRequest, ResolvedModel,
};
use contracts::models::GetVersionRequest;
use contracts::runs::GetRunRequest;
use documents::{Node, Tree, version_named};
use serde::Deserialize;
use utoipa::IntoParams;

use super::page::PageQuery;
use super::sweeps::absent_is_none;
use crate::door::{
    self, Call, Document, Query, Refusal, Reply, Service, WaitQuery, Waiting, changed, found, json, removed,
};

super::routes!(list_deployments, put_deployment, get_deployment, delete_deployment, read_deployment_logs);

/// How much of a deployment's log to read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TailQuery {
    /// Only the last so many lines.
    #[serde(default)]
    tail_lines: u32,
}

/// Lists an endpoint's deployments.
#[utoipa::path(tag = "endpoints", params(PageQuery), responses((status = 200, body = ListDeploymentsReply)))]
#[get("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/deployments")]
pub(crate) async fn list_deployments(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let (workspace, name) = (call.workspace.clone(), call.path("endpoint").to_owned());
    let context = call.reading(Service::Compute)?;
    let request = ListDeploymentsRequest { workspace, name, page_size, page_token };
    let reply = call.peers().compute_client().list_deployments(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Creates a deployment or a new revision of it. `model` is `NAME/versions/N`, `NAME@ALIAS`, or `{name, version}`; an
/// alias is resolved now and recorded: moving it later moves nothing here.
#[utoipa::path(tag = "endpoints",
    request_body(content((serde_json::Value = "application/json"), (serde_json::Value = "application/yaml"))),
    responses((status = 200, body = Deployment), (status = 201, body = Deployment)))]
#[put("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/deployments/{deployment}")]
pub(crate) async fn put_deployment(body: Document, call: Call) -> Reply {
    let tree = body.tree().await?;
    let named = tree.get("model").and_then(model_named);
    let (resolved, model_absent) = match &named {
        Some((model, version)) => match resolve(&call, model, version).await? {
            Ok(resolved) => (Some(resolved), String::new()),
            Err(absent) => (None, absent),
        },
        None => (None, String::new()),
    };
    let request = PutDeploymentRequest {
        workspace: call.workspace.clone(),
        endpoint: call.path("endpoint").to_owned(),
        name: call.path("deployment").to_owned(),
        document: body.bytes.to_vec(),
        format: body.format_name(),
        resolved,
        model_absent,
    };
    let reply = call.peers().compute_client().put_deployment(call.writing(body.hash())?.attach(request)).await?;
    changed(door::put(&reply), Service::Compute, reply)
}

/// Model and version (a number, `latest` or `@alias`) that a document names; `None` when it names none that can be
/// looked up.
fn model_named(node: &Node) -> Option<(String, String)> {
    match &node.value {
        Tree::Text(text) => {
            let (model, version) = version_named(text)?;
            Some((model.to_owned(), version.unwrap_or_else(|| "latest".to_owned())))
        }
        Tree::Map(_) => {
            let word = |name: &str| match &node.get(name)?.value {
                Tree::Text(text) | Tree::Number(text) => Some(text.clone()),
                _ => None,
            };
            Some((word("name")?, word("version").unwrap_or_else(|| "latest".to_owned())))
        }
        _ => None,
    }
}

/// The version with its files; when there is none, what is not there, which compute answers with all other errors.
async fn resolve(call: &Call, model: &str, version: &str) -> Result<Result<ResolvedModel, String>, Refusal> {
    let alias = version.strip_prefix('@').unwrap_or_default().to_owned();
    let context = call.reading(Service::Models)?;
    let (model, version) = (model.to_owned(), version.to_owned());
    let request = GetVersionRequest { workspace: call.workspace.clone(), model, version };
    let found = match call.peers().models_client().get_version(context.attach(request)).await {
        Ok(found) => found.into_inner(),
        Err(status) => match contracts::problem_of(&status) {
            problem if matches!(problem.status, 404 | 422) => return Ok(Err(problem.detail)),
            problem => return Err(Refusal(problem)),
        },
    };
    let environment = environment_of(call, &found.run_id).await?;
    Ok(Ok(ResolvedModel {
        model: found.model,
        version: found.version,
        version_id: found.version_id,
        run_id: found.run_id,
        files: found.files,
        alias,
        is_archived: found.is_archived,
        environment,
    }))
}

/// What a run ran in; absent when there is no such run any more, or it had no job.
async fn environment_of(call: &Call, run_id: &str) -> Result<Option<Environment>, Refusal> {
    let context = call.reading(Service::Runs)?;
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: run_id.to_owned() };
    let run = absent_is_none(call.peers().runs_client().get_run(context.attach(request)).await)?;
    Ok(run.and_then(|run| run.job).map(|job| Environment {
        python: job.python,
        requirements: job.requirements,
        requirements_file: job.requirements_file,
        code_sha256: job.code_sha256,
    }))
}

/// Shows a deployment; with `wait`, once it has changed.
#[utoipa::path(tag = "endpoints", params(WaitQuery), responses((status = 200, body = Deployment)))]
#[get("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/deployments/{deployment}")]
pub(crate) async fn get_deployment(call: Call, wait: Query<WaitQuery>) -> Reply {
    let waiting = wait.of(&call.request)?;
    let context = call.reading(Service::Compute)?;
    found(call.peers().compute_client().get_deployment(context.attach(named(&call, waiting))).await?, waiting)
}

/// Deletes a deployment that carries no traffic.
#[utoipa::path(tag = "endpoints", responses((status = 200, body = Deployment), (status = 202, body = Deployment)))]
#[delete("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/deployments/{deployment}")]
pub(crate) async fn delete_deployment(body: Document, call: Call) -> Reply {
    let request = named(&call, Waiting::default());
    let reply = call.peers().compute_client().delete_deployment(call.writing(body.hash())?.attach(request)).await?;
    let state = reply.get_ref().provisioning_state.clone();
    removed(&state, Service::Compute, reply)
}

/// Reads the logs of a deployment's replicas.
#[utoipa::path(tag = "endpoints", params(TailQuery), responses((status = 200, body = DeploymentLogs)))]
#[get("/api/v1/workspaces/{workspace}/endpoints/{endpoint}/deployments/{deployment}/logs")]
pub(crate) async fn read_deployment_logs(call: Call, query: Query<TailQuery>) -> Reply {
    let (workspace, endpoint) = (call.workspace.clone(), call.path("endpoint").to_owned());
    let (deployment, tail_lines) = (call.path("deployment").to_owned(), query.tail_lines);
    let context = call.reading(Service::Compute)?;
    let request = ReadDeploymentLogsRequest { workspace, endpoint, deployment, tail_lines };
    let reply = call.peers().compute_client().read_deployment_logs(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

fn named(call: &Call, waiting: Waiting) -> GetDeploymentRequest {
    GetDeploymentRequest {
        workspace: call.workspace.clone(),
        endpoint: call.path("endpoint").to_owned(),
        name: call.path("deployment").to_owned(),
        wait_seconds: waiting.seconds,
        after_version: waiting.after_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_in_every_documented_way() {
        let named = |text: &str| {
            let tree = documents::read(text.as_bytes(), documents::Format::Yaml).unwrap();
            tree.get("model").and_then(model_named)
        };
        let pair = |model: &str, version: &str| Some((model.to_owned(), version.to_owned()));
        assert_eq!(named("model: digits/versions/3"), pair("digits", "3"));
        assert_eq!(named("model: digits@champion"), pair("digits", "@champion"));
        assert_eq!(named("model: {name: digits, version: 3}"), pair("digits", "3"));
        assert_eq!(named("model: {name: digits, version: '@champion'}"), pair("digits", "@champion"));
        assert_eq!(named("model: digits"), pair("digits", "latest"));
        assert_eq!(named("model: [digits]"), None);
        assert_eq!(named("model: '@champion'"), None);
        assert_eq!(named("model: digits@"), None);
    }
}
