//! A repeated request is answered as the first time, whatever has happened since.

use std::collections::BTreeMap;
use std::sync::Arc;

use contracts::models as wire;
use contracts::{CallContext, Peers, is_made};
use runtime::Shutdown;
use tonic::Request;
use uuid::Uuid;
use vocabulary::{ManualClock, SeededEntropy};

use super::Api;

async fn api(folder: &std::path::Path) -> Api {
    let dependencies = crate::Dependencies {
        stores: testkit::stores(folder),
        clock: Arc::new(ManualClock::new("2026-11-01T10:00:00Z".parse().unwrap())),
        entropy: Arc::new(SeededEntropy::new(7)),
        peers: Peers::default(),
        shutdown: Shutdown::new(),
    };
    crate::open(dependencies).await.unwrap().api
}

/// A request under a key.
fn keyed<T>(key: u128, message: T) -> Request<T> {
    let command_id = Some(Uuid::from_u128(key));
    CallContext { command_id, request_hash: Some([1; 32]), ..CallContext::default() }.attach(message)
}

fn register() -> wire::RegisterVersionRequest {
    let file = contracts::compute::ModelFile { path: "m.json".into(), sha256: "ab".repeat(32), size_bytes: 3 };
    wire::RegisterVersionRequest {
        workspace: "w".into(),
        model: "m".into(),
        run_id: vocabulary::RunId::new(Uuid::from_u128(1)).to_string(),
        artifact_path: "outputs/model".into(),
        resolved: Some(wire::ResolvedArtifact {
            run_state: "Completed".into(),
            files: vec![file],
            ..wire::ResolvedArtifact::default()
        }),
        ..wire::RegisterVersionRequest::default()
    }
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_time() {
    // It was answered with what others had made of it meanwhile, under the position of the first time.
    let folder = tempfile::tempdir().unwrap();
    let api = api(folder.path()).await;
    let registered = api.register_version(keyed(1, register())).await.unwrap().into_inner();
    let tags = |stage: &str| BTreeMap::from([("stage".to_owned(), stage.to_owned())]);
    let (workspace, model) = ("w".to_owned(), "m".to_owned());
    let version = |stage: &str| wire::UpdateVersionRequest {
        workspace: workspace.clone(),
        model: model.clone(),
        version: 1,
        tags: tags(stage),
        ..wire::UpdateVersionRequest::default()
    };
    let whole = |stage: &str| wire::UpdateModelRequest {
        workspace: workspace.clone(),
        model: model.clone(),
        tags: tags(stage),
        ..wire::UpdateModelRequest::default()
    };
    let alias = |reason: &str, version: i64| wire::SetAliasRequest {
        workspace: workspace.clone(),
        model: model.clone(),
        alias: "champion".to_owned(),
        version,
        reason: reason.to_owned(),
    };
    let changed = api.update_version(keyed(2, version("first"))).await.unwrap().into_inner();
    let of_model = api.update_model(keyed(3, whole("first"))).await.unwrap().into_inner();
    let pointed = api.set_alias(keyed(4, alias("first", 1))).await.unwrap();
    assert!(is_made(&pointed) && pointed.get_ref().reason == "first");

    api.register_version(keyed(11, register())).await.unwrap();
    api.update_version(keyed(12, version("second"))).await.unwrap();
    api.update_model(keyed(13, whole("second"))).await.unwrap();
    let moved = api.set_alias(keyed(14, alias("second", 2))).await.unwrap();
    assert!(!is_made(&moved) && moved.get_ref().version == 2);

    assert_eq!(api.register_version(keyed(1, register())).await.unwrap().into_inner(), registered);
    assert_eq!(api.update_version(keyed(2, version("first"))).await.unwrap().into_inner(), changed);
    assert_eq!(api.update_model(keyed(3, whole("first"))).await.unwrap().into_inner(), of_model);
    let again = api.set_alias(keyed(4, alias("first", 1))).await.unwrap();
    assert!(is_made(&again));
    assert_eq!(again.into_inner(), pointed.into_inner());
    let remove = || wire::RemoveAliasRequest {
        workspace: workspace.clone(),
        model: model.clone(),
        alias: "champion".to_owned(),
        reason: "gone".to_owned(),
    };
    let removed = api.remove_alias(keyed(5, remove())).await.unwrap().into_inner();
    api.set_alias(keyed(15, alias("third", 1))).await.unwrap();
    assert_eq!(api.remove_alias(keyed(5, remove())).await.unwrap().into_inner(), removed);
}
