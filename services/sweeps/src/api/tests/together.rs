//! The service with its tasks, against a `runs` that runs every trial at once: nobody calls but the user.

use std::sync::Arc;
use std::time::Duration;

use contracts::compute::JobEnd;
use contracts::feed::feed_service_server::FeedServiceServer;
use contracts::sweeps as wire;
use contracts::{Peers, runs as runs_wire};
use eventlog::{Context, EventLog, Options, RecordedEvent};
use feed::{FeedServer, Publication, Publish, Source};
use prost::Message;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::Request;
use uuid::Uuid;
use vocabulary::{Decider, ManualClock, SeededEntropy};

use super::{document, submission};
use crate::{Dependencies, ServerLimits, Service};

/// Trials of the sweep.
const TRIALS: u32 = 24;

/// A fact of `runs`, kept as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    kind: String,
    payload: Vec<u8>,
}
vocabulary::stored_events! {
    enum Telling { Told: 1 }
}

/// Says whatever it is told to say.
#[derive(Clone, Default)]
struct Runs;

impl Decider for Runs {
    type Command = Vec<Told>;
    type Event = Telling;
    type Rejection = ();

    fn decide(&self, facts: &Vec<Told>) -> Result<Vec<Telling>, ()> {
        Ok(facts.iter().cloned().map(Telling::Told).collect())
    }

    fn evolve(&mut self, _: &Telling) {}
}

struct Teller;

impl Publish for Teller {
    fn publish(&self, event: &RecordedEvent) -> Result<Option<Publication>, String> {
        let Telling::Told(told) = event.decode().map_err(|error| error.to_string())?;
        let known = ["RunStateChanged", "MetricReported", "RunEnded"];
        let kind = known.into_iter().find(|kind| *kind == told.kind).ok_or("an unknown fact")?;
        Ok(Some(Publication { kind, payload: told.payload, about: Default::default() }))
    }
}

fn told(kind: &str, message: &impl Message) -> Told {
    Told { kind: kind.into(), payload: message.encode_to_vec() }
}

/// The life of a trial that reports three values; later trials are better.
fn life(proposed: &wire::TrialProposed) -> Vec<Told> {
    let (sweep_id, trial_index) = (proposed.sweep_id.clone(), Some(proposed.trial_index));
    let (run_id, attempt) = (proposed.run_id.clone(), 1);
    let mut facts = vec![told(
        "RunStateChanged",
        &runs_wire::RunStateChanged {
            sweep_id: sweep_id.clone(),
            trial_index,
            run_id: run_id.clone(),
            state: "Running".into(),
            attempt,
            ..Default::default()
        },
    )];
    for step in 0..3 {
        let value = f64::from(proposed.trial_index) + f64::from(step) / 10.0;
        let (name, step) = ("val_acc".to_owned(), i64::from(step));
        let points = vec![runs_wire::ReportedPoint { name, step, value, timestamp_ms: 0 }];
        let report = runs_wire::MetricReported {
            sweep_id: sweep_id.clone(),
            trial_index,
            run_id: run_id.clone(),
            attempt,
            points,
            ..Default::default()
        };
        facts.push(told("MetricReported", &report));
    }
    let end = Some(JobEnd { outcome: "completed".into(), ..Default::default() });
    let ended = runs_wire::RunEnded { sweep_id, trial_index, run_id, attempt, end, ..Default::default() };
    facts.push(told("RunEnded", &ended));
    facts
}

/// Answers every proposal with the trial's whole life.
async fn play(sweeps: EventLog, runs: EventLog) {
    let (mut from, mut head) = (0, sweeps.head());
    loop {
        head.borrow_and_update();
        for event in sweeps.read(from, 1000).await.unwrap() {
            from = event.position;
            if event.kind == "TrialProposed" {
                let fact = crate::publish::Publisher.publish(&event).unwrap().unwrap();
                let proposed = wire::TrialProposed::decode(fact.payload.as_slice()).unwrap();
                let context = Context::new(event.event_id, "runs", "");
                let stream = format!("run-{}", proposed.run_id);
                runs.execute::<Runs>(&stream, life(&proposed), context).await.unwrap();
            }
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submitted_sweep_runs_to_its_end_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let stores = testkit::stores(&folder.path().join("db"));
    let clock = Arc::new(ManualClock::new("2026-11-01T10:00:00Z".parse().unwrap()));
    let runs = EventLog::open(Options {
        service: "runs",
        store: stores.of("runs"),
        migrations: &[],
        views: Vec::new(),
        clock: Arc::<ManualClock>::clone(&clock),
        entropy: Arc::new(SeededEntropy::new(3)),
    })
    .await
    .unwrap();
    let (peers, shutdown) = (Peers::default(), runtime::Shutdown::new());
    let service: Service = crate::open(Dependencies {
        stores: stores.clone(),
        clock,
        entropy: Arc::new(SeededEntropy::new(4)),
        feeds: feed::Feeds::new(peers.clone()),
        shutdown: shutdown.clone(),
        limits: ServerLimits::default(),
    })
    .await
    .unwrap();
    let feeds = FeedServer::new();
    feeds.add("runs", Source::new(runs.clone(), Teller));
    let mut routes = tonic::service::Routes::builder();
    routes.add_service(FeedServiceServer::new(feeds));
    peers.runs.connect_routes(routes.routes());
    let tasks = runtime::supervise(service.tasks(), &shutdown, &runtime::Health::new());
    let playing = tokio::spawn(play(service.core.log.clone(), runs));

    let limits = json!({"max_total_trials": TRIALS, "max_concurrent_trials": 4});
    let wanted = document(json!({"limits": limits, "early_termination": {"type": "median_stopping"}}));
    let reply = service.core.submit_sweep(Request::new(submission(&wanted))).await.unwrap().into_inner();
    let mut version = 0;
    let shown = loop {
        let get = wire::GetSweepRequest {
            workspace: "default".into(),
            sweep: reply.id.clone(),
            wait_seconds: 20.0,
            after_version: version,
            deleted: false,
        };
        let asked = service.core.get_sweep(Request::new(get));
        let shown = tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap().unwrap().into_inner();
        assert!(shown.version > version, "it stands still: {shown:?}");
        version = shown.version;
        if shown.state == "Completed" {
            break shown;
        }
    };
    assert_eq!((shown.proposals, shown.best.unwrap().trial_index), (TRIALS, TRIALS - 1));
    let live: u32 = shown.trial_counts.values().sum();
    assert_eq!(live, TRIALS);
    let verify = wire::VerifySweepRequest { workspace: "default".into(), sweep: Uuid::nil().to_string() };
    assert_eq!(super::problem(service.core.verify_sweep(Request::new(verify)).await).status, 404);
    let verify = wire::VerifySweepRequest { workspace: "default".into(), sweep: reply.id };
    let verified = service.core.verify_sweep(Request::new(verify)).await.unwrap().into_inner();
    assert_eq!(verified.difference_count, 0, "{}", verified.verification_json);
    shutdown.request();
    tasks.join_all().await;
    playing.abort();
}
