//! Experiments: what runs and sweeps are grouped by. "0" is `Default` and always there.

use actix_web::http::StatusCode;
use actix_web::{get, post};
use contracts::runs::{
    CreateExperimentRequest, Experiment, GetExperimentRequest, ListExperimentsReply, ListExperimentsRequest,
};

use super::page::PageQuery;
use crate::door::{Query, Call, Document, Reply, Service, json, written};

super::routes!(create_experiment, list_experiments, get_experiment);

/// Creates an experiment.
#[utoipa::path(tag = "experiments", request_body = CreateExperimentRequest,
    responses((status = 201, body = Experiment)))]
#[post("/api/v1/workspaces/{workspace}/experiments")]
pub(crate) async fn create_experiment(body: Document, call: Call) -> Reply {
    let request = CreateExperimentRequest { workspace: call.workspace.clone(), ..body.message().await? };
    let reply = call.peers().runs_client().create_experiment(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::CREATED, Service::Runs, reply)
}

/// Lists experiments.
#[utoipa::path(tag = "experiments", params(PageQuery), responses((status = 200, body = ListExperimentsReply)))]
#[get("/api/v1/workspaces/{workspace}/experiments")]
pub(crate) async fn list_experiments(call: Call, page: Query<PageQuery>) -> Reply {
    let PageQuery { page_size, page_token } = page.into_inner();
    let request = ListExperimentsRequest { workspace: call.workspace.clone(), page_size, page_token };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_experiments(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Shows an experiment by its id or name.
#[utoipa::path(tag = "experiments", responses((status = 200, body = Experiment)))]
#[get("/api/v1/workspaces/{workspace}/experiments/{experiment}")]
pub(crate) async fn get_experiment(call: Call) -> Reply {
    let request =
        GetExperimentRequest { workspace: call.workspace.clone(), experiment: call.path("experiment").to_owned() };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().get_experiment(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}
