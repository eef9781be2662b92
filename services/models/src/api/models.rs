//! Shows, lists and changes models.

use contracts::models as wire;
use contracts::{CallContext, status_of, with_position};
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::{Api, names_of, stream};
use crate::model::{Change, Command, Model};

fn shown(stream: &str, model: &Model, version: i64, at: Option<jiff::Timestamp>) -> Option<wire::Model> {
    let (workspace, name) = names_of(stream);
    let first = model.versions.first()?;
    Some(wire::Model {
        workspace: workspace.to_owned(),
        name: name.to_owned(),
        description: model.description.clone(),
        tags: model.tags.clone(),
        is_archived: model.is_archived,
        latest_version: model.versions.len() as i64,
        aliases: at.map_or_else(|| model.aliases.clone(), |at| model.aliases_at(at)),
        created_at: first.registered.at.to_string(),
        etag_version: version,
    })
}

impl Api {
    async fn look(&self, workspace: &str, name: &str, at: Option<jiff::Timestamp>) -> Result<wire::Model, Status> {
        let stream = stream(workspace, name);
        let key = stream.clone();
        let found = self
            .log
            .inspect::<Model, _>(&stream, move |model, version| shown(&key, model, version, at))
            .await
            .map_err(calls::unreadable)?;
        found.ok_or_else(|| status_of(&Problem::not_found("model", name, workspace)))
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
        Ok(Response::new(self.look(&request.workspace, &request.model, at).await?))
    }

    pub(super) async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let (least, most) = match request.view.as_str() {
            "" | "active" => (0, 0),
            "archived" => (1, 1),
            "all" => (0, 1),
            other => {
                let message = format!("view '{other}': one of active, archived, all");
                return Err(status_of(&Problem::invalid("/view", "BadView", message)));
            }
        };
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM models_listed WHERE workspace = ? AND name > ? AND archived BETWEEN ? AND ? \
             ORDER BY name LIMIT ?",
        )
        .bind(&request.workspace)
        .bind(after.unwrap_or_default())
        .bind(least)
        .bind(most)
        .bind(size)
        .fetch_all(self.log.reader())
        .await
        .map_err(calls::unreadable)?;
        let next_page_token =
            if names.len() == size as usize { names.last().cloned().unwrap_or_default() } else { String::new() };
        let mut models = Vec::with_capacity(names.len());
        for name in &names {
            models.push(self.look(&request.workspace, name, None).await?);
        }
        Ok(Response::new(wire::ListModelsReply { models, next_page_token }))
    }

    pub(super) async fn update_model(
        &self,
        request: Request<wire::UpdateModelRequest>,
    ) -> Result<Response<wire::Model>, Status> {
        let call = CallContext::of(&request);
        let request = request.into_inner();
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
        let committed = self.log.execute::<Model>(&stream, command, context).await.map_err(calls::refused)?;
        Ok(with_position(self.look(&request.workspace, &request.model, None).await?, committed.position))
    }
}
