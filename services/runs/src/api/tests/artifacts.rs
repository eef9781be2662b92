//! Objects by content, artifacts by path.

use futures_util::{StreamExt, stream};
use sha2::Digest;

use super::*;
use crate::api::objects;

fn sha256(data: &[u8]) -> String {
    hex::encode(sha2::Sha256::digest(data))
}

async fn put(fixture: &Fixture, expected: &str, data: &[u8]) -> Result<ObjectFacts, Problem> {
    let mut chunks: Vec<_> =
        data.chunks(300_000).map(|data| ObjectChunk { data: data.into(), ..Default::default() }).collect();
    if chunks.is_empty() {
        chunks.push(ObjectChunk::default());
    }
    chunks[0].sha256 = expected.into();
    answer(objects::put(&fixture.api.0, stream::iter(chunks.into_iter().map(Ok))).await)
}

async fn get(fixture: &Fixture, sha256: &str, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
    let request = GetObjectRequest { sha256: sha256.into(), offset, length };
    let chunks = answer(fixture.api.get_object(Request::new(request)).await)?;
    Ok(chunks.flat_map(|chunk| stream::iter(chunk.unwrap().data)).collect().await)
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
    let head = |hash: &str| {
        let request = HeadObjectRequest { sha256: hash.into() };
        async { answer(fixture.api.head_object(Request::new(request)).await) }
    };
    assert_eq!(code(head(&hash).await), (404, "NotFound".into()));
    put(&fixture, &hash, b"right").await.unwrap();
    assert_eq!(code(put(&fixture, &hash, b"wrong").await), (422, "HashMismatch".into()));
    assert_eq!(head(&hash).await.unwrap().size_bytes, 5);
    assert_eq!(code(put(&fixture, "../../etc", b"x").await), (422, "BadHash".into()));
    let files = std::fs::read_dir(fixture.folder.path().join("objects/incoming"));
    assert_eq!(files.map(Iterator::count).unwrap_or(0), 0, "nothing staged is left");
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
