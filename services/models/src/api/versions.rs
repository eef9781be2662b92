//! Shows, lists and changes versions.

use contracts::compute::ModelFile;
use contracts::models as wire;
use contracts::{CallContext, status_of, with_position};
use documents::ArchivedView;
use eventlog::Committed;
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Api, absent, stream};
use crate::model::{Change, Command, Model, ModelEvent, Version};

/// A version as clients see it.
pub(super) fn shown(model: &Model, version: &Version) -> wire::ModelVersion {
    let made = &version.registered;
    let file = |file: &crate::model::File| ModelFile {
        path: file.path.clone(),
        sha256: file.sha256.clone(),
        size_bytes: file.size_bytes,
    };
    wire::ModelVersion {
        workspace: made.workspace.clone(),
        model: made.model.clone(),
        version: made.version,
        version_id: made.version_id.clone(),
        run_id: made.run_id.clone(),
        artifact_path: made.artifact_path.clone(),
        files: made.files.iter().map(file).collect(),
        content_sha256: made.content_sha256.clone(),
        description: made.description.clone(),
        tags: made.tags.clone(),
        properties: made.properties.clone(),
        is_archived: version.is_archived,
        executes_code: made.executes_code,
        aliases: model.aliases_of(made.version),
        created_at: made.at.to_string(),
        created_by: made.by.clone(),
        sweep_id: made.sweep_id.clone(),
        trial_index: made.trial_index,
        code_sha256: made.code_sha256.clone(),
        warnings: Vec::new(),
    }
}

/// A version as it is kept with a command for whoever repeats it: without its files, which never change and are many.
pub(super) fn kept(version: Option<wire::ModelVersion>) -> Vec<u8> {
    wire::ModelVersion { files: Vec::new(), ..version.unwrap_or_default() }.encode_to_vec()
}

/// Which version a text means: a number, "latest", or "@alias".
fn find<'a>(model: &'a Model, text: &str) -> Result<&'a Version, String> {
    if let Some(alias) = text.strip_prefix('@') {
        let number = model.aliases.get(alias).copied();
        return number.and_then(|number| model.version(number)).ok_or_else(|| {
            if model.aliases.is_empty() {
                return format!("alias '{alias}'; this model has none");
            }
            let known: Vec<_> = model.aliases.keys().map(String::as_str).collect();
            format!("alias '{alias}'; {}", documents::one_of(alias, &known))
        });
    }
    if text == "latest" {
        return model.versions.iter().rfind(|version| !version.is_archived).ok_or_else(|| "a version".to_owned());
    }
    let number: i64 = text.parse().map_err(|_| format!("version '{text}': a number, latest, or @alias"))?;
    model.version(number).ok_or_else(|| format!("version {number}; the versions are 1..={}", model.versions.len()))
}

impl Api {
    pub(super) async fn get_version(
        &self,
        request: Request<wire::GetVersionRequest>,
    ) -> Result<Response<wire::ModelVersion>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let asked = request.version.clone();
        let found = self
            .log
            .inspect::<Model, _>(&stream(&request.workspace, &request.model), move |model, at| {
                (at > 0).then(|| find(model, &asked).map(|version| shown(model, version)))
            })
            .await
            .map_err(calls::unreadable)?;
        let found = found.ok_or_else(|| absent(&request.workspace, &request.model))?;
        found.map(Response::new).map_err(|what| {
            let detail = format!("model '{}' in workspace '{}': {what}", request.model, request.workspace);
            status_of(&Problem::new(404, "NotFound", detail))
        })
    }

    pub(super) async fn list_versions(
        &self,
        request: Request<wire::ListVersionsRequest>,
    ) -> Result<Response<wire::ListVersionsReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let view = ArchivedView::read(&request.view).map_err(|problem| status_of(&problem))?;
        let after: i64 = after.and_then(|token| token.parse().ok()).unwrap_or_default();
        let versions: Option<(Vec<wire::ModelVersion>, bool)> = self
            .log
            .inspect::<Model, _>(&stream(&request.workspace, &request.model), move |model, at| {
                let later = model.versions.iter().filter(|version| version.registered.version > after);
                let seen = later.filter(|version| view.has(version.is_archived));
                (at > 0).then(|| calls::Page::fill(size, seen.map(|version| shown(model, version))))
            })
            .await
            .map_err(calls::unreadable)?;
        let (versions, more) = versions.ok_or_else(|| absent(&request.workspace, &request.model))?;
        let last = versions.last().map(|version| version.version.to_string()).unwrap_or_default();
        let next_page_token = if more { last } else { String::new() };
        Ok(Response::new(wire::ListVersionsReply { versions, next_page_token }))
    }

    pub(super) async fn update_version(
        &self,
        request: Request<wire::UpdateVersionRequest>,
    ) -> Result<Response<wire::ModelVersion>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        for (field, texts) in [("tags", &request.tags), ("properties", &request.properties)] {
            documents::texts::check(texts, field).map_err(|problem| status_of(&problem))?;
        }
        let stream = stream(&request.workspace, &request.model);
        let version = request.version;
        let change = Change {
            description: request.description,
            tags: request.tags,
            remove_tags: request.remove_tags,
            properties: request.properties,
            is_archived: request.is_archived,
        };
        let (workspace, model, at) = (request.workspace, request.model, self.clock.now());
        let command = Command::ChangeVersion { workspace, model, version, change, at };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let find = move |model: &Model| model.version(version).map(|found| shown(model, found));
        let reply_of = move |model: &Model, _: &[ModelEvent]| kept(find(model));
        let executed = self.log.execute_answering(&stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        self.answer(&stream, &committed, find).await
    }

    /// The version that a command was about, as it was after it, also when the command is repeated. Earlier builds kept
    /// no more of it than its id: then it is looked for as it is now.
    pub(super) async fn answer(
        &self,
        stream: &str,
        committed: &Committed,
        find: impl FnOnce(&Model) -> Option<wire::ModelVersion> + Send + 'static,
    ) -> Result<Response<wire::ModelVersion>, Status> {
        let kept = wire::ModelVersion::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
        let found =
            self.log.inspect::<Model, _>(stream, move |model, _| find(model)).await.map_err(calls::unreadable)?;
        let found = found.ok_or_else(|| Status::internal("the version that was just written is not there"))?;
        let version = if kept.version > 0 { wire::ModelVersion { files: found.files, ..kept } } else { found };
        Ok(with_position(version, committed.position))
    }
}
