//! The calls of the service.

mod tokens;
mod workspaces;

use std::sync::Arc;

pub(crate) use tokens::new_token_text;

use contracts::workspaces as wire;
use contracts::workspaces::workspaces_service_server::WorkspacesService;
use eventlog::EventLog;
use tonic::{Request, Response, Status};
use vocabulary::{Clock, Entropy};

/// What each call needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The stream of a workspace; tokens without one belong to the installation.
fn stream(workspace: &str) -> String {
    if workspace.is_empty() { crate::INSTALLATION.to_owned() } else { format!("workspace-{workspace}") }
}

#[tonic::async_trait]
impl WorkspacesService for Api {
    async fn put_workspace(
        &self,
        request: Request<wire::PutWorkspaceRequest>,
    ) -> Result<Response<wire::Workspace>, Status> {
        self.put(request).await
    }
    async fn get_workspace(
        &self,
        request: Request<wire::GetWorkspaceRequest>,
    ) -> Result<Response<wire::Workspace>, Status> {
        self.get(request).await
    }
    async fn list_workspaces(
        &self,
        request: Request<wire::ListWorkspacesRequest>,
    ) -> Result<Response<wire::ListWorkspacesReply>, Status> {
        self.list(request).await
    }
    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreatedToken>, Status> {
        self.create(request).await
    }
    async fn list_tokens(
        &self,
        request: Request<wire::ListTokensRequest>,
    ) -> Result<Response<wire::ListTokensReply>, Status> {
        self.tokens(request).await
    }
    async fn revoke_token(
        &self,
        request: Request<wire::RevokeTokenRequest>,
    ) -> Result<Response<wire::RevokeTokenReply>, Status> {
        self.revoke(request).await
    }
}
