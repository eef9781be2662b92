//! Objects by content: the same on each store.

use futures_util::TryStreamExt;

use super::artifacts::{get, head, put, recorded, sha256};
use super::*;

/// Each story in a folder, and in S3.
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod in_a_folder {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Fixture::new().await).await;
            })+
        }

        #[cfg(feature = "s3")]
        mod in_a_bucket {
            $(#[tokio::test]
            async fn $name() {
                if let Some(fixture) = super::in_s3::fixture().await {
                    super::$name(fixture).await;
                }
            })+
        }
    };
}

on_each_store! {
    what_is_damaged_is_served_to_nobody_as_whole,
    damaged_objects_are_found_before_anybody_needs_them,
    an_object_is_what_its_hash_says,
    wrong_content_is_refused_and_leaves_nothing,
    an_object_that_is_put_again_is_whole_again,
}

/// Reads an object through the call; how many bytes came.
async fn read(fixture: &Fixture, sha256: &str, offset: u64, length: u64) -> Result<usize, Problem> {
    let request = GetObjectRequest { sha256: sha256.into(), offset, length, workspace: WORKSPACE.into() };
    let chunks = answer(fixture.api.get_object(Request::new(request)).await)?;
    let sizes = chunks.map_ok(|chunk| chunk.data.len()).map_err(|status| contracts::problem_of(&status));
    sizes.try_fold(0, |sum, size| async move { Ok(sum + size) }).await
}

async fn what_is_damaged_is_served_to_nobody_as_whole(fixture: Fixture) {
    // A disk that loses bits must not turn one model into another.
    let data = vec![7; 2_500_000];
    let sha256 = put(&fixture, "", &data).await.unwrap().sha256;
    let hash = Hash::parse(&sha256).unwrap();
    assert_eq!(read(&fixture, &sha256, 0, 0).await.unwrap(), data.len());
    let damages = [&data[..2_400_000], &[&data[..2_499_999], &[8]].concat(), b""];
    for damage in damages {
        fixture.objects.overwrite(&hash, damage).await;
        let problem = read(&fixture, &sha256, 0, 0).await.unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (500, "ObjectDamaged"), "{problem}");
        assert!(problem.detail.contains(&sha256), "{problem}");
    }
    put(&fixture, "", &data).await.unwrap();
    assert_eq!(read(&fixture, &sha256, 0, 0).await.unwrap(), data.len(), "what is put again is whole");
}

#[tokio::test]
async fn a_link_in_the_place_of_an_object_is_served_to_nobody() {
    // It would make a file of the machine an artifact.
    let fixture = Fixture::new().await;
    let hash = put(&fixture, "", b"content").await.unwrap().sha256;
    let file = fixture.folder.path().join(format!("objects/sha256/{}/{hash}", &hash[..2]));
    let elsewhere = fixture.folder.path().join("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert_eq!(code(read(&fixture, &hash, 0, 0).await), (500, "ObjectDamaged".into()));
    assert_eq!(code(read(&fixture, &hash, 0, 3).await), (500, "ObjectDamaged".into()));
    put(&fixture, "", b"content").await.unwrap();
    assert_eq!(read(&fixture, &hash, 0, 0).await.unwrap(), 7, "what is put again is whole");
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

/// What the doctor says.
async fn faults(fixture: &Fixture, contents: bool) -> Vec<String> {
    let own = (&fixture.objects, fixture.log().source());
    crate::examine::object_faults(fixture.log().reader(), own, contents).await.unwrap()
}

fn about(faults: &[String], hash: &str, word: &str) -> bool {
    faults.iter().any(|fault| fault.contains(hash) && fault.contains(word))
}

async fn artifact(fixture: &Fixture, run: &str, content: &[u8]) -> String {
    let hash = put(fixture, "", content).await.unwrap().sha256;
    let mut request = recorded(WORKSPACE, run, &hash);
    request.artifacts[0].path.clone_from(&hash);
    answer(fixture.api.record_artifacts(Request::new(request)).await).unwrap();
    hash
}

async fn damaged_objects_are_found_before_anybody_needs_them(fixture: Fixture) {
    let (run, mut hashes) = (fixture.own_run().await, Vec::new());
    for content in [b"missing".as_slice(), b"short", b"changed", b"sound"] {
        hashes.push(artifact(&fixture, &run, content).await);
    }
    assert_eq!(faults(&fixture, true).await, [""; 0]);
    let place = |place: usize| Hash::parse(&hashes[place]).unwrap();
    fixture.objects.remove(&place(0)).await.unwrap();
    fixture.objects.overwrite(&place(1), b"shor").await;
    fixture.objects.overwrite(&place(2), b"chanced").await;
    let found = faults(&fixture, true).await;
    let words = ["is missing", "4 bytes", "another hash"];
    for (hash, word) in hashes.iter().zip(words) {
        assert!(about(&found, hash, word), "{word}: {found:#?}");
    }
    assert!(!about(&found, &hashes[3], ""), "{found:#?}");
    let quick = faults(&fixture, false).await;
    assert!(about(&quick, &hashes[0], words[0]) && about(&quick, &hashes[1], words[1]), "{quick:#?}");
    assert!(!quick.iter().any(|fault| fault.contains(words[2])), "contents are left out: {quick:#?}");
}

#[tokio::test]
async fn a_link_in_the_place_of_an_object_is_found() {
    let fixture = Fixture::new().await;
    let run = fixture.own_run().await;
    let hash = artifact(&fixture, &run, b"a link").await;
    let folder = fixture.folder.path().join("objects");
    let file = folder.join(format!("sha256/{}/{hash}", &hash[..2]));
    std::fs::rename(&file, folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), &file).unwrap();
    for contents in [true, false] {
        let found = faults(&fixture, contents).await;
        assert!(about(&found, &hash, "is no file"), "{found:#?}");
    }
}

async fn an_object_is_what_its_hash_says(fixture: Fixture) {
    // Code and models are found by hash: what is there must be what was sent, to the byte.
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let hash = sha256(&data);
    let facts = put(&fixture, &hash, &data).await.unwrap();
    assert_eq!(facts, ObjectFacts { sha256: hash.clone(), size_bytes: 3_000_000 });
    assert!(fixture.has(&hash).await);
    assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), data);
    assert_eq!(get(&fixture, &format!("sha256:{hash}"), 2_000_000, 5).await.unwrap(), data[2_000_000..2_000_005]);
    assert_eq!(get(&fixture, &hash, 2_999_999, 10).await.unwrap(), data[2_999_999..]);
    assert_eq!(code(get(&fixture, &hash, 3_000_001, 0).await), (416, "RangeNotSatisfiable".into()));
    assert_eq!(put(&fixture, "", &data).await.unwrap(), facts, "whatever comes");
    assert_eq!(put(&fixture, "", b"").await.unwrap().sha256, sha256(b""));
    assert_eq!(get(&fixture, &sha256(b""), 0, 0).await.unwrap(), b"");
}

#[tokio::test]
async fn an_object_is_found_in_the_folder_by_its_hash() {
    // Who makes a backup of the folder, or puts one back, needs no other program for it.
    let fixture = Fixture::new().await;
    let hash = put(&fixture, "", b"content").await.unwrap().sha256;
    let file = fixture.folder.path().join("objects/sha256").join(&hash[..2]).join(&hash);
    assert_eq!(std::fs::read(file).unwrap(), b"content");
}

async fn wrong_content_is_refused_and_leaves_nothing(fixture: Fixture) {
    // A broken upload must not stand under a good hash, whether or not the object is here already.
    let hash = sha256(b"right");
    assert_eq!(code(put(&fixture, &hash, b"wrong").await), (422, "HashMismatch".into()));
    assert_eq!(code(head(&fixture, WORKSPACE, &hash).await), (404, "NotFound".into()));
    put(&fixture, &hash, b"right").await.unwrap();
    assert_eq!(code(put(&fixture, &hash, b"wrong").await), (422, "HashMismatch".into()));
    assert_eq!(head(&fixture, WORKSPACE, &hash).await.unwrap().size_bytes, 5);
    assert_eq!(code(put(&fixture, "../../etc", b"x").await), (422, "BadHash".into()));
    assert_eq!(fixture.objects.staged().await, [""; 0]);
    let files = std::fs::read_dir(fixture.folder.path().join("objects/incoming"));
    assert_eq!(files.map(Iterator::count).unwrap_or(0), 0, "nothing staged is left");
}

async fn an_object_that_is_put_again_is_whole_again(fixture: Fixture) {
    // A full disk or a crash may have cut it short, or its bytes have rotted: who sends it again heals it.
    let sha256 = sha256(b"all of it");
    let hash = Hash::parse(&sha256).unwrap();
    put(&fixture, &sha256, b"all of it").await.unwrap();
    for damaged in ["all", "all of IT", ""] {
        fixture.objects.overwrite(&hash, damaged.as_bytes()).await;
        let facts = put(&fixture, &sha256, b"all of it").await.unwrap();
        assert_eq!(facts.size_bytes, 9);
        assert_eq!(get(&fixture, &sha256, 0, 0).await.unwrap(), b"all of it", "it was {damaged:?}");
    }
}
