//! Model versions: registered from the artifacts of a run.

use actix_web::http::StatusCode;
use actix_web::{get, patch, post};
use contracts::compute::ModelFile;
use contracts::models::{
    GetVersionRequest, ListVersionsReply, ListVersionsRequest, ModelVersion, RegisterVersionRequest, ResolvedArtifact,
    UpdateVersionRequest,
};
use contracts::problem::Warning;
use contracts::runs::{Artifact, GetRunRequest, KeepObjectsRequest, ListArtifactsRequest, Run};
use contracts::sweeps::{GetTrialRequest, PolicyStop};
use vocabulary::{Problem, RunId};

use super::models::ViewQuery;
use crate::door::{Query, Call, Document, Refusal, Reply, Service, json, written};

super::routes!(register_version, list_versions, get_version, update_version);

/// Artifacts asked for at once.
const ARTIFACTS_PAGE: i32 = 1000;
/// Files of one model. Beyond it the folder is probably not a model; the answer says so.
const MODEL_FILES_MAX: usize = 10_000;

/// Registers a version of a model: the artifacts of `run_id` below `artifact_path`. The model is created with its
/// first version.
#[utoipa::path(tag = "models", request_body = RegisterVersionRequest, responses((status = 201, body = ModelVersion)))]
#[post("/api/v1/workspaces/{workspace}/models/{model}/versions")]
pub(crate) async fn register_version(body: Document, call: Call) -> Reply {
    let (workspace, model) = (call.workspace.clone(), call.path("model").to_owned());
    let mut request = RegisterVersionRequest { workspace, model, ..body.message().await? };
    if request.run_id.is_empty() {
        return Err(Problem::invalid("/run_id", "Required", "run_id: required").into());
    }
    let Ok(run_id) = RunId::parse(&request.run_id) else {
        return Err(Problem::not_found("run", &request.run_id, &call.workspace).into());
    };
    request.run_id = run_id.to_string();
    request.artifact_path = request.artifact_path.trim_matches('/').to_owned();
    let (resolved, warning) = resolve(&call, &request.run_id, &request.artifact_path).await?;
    keep(&call, &resolved.files).await?;
    request.resolved = Some(resolved);
    let mut reply = call.peers().models_client().register_version(call.writing(body.hash())?.attach(request)).await?;
    reply.get_mut().warnings.extend(warning);
    written(StatusCode::CREATED, Service::Models, reply)
}

/// What the artifact is, and what to know of it.
async fn resolve(
    call: &Call,
    run_id: &str,
    artifact_path: &str,
) -> Result<(ResolvedArtifact, Option<Warning>), Refusal> {
    let context = call.reading(Service::Runs)?;
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: run_id.to_owned() };
    let run = call.peers().runs_client().get_run(context.attach(request)).await?.into_inner();
    let files = files_below(artifact_path, artifacts(call, run_id, artifact_path).await?);
    if files.is_empty() {
        let stopped = stopped_early(call, &run).await;
        let message = format!("artifact_path '{artifact_path}': run '{run_id}' has no artifact there{stopped}");
        return Err(Problem::invalid("/artifact_path", "ArtifactMissing", message).into());
    }
    let warning = unkept(&run, artifact_path);
    let resolved = ResolvedArtifact {
        run_state: run.state,
        sweep_id: run.sweep_id,
        trial_index: run.trial_index,
        code_sha256: run.job.map(|job| job.code_sha256).unwrap_or_default(),
        files,
    };
    Ok((resolved, warning))
}

/// That the artifact is not of the run's best value although it was to be kept at that.
fn unkept(run: &Run, artifact_path: &str) -> Option<Warning> {
    let why = &run.end.as_ref().filter(|end| !end.unkept.is_empty())?.unkept;
    let is_within = |inner: &str, outer: &str| {
        outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let concerns = |kept: &String| is_within(artifact_path, kept) || is_within(kept, artifact_path);
    run.job.as_ref()?.keep_best.iter().any(concerns).then(|| Warning {
        code: "BestNotKept".to_owned(),
        message: format!("run '{}': {why}", run.run_id),
        ..Warning::default()
    })
}

/// The state of a run that was stopped by a policy: its outputs were not uploaded, but for those with keep: best.
const EARLY_STOPPED: &str = "EarlyStopped";

/// Why a run that was stopped early left nothing, as the end of a sentence.
async fn stopped_early(call: &Call, run: &Run) -> String {
    if run.state != EARLY_STOPPED {
        return String::new();
    }
    // That it was stopped is known without the sweep, too, which may be gone.
    let stop = policy_stop(call, run).await.map(|stop| {
        let PolicyStop { policy, metric, goal, value, threshold, interval } = stop;
        let than = if goal == "minimize" { '>' } else { '<' };
        let threshold = threshold.map(|threshold| format!(" {than} {threshold}")).unwrap_or_default();
        format!(": {policy}: {metric} {value}{threshold} at step {interval}")
    });
    let way_out = "outputs with keep: best remain of a trial that is stopped";
    format!("; it was stopped early{}; {way_out}", stop.unwrap_or_default())
}

async fn policy_stop(call: &Call, run: &Run) -> Option<PolicyStop> {
    let index = run.trial_index?;
    let (workspace, sweep) = (call.workspace.clone(), run.sweep_id.clone());
    let request = GetTrialRequest { workspace, sweep, index, deleted: true };
    let context = call.reading(Service::Sweeps).ok()?;
    call.peers().sweeps_client().get_trial(context.attach(request)).await.ok()?.into_inner().stop
}

/// The files stay from before the version is there: no deletion of the run comes between.
async fn keep(call: &Call, files: &[ModelFile]) -> Result<(), Refusal> {
    let sha256 = files.iter().map(|file| file.sha256.clone()).collect();
    let request = KeepObjectsRequest { workspace: call.workspace.clone(), sha256 };
    call.peers().runs_client().keep_objects(call.reading(Service::Runs)?.attach(request)).await?;
    Ok(())
}

async fn artifacts(call: &Call, run_id: &str, prefix: &str) -> Result<Vec<Artifact>, Refusal> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let (workspace, run_id, prefix) = (call.workspace.clone(), run_id.to_owned(), prefix.to_owned());
        let request = ListArtifactsRequest {
            workspace,
            run_id,
            prefix,
            page_size: ARTIFACTS_PAGE,
            page_token,
            superseded: false,
        };
        let context = call.reading(Service::Runs)?;
        let page = call.peers().runs_client().list_artifacts(context.attach(request)).await?.into_inner();
        all.extend(page.artifacts);
        if all.len() > MODEL_FILES_MAX {
            let message = format!("more than {MODEL_FILES_MAX} files: name the model's own folder");
            return Err(Problem::invalid("/artifact_path", "TooLarge", message).into());
        }
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        page_token = page.next_page_token;
    }
}

/// The newest artifact of each path, as paths below the model's folder. An artifact that is itself the path keeps its
/// file name.
fn files_below(folder: &str, mut artifacts: Vec<Artifact>) -> Vec<ModelFile> {
    artifacts.sort_by(|a, b| a.path.cmp(&b.path).then(b.attempt.cmp(&a.attempt)));
    artifacts.dedup_by(|later, first| later.path == first.path);
    let files = artifacts.into_iter().filter_map(|artifact| {
        let below = match artifact.path.strip_prefix(folder) {
            _ if folder.is_empty() => artifact.path.clone(),
            Some("") => artifact.path.rsplit('/').next().unwrap_or_default().to_owned(),
            Some(rest) => rest.strip_prefix('/')?.to_owned(),
            None => return None,
        };
        Some(ModelFile { path: below, sha256: artifact.sha256, size_bytes: artifact.size_bytes })
    });
    files.collect()
}

/// Lists a model's versions.
#[utoipa::path(tag = "models", params(ViewQuery), responses((status = 200, body = ListVersionsReply)))]
#[get("/api/v1/workspaces/{workspace}/models/{model}/versions")]
pub(crate) async fn list_versions(call: Call, query: Query<ViewQuery>) -> Reply {
    let ViewQuery { view, page_size, page_token } = query.into_inner();
    let (workspace, model) = (call.workspace.clone(), call.path("model").to_owned());
    let context = call.reading(Service::Models)?;
    let request = ListVersionsRequest { workspace, model, view, page_size, page_token };
    let reply = call.peers().models_client().list_versions(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Shows a version by its number, as `latest`, or by an alias as `@champion`.
#[utoipa::path(tag = "models", responses((status = 200, body = ModelVersion)))]
#[get("/api/v1/workspaces/{workspace}/models/{model}/versions/{version}")]
pub(crate) async fn get_version(call: Call) -> Reply {
    let (workspace, model) = (call.workspace.clone(), call.path("model").to_owned());
    let context = call.reading(Service::Models)?;
    let request = GetVersionRequest { workspace, model, version: call.path("version").to_owned() };
    let reply = call.peers().models_client().get_version(context.attach(request)).await?;
    json(StatusCode::OK, reply.get_ref())
}

/// Changes a version's description and tags, adds properties (they never change), archives it or takes it back.
#[utoipa::path(tag = "models", request_body = UpdateVersionRequest, responses((status = 200, body = ModelVersion)))]
#[patch("/api/v1/workspaces/{workspace}/models/{model}/versions/{version}")]
pub(crate) async fn update_version(body: Document, call: Call) -> Reply {
    let (workspace, model, version) = (call.workspace.clone(), call.path("model").to_owned(), call.number("version")?);
    let request = UpdateVersionRequest { workspace, model, version, ..body.message().await? };
    let reply = call.peers().models_client().update_version(call.writing(body.hash())?.attach(request)).await?;
    written(StatusCode::OK, Service::Models, reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_files_are_named_from_its_folder_and_newest() {
        let artifact = |path: &str, attempt, sha256: &str| {
            let (path, sha256) = (path.to_owned(), sha256.to_owned());
            Artifact { path, sha256, attempt, size_bytes: 1, superseded: false }
        };
        let all = vec![
            artifact("outputs/model/a.pkl", 1, "old"),
            artifact("outputs/model/a.pkl", 2, "new"),
            artifact("outputs/model/sub/b", 1, "b"),
            artifact("outputs/model-other/c", 1, "c"),
        ];
        let files = files_below("outputs/model", all.clone());
        let shown: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.sha256.as_str())).collect();
        assert_eq!(shown, [("a.pkl", "new"), ("sub/b", "b")]);
        assert_eq!(files_below("outputs/model/a.pkl", all)[0].path, "a.pkl");
    }
}
