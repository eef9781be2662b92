//! Creates, shows and lists workspaces.

use contracts::workspaces as wire;
use contracts::{CallContext, status_of, with_position};
use eventlog::sql;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, names};

use super::{Api, stream};
use crate::workspace::{Command, Workspace};

fn shown(state: &Workspace, version: i64) -> Option<wire::Workspace> {
    state.created_at.map(|at| wire::Workspace {
        name: state.name.clone(),
        tags: state.tags.clone(),
        created_at: at.to_string(),
        version,
    })
}

impl Api {
    pub(super) async fn put_workspace(
        &self,
        request: Request<wire::PutWorkspaceRequest>,
    ) -> Result<Response<wire::Workspace>, Status> {
        let call = CallContext::of(&request);
        let wanted = request.into_inner();
        if let Some(wrong) = names::workspace(&wanted.name) {
            return Err(status_of(&Problem::invalid("/name", "BadName", wrong)));
        }
        let command = Command::Create { name: wanted.name.clone(), tags: wanted.tags, at: self.clock.now() };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let committed =
            self.log.execute::<Workspace>(&stream(&wanted.name), command, context).await.map_err(calls::refused)?;
        Ok(with_position(self.look(&wanted.name).await?, committed.position))
    }

    async fn look(&self, name: &str) -> Result<wire::Workspace, Status> {
        let found = self.log.inspect::<Workspace, _>(&stream(name), shown).await.map_err(calls::unreadable)?;
        found.ok_or_else(|| status_of(&Problem::new(404, "NotFound", format!("workspace '{name}'"))))
    }

    pub(super) async fn get_workspace(
        &self,
        request: Request<wire::GetWorkspaceRequest>,
    ) -> Result<Response<wire::Workspace>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        Ok(Response::new(self.look(&request.into_inner().name).await?))
    }

    pub(super) async fn list_workspaces(
        &self,
        request: Request<wire::ListWorkspacesRequest>,
    ) -> Result<Response<wire::ListWorkspacesReply>, Status> {
        calls::at_least(&self.log, &CallContext::of(&request)).await?;
        let request = request.into_inner();
        let (size, after) = calls::page(request.page_size, &request.page_token)?;
        let names: Vec<String> = sql("SELECT name FROM workspaces_listed WHERE name > $1 ORDER BY name LIMIT $2")
            .bind(after.unwrap_or_default())
            .bind(size)
            .fetch_all(self.log.reader())
            .await
            .map_err(calls::unreadable)?;
        let next_page_token =
            if names.len() == size as usize { names.last().cloned().unwrap_or_default() } else { String::new() };
        let mut workspaces = Vec::with_capacity(names.len());
        for name in &names {
            workspaces.push(self.look(name).await?);
        }
        Ok(Response::new(wire::ListWorkspacesReply { workspaces, next_page_token }))
    }
}
