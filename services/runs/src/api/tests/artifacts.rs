//! Objects by content, artifacts by path.

use contracts::NodeBearer;
use futures_util::{StreamExt, stream};
use sha2::Digest;

use super::metrics::next_attempt;
use super::*;
use crate::api::objects;

fn sha256(data: &[u8]) -> String {
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

async fn get(fixture: &Fixture, sha256: &str, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
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
async fn what_is_damaged_is_served_to_nobody_as_whole() {
    // A disk that loses bits must not turn one model into another, nor a link a file of the machine into an artifact.
    let fixture = Fixture::new().await;
    let data = vec![7; 2_500_000];
    let hash = put(&fixture, "", &data).await.unwrap().sha256;
    let file = fixture.folder.path().join(format!("objects/sha256/{}/{hash}", &hash[..2]));
    let read = async |offset, length| {
        let request = GetObjectRequest { sha256: hash.clone(), offset, length, workspace: WORKSPACE.into() };
        let chunks = answer(fixture.api.get_object(Request::new(request)).await)?;
        let chunks: Vec<_> = chunks.collect().await;
        let mut came = 0;
        for chunk in chunks {
            came += chunk.map_err(|status| contracts::problem_of(&status))?.data.len();
        }
        Ok::<_, Problem>(came)
    };
    assert_eq!(read(0, 0).await.unwrap(), data.len());
    let damages: [&dyn Fn(); 3] = [
        &|| std::fs::write(&file, &data[..2_400_000]).unwrap(),
        &|| std::fs::write(&file, [&data[..2_499_999], &[8]].concat()).unwrap(),
        &|| std::fs::write(&file, "").unwrap(),
    ];
    for damage in damages {
        damage();
        let problem = read(0, 0).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (500, "ObjectDamaged"), "{problem}");
        assert!(problem.detail.contains(&hash), "{problem}");
    }
    let elsewhere = fixture.folder.path().join("elsewhere");
    std::fs::write(&elsewhere, &data).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(code(read(0, 0).await), (500, "ObjectDamaged".into()));
    assert_eq!(code(read(0, 10).await), (500, "ObjectDamaged".into()));
    put(&fixture, "", &data).await.unwrap();
    assert_eq!(read(0, 0).await.unwrap(), data.len(), "what is put again is whole");
}

#[tokio::test]
async fn what_a_broken_end_left_half_received_is_gone_after_the_next_start() {
    // It would stay for ever, as large as it was.
    let fixture = Fixture::new().await;
    let staged = fixture.folder.path().join("objects/incoming/half");
    std::fs::create_dir_all(staged.parent().unwrap()).unwrap();
    std::fs::write(&staged, "half").unwrap();
    let fixture = fixture.reopen().await;
    assert!(!staged.exists() && fixture.folder.path().join("objects").exists());
}

#[tokio::test]
async fn damaged_objects_are_found_before_anybody_needs_them() {
    let fixture = Fixture::new().await;
    let folder = fixture.folder.path().join("objects");
    let (run, mut files) = (fixture.own_run().await, Vec::new());
    for content in [b"missing".as_slice(), b"short", b"changed", b"a link", b"sound"] {
        let hash = put(&fixture, "", content).await.unwrap().sha256;
        let mut request = recorded(WORKSPACE, &run, &hash);
        request.artifacts[0].path.clone_from(&hash);
        answer(fixture.api.record_artifacts(Request::new(request)).await).unwrap();
        files.push((folder.join(format!("sha256/{}/{hash}", &hash[..2])), hash));
    }
    let faults =
        async |contents| crate::examine::object_faults(fixture.log().reader(), &folder, contents).await.unwrap();
    assert_eq!(faults(true).await, [""; 0]);
    std::fs::remove_file(&files[0].0).unwrap();
    std::fs::write(&files[1].0, "shor").unwrap();
    std::fs::write(&files[2].0, "chanced").unwrap();
    std::fs::rename(&files[3].0, folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), &files[3].0).unwrap();
    let about = |faults: &[String], place: usize, word: &str| {
        let about: Vec<_> = faults.iter().filter(|fault| fault.contains(&files[place].1)).collect();
        !about.is_empty() && about.iter().any(|fault| fault.contains(word))
    };
    let found = faults(true).await;
    let words = ["is missing", "4 bytes", "has the hash", "is no file"];
    for (place, word) in words.into_iter().enumerate() {
        assert!(about(&found, place, word), "{word}: {found:#?}");
    }
    assert!(!found.iter().any(|fault| fault.contains(&files[4].1)), "{found:#?}");
    let quick = faults(false).await;
    assert!(about(&quick, 0, words[0]) && about(&quick, 1, words[1]) && about(&quick, 3, words[3]), "{quick:#?}");
    assert!(!quick.iter().any(|fault| fault.contains(words[2])), "contents are left out: {quick:#?}");
}

#[tokio::test]
async fn an_object_is_what_its_hash_says() {
    // Code and models are found by hash: what is there must be what was sent, to the byte.
    let fixture = Fixture::new().await;
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let hash = sha256(&data);
    let facts = put(&fixture, &hash, &data).await.unwrap();
    assert_eq!(facts, ObjectFacts { sha256: hash.clone(), size_bytes: 3_000_000 });
    assert!(fixture.folder.path().join("objects/sha256").join(&hash[..2]).join(&hash).is_file());
    assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), data);
    assert_eq!(get(&fixture, &format!("sha256:{hash}"), 2_000_000, 5).await.unwrap(), data[2_000_000..2_000_005]);
    assert_eq!(get(&fixture, &hash, 2_999_999, 10).await.unwrap(), data[2_999_999..]);
    assert_eq!(code(get(&fixture, &hash, 3_000_001, 0).await), (416, "RangeNotSatisfiable".into()));
    assert_eq!(put(&fixture, "", &data).await.unwrap(), facts, "whatever comes");
    assert_eq!(put(&fixture, "", b"").await.unwrap().sha256, sha256(b""));
    assert_eq!(get(&fixture, &sha256(b""), 0, 0).await.unwrap(), b"");
}

#[tokio::test]
async fn wrong_content_is_refused_and_leaves_nothing() {
    // A broken upload must not stand under a good hash, whether or not the object is here already.
    let fixture = Fixture::new().await;
    let hash = sha256(b"right");
    assert_eq!(code(put(&fixture, &hash, b"wrong").await), (422, "HashMismatch".into()));
    assert_eq!(code(head(&fixture, WORKSPACE, &hash).await), (404, "NotFound".into()));
    put(&fixture, &hash, b"right").await.unwrap();
    assert_eq!(code(put(&fixture, &hash, b"wrong").await), (422, "HashMismatch".into()));
    assert_eq!(head(&fixture, WORKSPACE, &hash).await.unwrap().size_bytes, 5);
    assert_eq!(code(put(&fixture, "../../etc", b"x").await), (422, "BadHash".into()));
    let files = std::fs::read_dir(fixture.folder.path().join("objects/incoming"));
    assert_eq!(files.map(Iterator::count).unwrap_or(0), 0, "nothing staged is left");
}

#[tokio::test]
async fn an_object_that_is_put_again_is_whole_again() {
    // A full disk or a crash may have cut it short, or its bytes have rotted: who sends it again heals it.
    let fixture = Fixture::new().await;
    let hash = sha256(b"all of it");
    put(&fixture, &hash, b"all of it").await.unwrap();
    let file = fixture.folder.path().join("objects/sha256").join(&hash[..2]).join(&hash);
    for damaged in ["all", "all of IT", ""] {
        std::fs::write(&file, damaged).unwrap();
        let facts = put(&fixture, &hash, b"all of it").await.unwrap();
        assert_eq!(facts.size_bytes, 9);
        assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), b"all of it", "it was {damaged:?}");
    }
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

fn recorded(workspace: &str, run_id: &str, sha256: &str) -> RecordArtifactsRequest {
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
