//! Creates, shows and lists workspaces.

use contracts::workspaces as wire;
use contracts::{CallContext, status_of, with_made, with_position};
use eventlog::sql;
use tonic::{Request, Response, Status};
use vocabulary::{Problem, names};

use super::{Api, stream};
use crate::workspace::{Command, Workspace, WorkspaceEvent};

fn shown(state: &Workspace, version: i64) -> Option<wire::Workspace> {
    state.created_at.map(|at| wire::Workspace {
        name: state.name.clone(),
        tags: state.tags.clone(),
        region: state.region.clone(),
        deleted_at: state.deleted_at.map(|at| at.to_string()).unwrap_or_default(),
        created_at: at.to_string(),
        version,
    })
}

fn absent(name: &str) -> Status {
    status_of(&Problem::new(404, "NotFound", format!("workspace '{name}'")))
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
        documents::texts::check(&wanted.tags, "tags").map_err(|problem| status_of(&problem))?;
        if let Some(wrong) = names::title(&wanted.region).filter(|_| !wanted.region.is_empty()) {
            return Err(status_of(&Problem::invalid("/region", "BadName", wrong)));
        }
        let (tags, region, at) = (wanted.tags, wanted.region, self.clock.now());
        let command = Command::Create { name: wanted.name.clone(), tags, region, at };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let reply_of = |_: &Workspace, events: &[WorkspaceEvent]| calls::made(!events.is_empty());
        let stream = stream(&wanted.name);
        let executed = self.log.execute_answering(&stream, command, context, reply_of);
        let committed = executed.await.map_err(calls::refused)?;
        let answer = with_position(self.look(&wanted.name).await?, committed.position);
        Ok(with_made(answer, committed.reply == calls::MADE))
    }

    pub(super) async fn delete_workspace(
        &self,
        request: Request<wire::GetWorkspaceRequest>,
    ) -> Result<Response<wire::Workspace>, Status> {
        let call = CallContext::of(&request);
        let name = request.into_inner().name;
        let command = Command::Delete { name: name.clone(), at: self.clock.now() };
        let context = calls::context(&call, self.entropy.as_ref(), Vec::new());
        let committed =
            self.log.execute::<Workspace>(&stream(&name), command, context).await.map_err(calls::refused)?;
        Ok(with_position(self.look_also_deleted(&name).await?, committed.position))
    }

    async fn look(&self, name: &str) -> Result<wire::Workspace, Status> {
        let found = self.look_also_deleted(name).await?;
        if found.deleted_at.is_empty() { Ok(found) } else { Err(absent(name)) }
    }

    async fn look_also_deleted(&self, name: &str) -> Result<wire::Workspace, Status> {
        let found = self.log.inspect::<Workspace, _>(&stream(name), shown).await.map_err(calls::unreadable)?;
        found.ok_or_else(|| absent(name))
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
            .bind(size + 1)
            .fetch_all(self.log.reader())
            .await
            .map_err(calls::unreadable)?;
        let mut workspaces = calls::Page::of(size);
        for name in &names {
            if !workspaces.push(self.look(name).await?) {
                break;
            }
        }
        let (workspaces, more) = workspaces.finish();
        let next_page_token = workspaces.last().filter(|_| more).map(|last| last.name.clone()).unwrap_or_default();
        Ok(Response::new(wire::ListWorkspacesReply { workspaces, next_page_token }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use prost::Message;
    use vocabulary::{ManualClock, SeededEntropy};

    use super::*;

    #[tokio::test]
    async fn workspaces_with_many_tags_can_be_listed() {
        // Whoever may make workspaces could make their list unreadable for all.
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("db")).unwrap();
        let dependencies = crate::Dependencies {
            stores: testkit::stores(&folder.path().join("db")),
            clock: Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)),
            entropy: Arc::new(SeededEntropy::new(7)),
        };
        let api = crate::open(dependencies).await.unwrap().api;
        let tags = |count: usize| -> BTreeMap<String, String> {
            (0..count).map(|number| (format!("note-{number}"), "x".repeat(64 << 10))).collect()
        };
        let put = |number: usize, count| {
            let (name, tags) = (format!("w{number}"), tags(count));
            let request = wire::PutWorkspaceRequest { name, tags, region: String::new() };
            api.put_workspace(Request::new(request))
        };
        let refused = contracts::problem_of(&put(0, 17).await.unwrap_err());
        assert_eq!((refused.status, refused.code.as_str()), (422, "TooLarge"));
        for number in 0..9 {
            put(number, 15).await.unwrap();
        }
        let (mut found, mut page_token) = (Vec::new(), String::new());
        for _ in 0..3 {
            let request = wire::ListWorkspacesRequest { page_size: 1000, page_token };
            let reply = api.list_workspaces(Request::new(request)).await.unwrap().into_inner();
            assert!(reply.encoded_len() < contracts::peer::MESSAGE_BYTES_MAX);
            found.extend(reply.workspaces.into_iter().map(|workspace| workspace.name));
            page_token = reply.next_page_token;
        }
        assert_eq!((found.len(), page_token.as_str()), (9, ""));
    }
}
