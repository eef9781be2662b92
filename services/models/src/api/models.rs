//! Shows, lists and changes models.

use contracts::models as wire;
use contracts::{CallContext, status_of, with_position};
use documents::ArchivedView;
use eventlog::sql;
use prost::Message;
use tonic::{Request, Response, Status};
use vocabulary::{Decider, Problem};

use super::{Api, absent, names_of, stream};
use crate::model::{Change, Command, Model, ModelEvent};

/// Events read at once.
const PAGE_EVENTS: u32 = 1_000;

fn shown(stream: &str, model: &Model, version: i64) -> Option<wire::Model> {
    let (workspace, name) = names_of(stream);
    let first = model.versions.first()?;
    Some(wire::Model {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        description: model.description.clone(),
        tags: model.tags.clone(),
        is_archived: model.is_archived,
        latest_version: model.versions.len() as i64,
        aliases: model.aliases.clone(),
        created_at: first.registered.at.to_string(),
        etag_version: version,
    })
}

impl Api {
    async fn look(&self, workspace: &str, name: &str) -> Result<wire::Model, Status> {
        let stream = stream(workspace, name);
        let key = stream.clone();
        let found = self
            .log
            .inspect::<Model, _>(&stream, move |model, version| shown(&key, model, version))
            .await
            .map_err(calls::unreadable)?;
        found.ok_or_else(|| absent(workspace, name))
    }

    /// The model as its events up to an instant had made it.
    async fn look_back(&self, workspace: &str, name: &str, at: jiff::Timestamp) -> Result<wire::Model, Status> {
        let stream = stream(workspace, name);
        let (mut model, mut version, mut read, mut first) = (Model::default(), 0, 0, None);
        loop {
            let page = self.log.read_stream(&stream, read, PAGE_EVENTS).await.map_err(calls::unreadable)?;
            let Some(last) = page.last() else { break };
            read = last.version;
            for recorded in &page {
                let event = recorded.decode::<ModelEvent>().map_err(calls::unreadable)?;
                first.get_or_insert(event.at());
                // By their own times: an event that the clock put back is taken for what it says.
                if event.at() <= at {
                    model.evolve(&event);
                    version = recorded.version;
                }
            }
        }
        shown(&stream, &model, version).ok_or_else(|| {
            status_of(&match first {
                None => Problem::not_found("model", name, workspace),
                Some(first) => Problem::new(
                    404,
                    "NotFound",
                    format!("model '{name}' in workspace '{workspace}' at {at}; its first version came at {first}"),
                ),
            })
        })
    }

    pub(super) async fn get_model(
        &self,
        request: Request<wire::GetModelRequest>,
    ) -> Result<Response<wire::Model>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let at = match request.at.as_str() {
            "" => None,
            text => Some(text.parse::<jiff::Timestamp>().map_err(|_| {
                let message = format!("at '{text}': a time such as 2026-01-05T10:00:00Z");
                status_of(&Problem::invalid("/at", "BadTime", message))
            })?),
        };
        let shown = match at {
            None => self.look(&request.workspace, &request.model).await?,
            Some(at) => self.look_back(&request.workspace, &request.model, at).await?,
        };
        Ok(Response::new(shown))
    }

    pub(super) async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let view = ArchivedView::read(&request.view).map_err(|problem| status_of(&problem))?;
        let (least, most) = (i32::from(!view.has(false)), i32::from(view.has(true)));
        let names: Vec<String> =
            sql("SELECT name FROM models_listed WHERE workspace = $1 AND name > $2 AND archived BETWEEN $3 AND $4 \
             ORDER BY name LIMIT $5")
            .bind(&request.workspace)
            .bind(after.unwrap_or_default())
            .bind(least)
            .bind(most)
            .bind(size + 1)
            .fetch_all(self.log.reader())
            .await
            .map_err(calls::unreadable)?;
        let mut models = calls::Page::of(size);
        for name in &names {
            if !models.push(self.look(&request.workspace, name).await?) {
                break;
            }
        }
        let (models, more) = models.finish();
        let next_page_token = models.last().filter(|_| more).map(|model| model.name.clone()).unwrap_or_default();
        Ok(Response::new(wire::ListModelsReply { models, next_page_token }))
    }

    pub(super) async fn update_model(
        &self,
        request: Request<wire::UpdateModelRequest>,
    ) -> Result<Response<wire::Model>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
        documents::texts::check(&request.tags, "tags").map_err(|problem| status_of(&problem))?;
        let change = Change {
            description: request.description,
            tags: request.tags,
            remove_tags: request.remove_tags,
            is_archived: request.is_archived,
            ..Change::default()
        };
        let command = Command::ChangeModel { change, at: self.clock.now() };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let stream = stream(&request.workspace, &request.model);
        let key = stream.clone();
        let reply_of = move |model: &Model, _: &[ModelEvent]| shown(&key, model, 0).unwrap_or_default().encode_to_vec();
        let executed = self.log.execute_answering(&stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        let kept = wire::Model::decode(committed.reply.as_slice()).map_err(calls::unreadable)?;
        // Earlier builds kept nothing: then it is shown as it is now.
        let model = match kept.latest_version {
            0 => self.look(&request.workspace, &request.model).await?,
            _ => wire::Model { etag_version: committed.version, ..kept },
        };
        Ok(with_position(model, committed.position))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use contracts::Peers;
    use runtime::Shutdown;
    use vocabulary::{ManualClock, SeededEntropy};

    use super::*;

    fn at(second: u8) -> jiff::Timestamp {
        format!("2026-11-01T10:00:{second:02}Z").parse().unwrap()
    }

    #[tokio::test]
    async fn a_model_is_shown_as_it_was() {
        // An auditor who asks what was known of a model in spring must not get today's words.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("db")).unwrap();
        let clock = Arc::new(ManualClock::new(at(1)));
        let dependencies = crate::Dependencies {
            stores: testkit::stores(&folder.path().join("db")),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::new(7)),
            peers: Peers::default(),
            shutdown: Shutdown::new(),
        };
        let api = crate::open(dependencies).await.unwrap().api;
        let register = || {
            Request::new(wire::RegisterVersionRequest {
                workspace: "w".into(),
                model: "m".into(),
                run_id: vocabulary::RunId::new(uuid::Uuid::from_u128(1)).to_string(),
                artifact_path: "outputs/model".into(),
                resolved: Some(wire::ResolvedArtifact {
                    run_state: "Completed".into(),
                    files: vec![contracts::compute::ModelFile {
                        path: "model.pkl".into(),
                        sha256: "ab".repeat(32),
                        size_bytes: 3,
                    }],
                    ..Default::default()
                }),
                ..Default::default()
            })
        };
        let update = |description: &str, tag: &str| {
            Request::new(wire::UpdateModelRequest {
                workspace: "w".into(),
                model: "m".into(),
                description: Some(description.into()),
                tags: BTreeMap::from([("stage".into(), tag.into())]),
                ..Default::default()
            })
        };
        api.register_version(register()).await.unwrap();
        clock.advance_us(9_000_000);
        api.update_model(update("first words", "trial")).await.unwrap();
        clock.advance_us(10_000_000);
        api.register_version(register()).await.unwrap();
        clock.advance_us(10_000_000);
        api.update_model(update("today's words", "final")).await.unwrap();
        let get = |when: String| {
            let request = wire::GetModelRequest { workspace: "w".into(), model: "m".into(), at: when };
            api.get_model(Request::new(request))
        };
        let then = get(at(15).to_string()).await.unwrap().into_inner();
        assert_eq!((then.description.as_str(), then.tags["stage"].as_str()), ("first words", "trial"));
        assert_eq!((then.latest_version, then.etag_version), (1, 2));
        let now = get(String::new()).await.unwrap().into_inner();
        assert_eq!(now, get(at(30).to_string()).await.unwrap().into_inner(), "up to now is all");
        assert_eq!((now.description.as_str(), now.latest_version), ("today's words", 2));
        let before = contracts::problem_of(&get(at(0).to_string()).await.unwrap_err());
        assert!(before.status == 404 && before.detail.contains("10:00:01Z"), "{}", before.detail);
    }
}
