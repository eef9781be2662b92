//! The calls of the service.

mod aliases;
mod models;
mod register_version;
mod versions;

use std::sync::Arc;

use contracts::models as wire;
use contracts::models::models_service_server::ModelsService;
use eventlog::EventLog;
use tonic::{Request, Response, Status};
use vocabulary::{Clock, Entropy, Problem};

/// What each call needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub log: EventLog,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// The stream of a model. Neither a workspace's nor a model's name holds a '/'.
fn stream(workspace: &str, model: &str) -> String {
    format!("model-{workspace}/{model}")
}

/// The answer about a model that is not there.
fn absent(workspace: &str, name: &str) -> Status {
    contracts::status_of(&Problem::not_found("model", name, workspace))
}

/// The workspace and the model of a stream.
pub(crate) fn names_of(stream: &str) -> (&str, &str) {
    stream.strip_prefix("model-").and_then(|rest| rest.split_once('/')).unwrap_or_default()
}

macro_rules! calls {
    ($($name:ident($request:ty) -> $reply:ty;)+) => {
        #[tonic::async_trait]
        impl ModelsService for Api {
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                self.$name(request).await
            })+
        }
    };
}

calls! {
    register_version(wire::RegisterVersionRequest) -> wire::ModelVersion;
    get_version(wire::GetVersionRequest) -> wire::ModelVersion;
    list_versions(wire::ListVersionsRequest) -> wire::ListVersionsReply;
    update_version(wire::UpdateVersionRequest) -> wire::ModelVersion;
    get_model(wire::GetModelRequest) -> wire::Model;
    list_models(wire::ListModelsRequest) -> wire::ListModelsReply;
    update_model(wire::UpdateModelRequest) -> wire::Model;
    set_alias(wire::SetAliasRequest) -> wire::Alias;
    remove_alias(wire::RemoveAliasRequest) -> wire::Alias;
    list_alias_history(wire::GetModelRequest) -> wire::ListAliasHistoryReply;
}
