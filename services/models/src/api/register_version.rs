//! Registers a version from a run's artifact.

use contracts::models as wire;
use contracts::{CallContext, status_of};
use documents::texts;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};
use vocabulary::{FieldError, Problem, VersionId, names};

use super::{Api, stream, versions};
use crate::model::{Command, File, Model, ModelEvent, VersionRegistered};

/// Endings of files whose loading runs code that came with them.
const RUNS_CODE: [&str; 5] = [".pkl", ".pickle", ".joblib", ".py", "MLmodel"];

/// SHA-256 over the sorted list of (path, sha256): two versions with the same files have the same hash.
fn content_hash(files: &[File]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.path.as_bytes());
        hash.update([0]);
        hash.update(file.sha256.as_bytes());
        hash.update([b'\n']);
    }
    hex::encode(hash.finalize())
}

fn check(request: &wire::RegisterVersionRequest, resolved: &wire::ResolvedArtifact) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Some(wrong) = names::title(&request.model) {
        errors.push(FieldError::new("/model", "BadName", wrong));
    }
    if resolved.files.is_empty() {
        let message = format!("run {} has no artifact '{}'", request.run_id, request.artifact_path);
        let hint = "list what it has: trialog run artifacts RUN";
        errors.push(FieldError::new("/artifact_path", "ArtifactMissing", message).with_hint(hint));
    }
    for texts in [texts::check(&request.tags, "tags"), texts::check(&request.properties, "properties")] {
        errors.extend(texts.err().into_iter().flat_map(|problem| problem.errors));
    }
    if !errors.is_empty() {
        return Err(Problem::of_errors(422, errors));
    }
    if matches!(resolved.run_state.as_str(), "Failed" | "Canceled") && !request.force {
        let detail = format!(
            "run {} is {}: its model may be unfinished; register it with force if it is meant",
            request.run_id, resolved.run_state
        );
        return Err(Problem::conflict("RunNotCompleted", detail));
    }
    Ok(())
}

fn by_id(model: &Model, version_id: &str) -> Option<wire::ModelVersion> {
    let found = model.versions.iter().rfind(|version| version.registered.version_id == version_id);
    found.map(|version| versions::shown(model, version))
}

impl Api {
    pub(super) async fn register_version(
        &self,
        request: Request<wire::RegisterVersionRequest>,
    ) -> Result<Response<wire::ModelVersion>, Status> {
        let call = CallContext::of(&request);
        let mut request = request.into_inner();
        let resolved = request.resolved.take().unwrap_or_default();
        check(&request, &resolved).map_err(|problem| status_of(&problem))?;
        let mut files: Vec<File> = resolved
            .files
            .into_iter()
            .map(|file| File { path: file.path, sha256: file.sha256, size_bytes: file.size_bytes })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let version_id = VersionId::new(self.entropy.uuid()).to_string();
        let wish = VersionRegistered {
            workspace: request.workspace.clone(),
            model: request.model.clone(),
            version: 0,
            version_id: version_id.clone(),
            run_id: request.run_id,
            artifact_path: request.artifact_path,
            content_sha256: content_hash(&files),
            executes_code: files.iter().any(|file| RUNS_CODE.iter().any(|ending| file.path.ends_with(ending))),
            files,
            description: request.description,
            tags: request.tags,
            properties: request.properties,
            sweep_id: resolved.sweep_id,
            trial_index: resolved.trial_index,
            code_sha256: resolved.code_sha256,
            by: call.actor.clone(),
            at: self.clock.now(),
        };
        let stream = stream(&request.workspace, &request.model);
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let reply_of = move |model: &Model, _: &[ModelEvent]| versions::kept(by_id(model, &version_id));
        let command = Command::Register(Box::new(wish));
        let executed = self.log.execute_answering(&stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        // A repeat is about the version that the first request has made.
        let made = wire::ModelVersion::decode(committed.reply.as_slice()).unwrap_or_default().version_id;
        self.answer(&stream, &committed, move |model| by_id(model, &made)).await
    }
}
