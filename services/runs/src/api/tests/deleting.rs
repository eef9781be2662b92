//! What is left of the runs of a sweep that was deleted with them.

use std::time::{Duration, SystemTime};

use contracts::feed::Fact;
use contracts::sweeps::{SweepDeleted, TrialEnded, TrialProposed};
use feed::ReactError;
use prost::Message;
use sha2::{Digest, Sha256};

use super::artifacts::{head, put, put_in};
use super::*;

const SWEEP: &str = "sweep_06CS0000000E00000000000000";

struct Bench {
    fixture: Fixture,
    position: std::sync::atomic::AtomicI64,
}

impl Bench {
    async fn tell(&self, kind: &str, message: &impl Message) -> Result<(), ReactError> {
        let fact = Fact {
            source: "sweeps@1".into(),
            position: self.position.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            r#type: kind.into(),
            recorded_at_us: 1_700_000_000_000_000,
            payload: message.encode_to_vec(),
            ..Fact::default()
        };
        for story in crate::reactions::all(&self.fixture.api.0).iter().filter(|story| story.service() == "sweeps") {
            story.handle(&fact).await?;
        }
        Ok(())
    }

    /// The run of an external trial, with a log and a metric.
    async fn trial(&self, index: u32) -> String {
        let run_id = vocabulary::RunId::new(Uuid::from_u128(0x70 + u128::from(index))).to_string();
        let proposed = TrialProposed {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: index,
            run_id: run_id.clone(),
            experiment: "digits".into(),
            ..TrialProposed::default()
        };
        self.tell("TrialProposed", &proposed).await.unwrap();
        self.fixture.append(&run_id, 0, "said\n").await.unwrap();
        let point = MetricPoint { name: "acc".into(), value: 0.5, ..MetricPoint::default() };
        let batch = RecordMetricsRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.clone(),
            metrics: vec![point],
            ..RecordMetricsRequest::default()
        };
        self.fixture.record(batch).await.unwrap();
        run_id
    }

    async fn nested_in(&self, parent: &str) -> String {
        let (workspace, parent_run_id) = (WORKSPACE.into(), parent.into());
        let request = CreateRunRequest { workspace, parent_run_id, ..CreateRunRequest::default() };
        self.fixture.api.create_run(Request::new(request)).await.unwrap().into_inner().run_id
    }

    async fn leaves(&self, run_id: &str, path: &str, sha256: &str) {
        let request = RecordArtifactsRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.into(),
            attempt: 1,
            artifacts: vec![Artifact { path: path.into(), sha256: sha256.into(), ..Artifact::default() }],
        };
        self.fixture.api.record_artifacts(Request::new(request)).await.unwrap();
    }

    async fn ends(&self, index: u32, run_id: &str) {
        let ended = TrialEnded {
            workspace: WORKSPACE.into(),
            sweep_id: SWEEP.into(),
            trial_index: index,
            run_id: run_id.into(),
            state: "Completed".into(),
            ..TrialEnded::default()
        };
        self.tell("TrialEnded", &ended).await.unwrap();
    }

    async fn deleted(&self) -> Result<(), ReactError> {
        let deleted = SweepDeleted { workspace: WORKSPACE.into(), sweep_id: SWEEP.into(), runs: true };
        self.tell("SweepDeleted", &deleted).await?;
        // As the task does that is woken.
        crate::collection::collect(&self.fixture.api.0).await.unwrap();
        Ok(())
    }

    /// Lets an object have been put long ago, by the clock of the service.
    fn ages(&self, sha256: &str) {
        let file = self.fixture.folder.path().join(format!("objects/sha256/{}/{sha256}", &sha256[..2]));
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        std::fs::File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
    }
}

#[tokio::test]
async fn a_deleted_run_leaves_its_history_and_what_others_have_too() {
    // Whoever deletes a sweep for its disk space must get that back, and nobody else may lose a model by it.
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    let (first, second) = (bench.trial(0).await, bench.trial(1).await);
    let plain = fixture.own_run().await;
    let mut hashes = Vec::new();
    for content in ["only here", "elsewhere too", "put a moment ago"] {
        let sha256 = put(fixture, "", content.as_bytes()).await.unwrap().sha256;
        bench.leaves(&first, content, &sha256).await;
        hashes.push(sha256);
    }
    bench.leaves(&plain, "the same", &hashes[1]).await;
    bench.ages(&hashes[0]);
    bench.ages(&hashes[1]);
    bench.ends(0, &first).await;
    let early = bench.deleted().await;
    assert!(matches!(early, Err(ReactError::Waits(_))), "a run still lives: {early:?}");
    bench.ends(1, &second).await;
    bench.deleted().await.unwrap();
    let list = ListRunsRequest { workspace: WORKSPACE.into(), sweep_id: SWEEP.into(), ..ListRunsRequest::default() };
    assert_eq!(fixture.api.list_runs(Request::new(list)).await.unwrap().into_inner().runs, []);
    for run in [&first, &second] {
        let seen = fixture.get(run).await;
        assert_eq!((seen.state.as_str(), seen.deleted_at.is_empty()), ("Completed", false), "lineage reads it");
        let (workspace, run_id) = (WORKSPACE.to_owned(), run.clone());
        let metrics = ListMetricsRequest { workspace: workspace.clone(), run_id: run_id.clone(), ..Default::default() };
        assert_eq!(code(answer(fixture.api.list_metrics(Request::new(metrics)).await)).0, 404);
        let artifacts = ListArtifactsRequest { workspace, run_id, ..ListArtifactsRequest::default() };
        assert_eq!(code(answer(fixture.api.list_artifacts(Request::new(artifacts)).await)).0, 404);
        assert_eq!(code(fixture.append(run, 5, "late\n").await).0, 404);
    }
    let rows: i64 = eventlog::sql("SELECT count(*) FROM log_chunks").fetch_one(fixture.log().reader()).await.unwrap();
    assert_eq!(rows, 0, "what they said is gone");
    assert_eq!(code(head(fixture, WORKSPACE, &hashes[0]).await).0, 404);
    let there = |sha256: &str| fixture.folder.path().join(format!("objects/sha256/{}/{sha256}", &sha256[..2])).exists();
    assert_eq!(hashes.iter().map(|sha256| there(sha256)).collect::<Vec<_>>(), [false, true, true]);
    assert!(head(fixture, WORKSPACE, &hashes[1]).await.is_ok(), "another run has it");
    assert!(head(fixture, WORKSPACE, &hashes[2]).await.is_ok(), "whoever has put it may be about to name it");
    bench.ages(&hashes[2]);
    bench.deleted().await.unwrap();
    assert!(!there(&hashes[2]), "nobody has named it meanwhile: it goes with the next look");
    assert!(fixture.get(&plain).await.deleted_at.is_empty());
}

#[tokio::test]
async fn what_is_acknowledged_as_there_is_not_removed_behind_the_answer() {
    // A model would be registered of a file that is gone.
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    let removing = fixture.api.0.naming.write().await;
    let sha256 = hex::encode(Sha256::digest(b"model"));
    let file = fixture.folder.path().join(format!("objects/sha256/{}/{sha256}", &sha256[..2]));
    let removes = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
        // It was looked at before it came: nobody named the one before it.
        std::fs::remove_file(&file).unwrap();
        drop(removing);
    };
    let (refused, ()) = tokio::join!(put(fixture, "", b"model"), removes);
    assert_eq!(code(refused), (503, "ObjectRemoved".to_owned()));
    assert!(put(fixture, "", b"model").await.is_ok());
}

#[tokio::test]
async fn a_trial_that_is_told_of_after_its_sweep_was_deleted_goes_when_it_ends() {
    // Lanes do not wait for each other, and a parked one is tried again days later.
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    bench.deleted().await.unwrap();
    let run = bench.trial(0).await;
    assert!(fixture.get(&run).await.deleted_at.is_empty());
    bench.ends(0, &run).await;
    assert!(!fixture.get(&run).await.deleted_at.is_empty());
}

#[tokio::test]
async fn what_is_nested_in_a_trial_goes_with_it_unless_it_goes_on() {
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    let trial = bench.trial(0).await;
    let (ended, goes_on) = (bench.nested_in(&trial).await, bench.nested_in(&trial).await);
    let below = bench.nested_in(&ended).await;
    bench.ends(0, &trial).await;
    for run in [&ended, &below] {
        fixture.end(run, "Completed").await.unwrap();
    }
    bench.deleted().await.unwrap();
    let mut gone = Vec::new();
    for run in [&trial, &ended, &below, &goes_on] {
        gone.push(!fixture.get(run).await.deleted_at.is_empty());
    }
    assert_eq!(gone, [true, true, true, false]);
}

#[tokio::test]
async fn the_objects_of_a_version_stay_when_the_run_goes() {
    // Between the look at who uses a sweep and its end somebody registers its best model.
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    let run = bench.trial(0).await;
    let mut hashes = Vec::new();
    for content in ["model", "notes"] {
        let sha256 = put(fixture, "", content.as_bytes()).await.unwrap().sha256;
        bench.leaves(&run, content, &sha256).await;
        bench.ages(&sha256);
        hashes.push(sha256);
    }
    let keep = |workspace: &str, sha256: &str| {
        let request = KeepObjectsRequest { workspace: workspace.into(), sha256: vec![sha256.into()] };
        fixture.api.keep_objects(Request::new(request))
    };
    assert_eq!(code(answer(keep("another", &hashes[0]).await)), (409, "ObjectGone".to_owned()));
    keep(WORKSPACE, &hashes[0]).await.unwrap();
    bench.ends(0, &run).await;
    bench.deleted().await.unwrap();
    assert!(head(fixture, WORKSPACE, &hashes[0]).await.is_ok());
    assert_eq!(code(head(fixture, WORKSPACE, &hashes[1]).await).0, 404);
    assert_eq!(code(answer(keep(WORKSPACE, &hashes[1]).await)), (409, "ObjectGone".to_owned()));
}

#[tokio::test]
async fn what_another_workspace_has_put_is_not_taken_from_it() {
    // Two who have the same file know nothing of each other.
    let bench = Bench { fixture: Fixture::new().await, position: 1.into() };
    let fixture = &bench.fixture;
    let run = bench.trial(0).await;
    let sha256 = put(fixture, &hex::encode(Sha256::digest(b"weights")), b"weights").await.unwrap().sha256;
    assert_eq!(put_in(fixture, "another", &sha256, b"weights").await.unwrap().sha256, sha256);
    let mine = put(fixture, "", b"only an artifact").await.unwrap().sha256;
    for (path, hash) in [("weights", &sha256), ("artifact", &mine)] {
        bench.leaves(&run, path, hash).await;
        bench.ages(hash);
    }
    bench.ends(0, &run).await;
    bench.deleted().await.unwrap();
    assert!(head(fixture, "another", &sha256).await.is_ok());
    assert!(head(fixture, WORKSPACE, &sha256).await.is_ok(), "it has put it by its hash, too");
    assert_eq!(code(head(fixture, WORKSPACE, &mine).await).0, 404);
}
