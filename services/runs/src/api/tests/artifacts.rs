//! Artifacts by path, and who has their objects.

use contracts::NodeBearer;
use futures_util::{StreamExt, stream};
use sha2::Digest;

use super::metrics::next_attempt;
use super::*;
use crate::api::objects;

pub(super) fn sha256(data: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(data))
}

pub(super) async fn put(fixture: &Fixture, expected: &str, data: &[u8]) -> Result<ObjectFacts, Problem> {
    put_in(fixture, WORKSPACE, expected, data).await
}

pub(super) async fn put_in(
    fixture: &Fixture,
    workspace: &str,
    expected: &str,
    data: &[u8],
) -> Result<ObjectFacts, Problem> {
    let mut chunks: Vec<_> =
        data.chunks(300_000).map(|data| ObjectChunk { data: data.into(), ..Default::default() }).collect();
    if chunks.is_empty() {
        chunks.push(ObjectChunk::default());
    }
    chunks[0].sha256 = expected.into();
    chunks[0].workspace = workspace.into();
    let call = if workspace.is_empty() { agent() } else { CallContext::default() };
    answer(objects::put(&fixture.api.0, call, stream::iter(chunks.into_iter().map(Ok))).await)
}

/// The context of a node's agent, which proves it.
fn agent() -> CallContext {
    let secret = vocabulary::token::node_secret("node_1", &KEY);
    CallContext { node: Some(NodeBearer { node_id: "node_1".into(), secret }), ..CallContext::default() }
}

pub(super) async fn head(fixture: &Fixture, workspace: &str, sha256: &str) -> Result<ObjectFacts, Problem> {
    let request = HeadObjectRequest { sha256: sha256.into(), workspace: workspace.into() };
    answer(fixture.api.head_object(Request::new(request)).await)
}

pub(super) async fn get(fixture: &Fixture, sha256: &str, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
    get_in(fixture, WORKSPACE, sha256, offset, length).await
}

async fn get_in(
    fixture: &Fixture,
    workspace: &str,
    sha256: &str,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, Problem> {
    let request = GetObjectRequest { sha256: sha256.into(), offset, length, workspace: workspace.into() };
    let chunks = answer(fixture.api.get_object(Request::new(request)).await)?;
    Ok(chunks.flat_map(|chunk| stream::iter(chunk.unwrap().data)).collect().await)
}

#[tokio::test]
async fn artifacts_are_listed_by_folder() {
    // A model is registered from a folder of a run: the list must be exactly that folder.
    let fixture = Fixture::new().await;
    let run_id = fixture.own_run().await;
    let hash = put(&fixture, "", b"data").await.unwrap().sha256;
    let artifact =
        |path: &str, sha256: &str| Artifact { path: path.into(), sha256: sha256.into(), ..Artifact::default() };
    let record = |attempt, artifacts: Vec<Artifact>| {
        let request =
            RecordArtifactsRequest { workspace: WORKSPACE.into(), run_id: run_id.clone(), attempt, artifacts };
        async { answer(fixture.api.record_artifacts(Request::new(request)).await) }
    };
    let paths = ["model/a.bin", "model/b/c.bin", "model.txt", "model0", "z"];
    let reply = record(1, paths.iter().map(|path| artifact(path, &hash)).collect()).await.unwrap();
    assert_eq!(reply.recorded, 5);
    let list = |prefix: &str, page_size: i32, page_token: String| {
        let request = ListArtifactsRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.clone(),
            prefix: prefix.into(),
            page_size,
            page_token,
            superseded: false,
        };
        async {
            let reply = answer(fixture.api.list_artifacts(Request::new(request)).await).unwrap();
            (reply.artifacts.into_iter().map(|file| file.path).collect::<Vec<_>>(), reply.next_page_token)
        }
    };
    assert_eq!(list("model", 0, String::new()).await.0, ["model/a.bin", "model/b/c.bin"]);
    assert_eq!(list("model.txt", 0, String::new()).await.0, ["model.txt"]);
    let (first, token) = list("", 3, String::new()).await;
    assert_eq!(
        [first, list("", 3, token).await.0].concat(),
        ["model.txt", "model/a.bin", "model/b/c.bin", "model0", "z"]
    );
    let missing = sha256(b"never sent");
    let bad = ["/abs", "a/../b", "a//b", ""].map(|path| artifact(path, &hash)).into_iter();
    let refused = record(1, bad.chain([artifact("ok", &missing)]).collect()).await.unwrap_err();
    let codes: Vec<_> = refused.errors.iter().map(|error| error.code.as_str()).collect();
    assert_eq!(codes, ["BadPath", "BadPath", "BadPath", "BadPath", "ObjectMissing"]);
    assert_eq!(code(record(2, vec![artifact("x", &hash)]).await), (409, "StaleAttempt".into()));
}

const OTHER: &str = "other";

pub(super) fn recorded(workspace: &str, run_id: &str, sha256: &str) -> RecordArtifactsRequest {
    let artifact = Artifact { path: "m/a".into(), sha256: sha256.into(), ..Artifact::default() };
    RecordArtifactsRequest { workspace: workspace.into(), run_id: run_id.into(), attempt: 1, artifacts: vec![artifact] }
}

async fn run_in(fixture: &Fixture, workspace: &str, job: Option<JobSpec>) -> Result<Run, Problem> {
    let request = CreateRunRequest { workspace: workspace.into(), job, ..CreateRunRequest::default() };
    answer(fixture.api.create_run(Request::new(request)).await)
}

#[tokio::test]
async fn an_object_is_seen_by_the_workspaces_that_have_it() {
    // Who knows a hash must not be given the content, in no way that names it.
    let fixture = Fixture::new().await;
    let hash = put(&fixture, "", b"secret").await.unwrap().sha256;
    let own = fixture.own_run().await;
    let theirs = run_in(&fixture, OTHER, None).await.unwrap().run_id;
    for asked in [head(&fixture, OTHER, &hash).await.map(drop), get_in(&fixture, OTHER, &hash, 0, 0).await.map(drop)] {
        assert_eq!(code(asked), (404, "NotFound".into()));
    }
    let record = |request| async { answer(fixture.api.record_artifacts(Request::new(request)).await) };
    assert_eq!(code(record(recorded(OTHER, &theirs, &hash)).await), (422, "ObjectMissing".into()));
    let with_code = || Some(JobSpec { code_sha256: hash.clone(), ..job() });
    assert_eq!(code(run_in(&fixture, OTHER, with_code()).await), (404, "NotFound".into()));
    // Without a workspace only the platform's own agents ask, and they are told hashes that were looked up.
    assert_eq!(code(head(&fixture, "", &hash).await), (404, "NotFound".into()));
    let request = GetObjectRequest { sha256: hash.clone(), ..GetObjectRequest::default() };
    assert!(fixture.api.get_object(agent().attach(request)).await.is_ok());

    assert_eq!(record(recorded(WORKSPACE, &own, &hash)).await.unwrap().recorded, 1);
    assert_eq!(run_in(&fixture, WORKSPACE, with_code()).await.unwrap().job.unwrap().code_sha256, hash);
    // Who has sent the content has it, although the store had it before.
    put_in(&fixture, OTHER, "", b"secret").await.unwrap();
    assert_eq!(get_in(&fixture, OTHER, &hash, 0, 0).await.unwrap(), b"secret");
}

#[tokio::test]
async fn what_an_agent_brings_belongs_to_the_workspace_of_its_run() {
    let fixture = Fixture::new().await;
    let hash = put_in(&fixture, "", "", b"weights").await.unwrap().sha256;
    assert_eq!(code(head(&fixture, WORKSPACE, &hash).await), (404, "NotFound".into()));
    // What no node runs an agent has no business with.
    let own = fixture.own_run().await;
    let refused = fixture.api.record_artifacts(agent().attach(recorded(WORKSPACE, &own, &hash))).await;
    assert_eq!(code(answer(refused)), (404, "NotFound".into()));
    let run = fixture.watched_run().await;
    next_attempt(&fixture, &run, 1).await;
    let request = agent().attach(recorded(WORKSPACE, &run, &hash));
    assert_eq!(answer(fixture.api.record_artifacts(request).await).unwrap().recorded, 1);
    assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), b"weights");
    assert_eq!(code(head(&fixture, OTHER, &hash).await), (404, "NotFound".into()));
    let nobody = CallContext::default();
    let put = objects::put(&fixture.api.0, nobody, stream::iter([Ok(ObjectChunk::default())])).await;
    assert_eq!(code(answer(put)), (422, "Required".into()));
}

#[tokio::test]
async fn a_checkpoint_is_handed_over_within_its_workspace_only() {
    let fixture = Fixture::new().await;
    let run = fixture.watched_run().await;
    let from = |run: &str| Some(JobSpec { checkpoint_from: run.to_owned(), ..job() });
    assert_eq!(code(run_in(&fixture, OTHER, from(&run)).await), (404, "NotFound".into()));
    assert_eq!(code(run_in(&fixture, WORKSPACE, from("run_nonsense")).await), (404, "NotFound".into()));
    let hex = vocabulary::RunId::parse(&run).unwrap().hex();
    let taken = run_in(&fixture, WORKSPACE, from(&hex)).await.unwrap();
    assert_eq!(taken.job.unwrap().checkpoint_from, run, "agents know runs by their first spelling");
}

#[tokio::test]
async fn older_folders_keep_what_they_refer_to() {
    // The rows did not exist when these runs were made: artifacts and code are had all the same.
    let fixture = Fixture::new().await;
    let (artifact, code_hash, loose) =
        (sha256(b"artifact"), put(&fixture, "", b"code").await.unwrap().sha256, sha256(b"loose"));
    put(&fixture, "", b"artifact").await.unwrap();
    put(&fixture, "", b"loose").await.unwrap();
    let run = fixture.own_run().await;
    answer(fixture.api.record_artifacts(Request::new(recorded(WORKSPACE, &run, &artifact))).await).unwrap();
    run_in(&fixture, WORKSPACE, Some(JobSpec { code_sha256: code_hash.clone(), ..job() })).await.unwrap();
    let undone = eventlog::Context::new(Uuid::from_u128(77), "test", "");
    let undo = fixture.log().record::<crate::run::Run, _>("undo", None, undone, |_, tx| {
        Box::pin(async move {
            for undo in [
                "DROP TABLE object_owners",
                "DELETE FROM log_migrations WHERE name = '006_object_owners'",
                "DELETE FROM log_views WHERE name = 'object_owners'",
            ] {
                eventlog::sql(undo).execute(&mut *tx).await?;
            }
            Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    undo.await.unwrap();
    let fixture = fixture.reopen().await;
    assert_eq!(get(&fixture, &artifact, 0, 0).await.unwrap(), b"artifact");
    assert_eq!(get(&fixture, &code_hash, 0, 0).await.unwrap(), b"code");
    assert_eq!(code(head(&fixture, OTHER, &code_hash).await), (404, "NotFound".into()));
    assert_eq!(code(head(&fixture, WORKSPACE, &loose).await), (404, "NotFound".into()), "put again, it is there");
}
