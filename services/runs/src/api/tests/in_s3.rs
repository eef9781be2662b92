//! What is S3's own: parts, copies, a server that is away, several processes and installations.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use runtime::{MachineClock, MachineEntropy};
use vocabulary::{Clock, Entropy};

use super::artifacts::{get, head, put, sha256};
use super::*;
use crate::objects::S3;

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place in the bucket that is nobody's yet, and how it is reached.
struct Bucket {
    endpoint: String,
    prefix: String,
}

impl Bucket {
    fn new() -> Option<Self> {
        let endpoint = testkit::s3()?;
        Some(Self { endpoint, prefix: format!("t{}", MachineEntropy::default().uuid().simple()) })
    }

    fn settings(&self) -> S3 {
        S3 {
            url: format!("s3://trialog/{}", self.prefix),
            endpoint: self.endpoint.clone(),
            access_key_id: "test".into(),
            secret_access_key: "test".into(),
            allow_http: true,
            ..S3::default()
        }
    }

    fn objects(&self) -> Objects {
        Objects::s3(&self.settings()).unwrap()
    }

    /// Uploads that were begun and are neither finished nor given up.
    async fn uploads(&self) -> usize {
        let url = format!("{}/trialog?uploads", self.endpoint);
        let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
        answer.matches(&self.prefix).count()
    }

    async fn await_uploads(&self, wanted: impl Fn(usize) -> bool) {
        let looked = async {
            while !wanted(self.uploads().await) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, looked).await.expect("uploads as they are wanted");
    }
}

/// A clock that shows what S3's does.
fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(MachineClock.now()))
}

async fn in_bucket(bucket: &Bucket, clock: Arc<ManualClock>) -> Fixture {
    Fixture::in_place(tempfile::tempdir().unwrap(), 1, clock, bucket.objects()).await.unwrap()
}

/// A service whose objects are in S3; `None` where there is none and it is not required.
pub(super) async fn fixture() -> Option<Fixture> {
    Some(in_bucket(&Bucket::new()?, clock()).await)
}

/// More than two parts.
fn large(seed: u8) -> Vec<u8> {
    (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect()
}

type Content = Result<Bytes, Problem>;

fn content(data: &[u8]) -> impl futures_util::Stream<Item = Content> + Unpin + use<> {
    let chunks: Vec<Content> = data.chunks(1_000_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    stream::iter(chunks)
}

#[tokio::test]
async fn what_is_larger_than_a_part_is_seen_when_it_is_whole_and_checked() {
    let Some(bucket) = Bucket::new() else { return };
    let (objects, entropy) = (bucket.objects(), SeededEntropy::new(1));
    // S3 copies what was staged; what is larger than it copies is carried.
    for (seed, objects) in [(1, objects.clone()), (2, objects.copying_at_most(1_000_000))] {
        let data = large(seed);
        let hash = Hash::parse(&sha256(&data)).unwrap();
        let mut wrong = data.clone();
        wrong[19_999_999] ^= 1;
        let refused = objects.put(Some(hash.clone()), content(&wrong), &entropy).await.unwrap_err();
        assert_eq!(refused.code, "HashMismatch");
        assert_eq!(objects.size(&hash).await.unwrap(), None);
        let put = objects.put(Some(hash.clone()), content(&data), &entropy).await.unwrap();
        assert_eq!(put, (hash.clone(), 20_000_000));
        let parts: Vec<_> = objects.clone().read(hash, 20_000_000, 0, 20_000_000).collect().await;
        let read: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap()).collect();
        assert!(read == data, "what was put is what is read");
    }
    assert_eq!((objects.staged().await, bucket.uploads().await), (Vec::new(), 0));
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing_visible() {
    let Some(bucket) = Bucket::new() else { return };
    let (objects, data) = (bucket.objects(), large(3));
    let cut = content(&data[..18_000_000]).chain(stream::iter([Err(Problem::new(499, "Cut", "the caller is gone"))]));
    let refused = objects.put(None, cut, &SeededEntropy::new(1)).await.unwrap_err();
    assert_eq!(refused.code, "Cut");
    assert_eq!((objects.staged().await, bucket.uploads().await), (Vec::new(), 0));
    // A caller that goes away takes the call with it, wherever that stands.
    let stands = content(&data[..18_000_000]).chain(stream::pending());
    let call = {
        let objects = objects.clone();
        tokio::spawn(async move { objects.put(None, stands, &SeededEntropy::new(2)).await })
    };
    bucket.await_uploads(|count| count > 0).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    bucket.await_uploads(|count| count == 0).await;
    assert_eq!((objects.staged().await, objects.content().await.unwrap().count), (Vec::new(), 0));
}

#[tokio::test]
async fn a_store_that_is_away_or_stands_still_is_said_to_be_away() {
    // A caller that is told tries again; one that waits for minutes is cut by what is between.
    let listens = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stands_still = listens.local_addr().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hash = Hash::parse(&sha256(b"x")).unwrap();
    let asked = [closed, stands_still].map(|address| {
        let bucket = Bucket { endpoint: format!("http://{address}"), prefix: "away".into() };
        let (objects, hash) = (bucket.objects(), hash.clone());
        async move {
            let entropy = SeededEntropy::new(1);
            let put = objects.put(None, content(b"x"), &entropy).await.unwrap_err();
            let found = objects.size(&hash).await.unwrap_err();
            [put, found].map(|problem| (problem.status, problem.code, problem.retry_after_seconds))
        }
    });
    // Four calls, of which each pair is made at once.
    let answers = tokio::time::timeout(PATIENCE, futures_util::future::join_all(asked)).await.unwrap();
    for answer in answers.into_iter().flatten() {
        assert_eq!(answer, (503, "ObjectsUnavailable".into(), Some(1)));
    }
}

/// Lets the collection find an object, as the deletion of its run does.
async fn release(fixture: &Fixture, sha256: &str) {
    let (id, sha256) = (MachineEntropy::default().uuid(), sha256.to_owned());
    let context = eventlog::Context::new(id, "release", String::new());
    let stream = crate::experiment::stream("");
    let recorded = fixture.log().record::<crate::experiment::Experiments, _>(&stream, None, context, move |_, tx| {
        let sha256 = sha256.clone();
        Box::pin(async move {
            let release = "INSERT INTO released_objects(sha256) VALUES ($1)";
            eventlog::sql(release).bind(sha256).execute(tx).await?;
            Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    recorded.await.unwrap();
}

#[tokio::test]
async fn what_nobody_has_is_removed_when_it_is_old_and_by_one_process_only() {
    let Some(bucket) = Bucket::new() else { return };
    let clock = clock();
    let fixture = in_bucket(&bucket, clock.clone()).await;
    clock.advance_us(60_000_000);
    let hash = put(&fixture, "", b"released").await.unwrap().sha256;
    release(&fixture, &hash).await;
    crate::collection::collect(&fixture.api.0).await.unwrap();
    assert!(fixture.has(&hash).await, "who has put it may be about to name it");
    clock.advance_us(2 * 3_600_000_000);
    crate::collection::collect(&fixture.api.0).await.unwrap();
    assert!(!fixture.has(&hash).await);
    // The process before may still be removing what it had found to be nobody's, so that nothing is acknowledged on
    // its ground.
    release(&fixture, &hash).await;
    let folder = fixture.close().await;
    let fixture = Fixture::in_place(folder, 2, clock.clone(), bucket.objects()).await.unwrap();
    assert_eq!(code(put(&fixture, "", b"released").await), (503, "ObjectRemoved".into()));
    clock.advance_us(10_000_000);
    put(&fixture, "", b"released").await.unwrap();
    assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), b"released");
    assert_eq!(head(&fixture, WORKSPACE, &hash).await.unwrap().size_bytes, 8);
}

#[tokio::test]
async fn what_was_staged_and_never_got_its_name_is_swept_away_when_it_is_old() {
    let Some(bucket) = Bucket::new() else { return };
    let objects = bucket.objects();
    objects.stage("half").await;
    objects.begin().unwrap();
    let now = MachineClock.now();
    objects.sweep(now - SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(objects.staged().await, ["incoming/half"], "another process may be receiving it");
    objects.sweep(now + SignedDuration::from_hours(1)).await.unwrap();
    assert_eq!(objects.staged().await, [""; 0]);
}

#[tokio::test]
async fn a_log_and_a_place_that_do_not_belong_together_are_refused_at_the_start() {
    // Every object would be missing, or one installation would remove what another one has.
    let Some(bucket) = Bucket::new() else { return };
    let fixture = in_bucket(&bucket, clock()).await;
    let hash = put(&fixture, "", b"ours").await.unwrap().sha256;
    let start = async |folder, objects| Fixture::in_place(folder, 2, clock(), objects).await;
    let refused = async |folder, objects, words: &[&str]| {
        let error = start(folder, objects).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    };
    let other = tempfile::tempdir().unwrap();
    refused(other, bucket.objects(), &["two installations in one place", "Name another prefix"]).await;
    // The folder goes with what it is given to.
    let copy = |folder: &tempfile::TempDir| {
        let copy = tempfile::tempdir().unwrap();
        let copied = std::process::Command::new("cp").arg("-a").arg(folder.path().join(".")).arg(copy.path()).status();
        assert!(copied.unwrap().success());
        copy
    };
    let folder = fixture.close().await;
    let is_in_files = std::env::var_os("TRIALOG_TEST_STORE").is_none();
    if is_in_files {
        let local = Objects::local(&folder.path().join("objects")).unwrap();
        refused(copy(&folder), local, &["objects of this installation are in s3://", "[objects] url"]).await;
        let elsewhere = Bucket::new().unwrap();
        refused(copy(&folder), elsewhere.objects(), &["another place", "trialog move --config", "runs@"]).await;
    }
    let fixture = start(folder, bucket.objects()).await.unwrap();
    assert_eq!(get(&fixture, &hash, 0, 0).await.unwrap(), b"ours");
}

#[test]
fn what_s3_is_reached_by_is_refused_with_what_is_allowed() {
    let of = |change: fn(&mut S3)| {
        let bucket = Bucket { endpoint: "https://s3.lab".into(), prefix: "p".into() };
        let mut settings = bucket.settings();
        settings.allow_http = false;
        change(&mut settings);
        Objects::s3(&settings).map(|objects| objects.to_string()).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(of(|_| ()), Ok("s3://trialog/p".into()));
    let refused = |change, words: &str| {
        let error = of(change).unwrap_err();
        assert!(error.contains(words) && !error.contains("secret!"), "{error}");
    };
    refused(|s3| s3.url = "https://trialog".into(), "s3://BUCKET/PREFIX");
    refused(|s3| s3.url = "s3://".into(), "s3://BUCKET/PREFIX");
    refused(|s3| s3.endpoint = "http://s3.lab".into(), "objects.allow_http = true");
    refused(
        |s3| (s3.access_key_id, s3.secret_access_key) = (String::new(), "secret!".into()),
        "objects.access_key_id and objects.secret_access_key go together",
    );
}
