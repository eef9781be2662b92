//! What is left of the runs of a sweep that was deleted with them.

use std::time::{Duration, SystemTime};

use contracts::feed::Fact;
use contracts::sweeps::{SweepDeleted, TrialEnded, TrialProposed};
use feed::ReactError;
use prost::Message;
use sha2::{Digest, Sha256};

use super::artifacts::{head, put};
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
        crate::deletion::collect(&self.fixture.api.0).await.unwrap();
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
