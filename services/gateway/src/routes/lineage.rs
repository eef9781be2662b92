//! Lineage: from an answer of an endpoint back to the code that trained its model.

use actix_web::get;
use actix_web::http::StatusCode;
use contracts::compute::{GetRevisionRequest, Revision};
use contracts::models::{GetVersionRequest, ModelVersion};
use contracts::runs::{GetRunRequest, Run};
use contracts::sweeps::{GetSweepRequest, GetTrialRequest};
use documents::version_named;
use serde_json::{Value, json};
use vocabulary::{Problem, RunId, request_id};

use super::sweep_actions::embedded;
use super::sweeps::absent_is_none;
use super::trials::explain;
use crate::door::{self, Call, Refusal, Reply, Service};

super::routes!(get_lineage);

/// Walks back from a request id of an endpoint (`req_…`), a version (`MODEL/versions/N` or `MODEL@ALIAS`), a run or a
/// trial (`SWEEP/INDEX`, where SWEEP is also the name of one that was archived or deleted): `{"chain": [{kind, id, …},
/// …]}`.
#[utoipa::path(tag = "lineage", responses((status = 200, body = serde_json::Value)))]
#[get("/api/v1/workspaces/{workspace}/lineage/{id:.+}")]
pub(crate) async fn get_lineage(call: Call) -> Reply {
    let id = call.path("id").to_owned();
    let mut chain = Vec::new();
    let run_id = if id.starts_with("req_") {
        from_request(&call, &id, &mut chain).await?
    } else if let Some((model, Some(version))) = version_named(&id) {
        from_version(&call, model, &version, &mut chain).await?
    } else if RunId::parse(&id).is_ok() {
        id
    } else if let Some((sweep, index)) = trial_named(&id) {
        run_of_trial(&call, sweep, index).await?
    } else {
        let detail = format!(
            "'{id}': send a request id (req_…), a run id, a trial as SWEEP/INDEX, or a version as MODEL/versions/N or \
             MODEL@ALIAS"
        );
        return Err(Problem::new(422, "BadLineageId", detail).into());
    };
    if !run_id.is_empty() {
        from_run(&call, &run_id, &mut chain).await?;
    }
    door::json(StatusCode::OK, &json!({ "chain": chain }))
}

/// SWEEP/INDEX.
fn trial_named(id: &str) -> Option<(&str, u32)> {
    let (sweep, index) = id.rsplit_once('/')?;
    Some((sweep, index.parse().ok()?))
}

/// The run of a trial, also of one whose sweep was archived or deleted.
async fn run_of_trial(call: &Call, sweep: &str, index: u32) -> Result<String, Refusal> {
    let (workspace, sweep) = (call.workspace.clone(), sweep.to_owned());
    let request = GetTrialRequest { workspace, sweep, index, deleted: true };
    let context = call.reading(Service::Sweeps)?;
    let trial = call.peers().sweeps_client().get_trial(context.attach(request)).await?.into_inner();
    if trial.run_id.is_empty() {
        let detail = format!("trial {index} was imported: it has no run, and nothing here led to it");
        return Err(Problem::new(404, "NotFound", detail).into());
    }
    Ok(trial.run_id)
}

async fn from_request(call: &Call, id: &str, chain: &mut Vec<Value>) -> Result<String, Refusal> {
    let (revision_key, uuid) =
        request_id::parse(id).map_err(|error| Problem::new(422, "BadLineageId", error.to_string()))?;
    let context = call.reading(Service::Compute)?;
    let request = GetRevisionRequest { revision_key };
    let revision = absent_is_none(call.peers().compute_client().get_revision(context.attach(request)).await)?;
    // A key of another workspace is not confirmed.
    let Some(revision) = revision.filter(|revision| revision.workspace == call.workspace) else {
        return Err(Problem::not_found("request", id, &call.workspace).into());
    };
    chain.push(json!({ "kind": "answer", "id": id, "answered_at": time_of(uuid) }));
    let Revision { endpoint, deployment, revision: number, model, model_version, version_id, .. } = revision;
    chain.push(json!({
        "kind": "deployment",
        "id": format!("{endpoint}/deployments/{deployment}"),
        "endpoint": endpoint,
        "deployment": deployment,
        "revision": number,
        "revision_key": revision_key,
        "version_id": version_id,
    }));
    from_version(call, &model, &model_version.to_string(), chain).await
}

/// When the UUIDv7 was made.
fn time_of(uuid: uuid::Uuid) -> String {
    let millis = i64::try_from(uuid.as_u128() >> 80).unwrap_or_default();
    jiff::Timestamp::from_millisecond(millis).unwrap_or_default().to_string()
}

async fn from_version(call: &Call, model: &str, version: &str, chain: &mut Vec<Value>) -> Result<String, Refusal> {
    let context = call.reading(Service::Models)?;
    let (workspace, model, version) = (call.workspace.clone(), model.to_owned(), version.to_owned());
    let request = GetVersionRequest { workspace, model, version };
    let found = call.peers().models_client().get_version(context.attach(request)).await?.into_inner();
    let ModelVersion { model, version, version_id, artifact_path, content_sha256, aliases, run_id, created_by, .. } =
        found;
    chain.push(json!({
        "kind": "model_version",
        "id": format!("{model}/versions/{version}"),
        "model": model,
        "version": version,
        "version_id": version_id,
        "artifact_path": artifact_path,
        "content_sha256": content_sha256,
        "aliases": aliases,
        "registered_by": created_by,
        "run_id": run_id,
    }));
    Ok(run_id)
}

async fn from_run(call: &Call, run_id: &str, chain: &mut Vec<Value>) -> Result<(), Refusal> {
    let context = call.reading(Service::Runs)?;
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: run_id.to_owned() };
    let run = call.peers().runs_client().get_run(context.attach(request)).await?.into_inner();
    chain.push(json!({
        "kind": "run",
        "id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "state": run.state,
        "params": run.params,
        "attempts": run.attempt,
    }));
    if let (false, Some(index)) = (run.sweep_id.is_empty(), run.trial_index) {
        from_trial(call, &run.sweep_id, index, chain).await?;
    }
    end(&run, chain);
    Ok(())
}

async fn from_trial(call: &Call, sweep_id: &str, index: u32, chain: &mut Vec<Value>) -> Result<(), Refusal> {
    let context = call.reading(Service::Sweeps)?;
    let (workspace, sweep) = (call.workspace.clone(), sweep_id.to_owned());
    // What was deleted is still where an answer comes from.
    let request = GetSweepRequest {
        workspace: workspace.clone(),
        sweep: sweep.clone(),
        deleted: true,
        ..GetSweepRequest::default()
    };
    let mut client = call.peers().sweeps_client();
    let found = client.get_sweep(context.attach(request)).await?.into_inner();
    chain.push(json!({
        "kind": "sweep",
        "id": found.sweep_id,
        "name": found.name,
        "goal": found.goal,
        "primary_metric": found.primary_metric,
        "seed": found.seed,
    }));
    let request = GetTrialRequest { workspace, sweep, index, deleted: true };
    let trial = client.get_trial(context.attach(request)).await?.into_inner();
    let parameters = if trial.parameters_json.is_empty() { Value::Null } else { embedded(&trial.parameters_json)? };
    chain.push(json!({
        "kind": "trial",
        "id": format!("{sweep_id}/{index}"),
        "index": index,
        "state": trial.state,
        "parameters": parameters,
        "best_value": trial.best_value,
    }));
    let explanation = explain(call, sweep_id, index, true).await?;
    let position = explanation["proposal"]["position"].as_i64().unwrap_or_default();
    chain.push(json!({
        "kind": "decision",
        "id": format!("{sweep_id}@{position}"),
        "proposal": explanation["proposal"],
        "decisions": explanation["decisions"],
    }));
    Ok(())
}

/// What the run was made of.
fn end(run: &Run, chain: &mut Vec<Value>) {
    let Some(job) = &run.job else { return };
    if !job.code_sha256.is_empty() {
        let id = format!("sha256:{}", job.code_sha256);
        chain.push(json!({ "kind": "code", "id": id, "command": job.command, "python": job.python }));
    }
    for input in &job.inputs {
        chain.push(json!({ "kind": "data", "id": input.uri, "input": input.id, "mode": input.mode }));
    }
}
