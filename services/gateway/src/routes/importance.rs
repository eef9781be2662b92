//! How much each parameter of a sweep matters.

use actix_web::http::StatusCode;
use actix_web::{get, post};
use contracts::sweeps::{ParameterImportanceReply, ParameterImportanceRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::door::{Query, Call, Reply, Service, json};

super::routes!(get_importance, compute_importance);

/// To what the parameters matter.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ImportanceQuery {
    /// A watched metric; the first objective's when absent.
    #[serde(default)]
    metric: String,
}

/// How much each parameter matters to the objective: the part of its variance that the parameter explains by itself
/// (functional ANOVA), with an interval. Parameters in which the trials do not differ are `unjudged`. Where trials were
/// stopped early, all are compared by what they had after the most reports that half of them have. Of an open sweep 409
/// until 8 trials have ended with a value; of one that has ended the intervals are the wider, the fewer there are.
#[utoipa::path(tag = "sweeps", params(ImportanceQuery), responses((status = 200, body = ParameterImportanceReply)))]
#[get("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:importance")]
pub(crate) async fn get_importance(call: Call, query: Query<ImportanceQuery>) -> Reply {
    importance(&call, query.into_inner()).await
}

/// The same, for clients that send every action as a POST.
#[utoipa::path(tag = "sweeps", params(ImportanceQuery), responses((status = 200, body = ParameterImportanceReply)))]
#[post("/api/v1/workspaces/{workspace}/sweeps/{sweep:[^/:]+}:importance")]
pub(crate) async fn compute_importance(call: Call, query: Query<ImportanceQuery>) -> Reply {
    importance(&call, query.into_inner()).await
}

async fn importance(call: &Call, query: ImportanceQuery) -> Reply {
    let context = call.reading(Service::Sweeps)?;
    let request = ParameterImportanceRequest {
        workspace: call.workspace.clone(),
        sweep: call.path("sweep").to_owned(),
        metric: query.metric,
    };
    let reply = call.peers().sweeps_client().parameter_importance(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}
