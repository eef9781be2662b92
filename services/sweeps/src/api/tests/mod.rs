//! Calls on a service of its own, with what `runs` would say told by hand.

mod asking;
mod breaking;
mod changing;
mod early;
mod forking;
mod importances;
mod importing;
mod measuring;
mod modelled;
mod replaying;
mod several;
mod submitting;
mod together;
mod walking;
mod warming;

use std::sync::Arc;

use contracts::compute::JobEnd;
use contracts::feed::Fact;
use contracts::runs as runs_wire;
use contracts::sweeps as wire;
use contracts::{CallContext, problem_of};
use feed::Reaction;
use prost::Message;
use serde_json::{Value, json};
use tonic::{Request, Status};
use uuid::Uuid;
use vocabulary::{ManualClock, Problem, SeededEntropy, SweepId};

use crate::reactions::{FollowRuns, check, fill};
use crate::service::Core;
use crate::{Dependencies, ServerLimits, Service};

/// A service on a folder of its own.
pub(super) struct Bench {
    pub service: Service,
    pub clock: Arc<ManualClock>,
    position: i64,
    folder: tempfile::TempDir,
}

pub(super) async fn open(folder: &std::path::Path, clock: Arc<ManualClock>, entropy: u64) -> Service {
    crate::open(Dependencies {
        stores: testkit::stores(&folder.join("db")),
        clock,
        entropy: Arc::new(SeededEntropy::new(entropy)),
        feeds: feed::Feeds::default(),
        shutdown: runtime::Shutdown::new(),
        limits: ServerLimits::default(),
    })
    .await
    .unwrap()
}

/// The usual document with some sections replaced.
pub(super) fn document(changes: Value) -> Value {
    let mut document = json!({
        "name": "digits",
        "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "search_space": {"lr": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "early_termination": {"type": "bandit", "slack_amount": 0.1},
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 2},
        "trial": {"command": ["python", "/train.py", "--lr", "${{search_space.lr}}"]},
    });
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    document
}

pub(super) fn cluster(state: &str) -> wire::Resolved {
    let facts = wire::ClusterFacts {
        name: "spot".into(),
        max_nodes: 4,
        node_vcpus: 2,
        node_memory_bytes: 8 << 30,
        node_gpus: 0,
        provisioning_state: state.into(),
    };
    wire::Resolved { cluster: Some(facts), code_present: false }
}

pub(super) fn submission(document: &Value) -> wire::SubmitSweepRequest {
    wire::SubmitSweepRequest {
        workspace: "default".into(),
        document: document.to_string().into_bytes(),
        format: "json".into(),
        dry_run: false,
        strict: false,
        resolved: Some(cluster("Succeeded")),
    }
}

/// A call under an Idempotency-Key.
pub(super) fn keyed<T>(key: u128, content: u8, message: T) -> Request<T> {
    let context = CallContext {
        command_id: Some(Uuid::from_u128(key)),
        request_hash: Some([content; 32]),
        ..CallContext::default()
    };
    context.attach(message)
}

pub(super) fn problem<T: std::fmt::Debug>(answer: Result<T, Status>) -> Problem {
    problem_of(&answer.unwrap_err())
}

impl Bench {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-01T10:00:00Z".parse().unwrap()));
        let service = open(folder.path(), Arc::clone(&clock), 1).await;
        Self { service, clock, position: 0, folder }
    }

    /// Closes the service and opens it again on the same folder, as after a crash.
    pub(super) async fn again(&mut self) {
        self.api().log.clone().close().await;
        self.service = open(self.folder.path(), Arc::clone(&self.clock), 2).await;
    }

    pub(super) fn api(&self) -> &Core {
        &self.service.core
    }

    pub(super) async fn submit(&self, document: &Value) -> SweepId {
        self.submit_to(self.api(), document).await
    }

    /// The same by a core that is changed.
    pub(super) async fn submit_to(&self, core: &Core, document: &Value) -> SweepId {
        let reply = core.submit_sweep(Request::new(submission(document))).await.unwrap().into_inner();
        let sweep = SweepId::parse(&reply.id).unwrap();
        // Where something is proposed beside, it may have gone on by now.
        let is = self.sweep(sweep).await;
        assert!(reply.version < is.version || (reply.state, reply.version) == (is.state, is.version));
        sweep
    }

    pub(super) async fn fill(&self, sweep: SweepId) {
        fill(self.api(), sweep).await.unwrap();
    }

    pub(super) async fn check_deadlines(&self, sweep: SweepId) {
        check(self.api(), sweep).await.unwrap();
    }

    pub(super) async fn sweep(&self, sweep: SweepId) -> wire::Sweep {
        let request = wire::GetSweepRequest {
            workspace: "default".into(),
            sweep: sweep.to_string(),
            ..wire::GetSweepRequest::default()
        };
        self.api().get_sweep(Request::new(request)).await.unwrap().into_inner()
    }

    pub(super) async fn trials(&self, sweep: SweepId) -> Vec<wire::Trial> {
        let request = wire::ListTrialsRequest {
            workspace: "default".into(),
            sweep: sweep.to_string(),
            ..wire::ListTrialsRequest::default()
        };
        self.api().list_trials(Request::new(request)).await.unwrap().into_inner().trials
    }

    /// Delivers a fact of `runs`.
    pub(super) async fn hear(&mut self, kind: &str, message: &impl Message) -> Fact {
        self.position += 1;
        let fact = Fact {
            source: "runs@1".into(),
            position: self.position,
            r#type: kind.into(),
            recorded_at_us: vocabulary::Clock::now_us(self.clock.as_ref()),
            payload: message.encode_to_vec(),
            ..Fact::default()
        };
        self.deliver(&fact).await;
        fact
    }

    pub(super) async fn deliver(&self, fact: &Fact) {
        FollowRuns { log: self.api().log.clone() }.handle(fact).await.unwrap();
    }

    pub(super) async fn moves(&mut self, sweep: SweepId, trial: u32, attempt: u32, state: &str) -> Fact {
        let message = runs_wire::RunStateChanged {
            sweep_id: sweep.to_string(),
            trial_index: Some(trial),
            state: state.into(),
            attempt,
            node_id: "node_7".into(),
            ..runs_wire::RunStateChanged::default()
        };
        self.hear("RunStateChanged", &message).await
    }

    pub(super) async fn reports(&mut self, sweep: SweepId, trial: u32, step: i64, value: f64) -> Fact {
        let point = |name: &str, value| runs_wire::ReportedPoint { name: name.into(), step, value, timestamp_ms: 0 };
        let message = runs_wire::MetricReported {
            sweep_id: sweep.to_string(),
            trial_index: Some(trial),
            attempt: 1,
            points: vec![point("loss", 100.0), point("val_acc", value)],
            ..runs_wire::MetricReported::default()
        };
        self.hear("MetricReported", &message).await
    }

    pub(super) async fn ends(&mut self, sweep: SweepId, trial: u32, outcome: &str) -> Fact {
        let end = JobEnd { outcome: outcome.into(), phase: "run".into(), ..JobEnd::default() };
        let message = runs_wire::RunEnded {
            sweep_id: sweep.to_string(),
            trial_index: Some(trial),
            attempt: 1,
            end: Some(end),
            metric_names: vec!["loss".into()],
            ..runs_wire::RunEnded::default()
        };
        self.hear("RunEnded", &message).await
    }

    /// The service's facts so far, with their types.
    pub(super) async fn facts(&self) -> Vec<(String, Vec<u8>)> {
        let events = self.api().log.read(0, 10_000).await.unwrap();
        let published =
            events.iter().filter_map(|event| feed::Publish::publish(&crate::publish::Publisher, event).unwrap());
        published.map(|fact| (fact.kind.to_owned(), fact.payload)).collect()
    }

    pub(super) async fn verify(&self, sweep: SweepId) -> Value {
        let request = wire::VerifySweepRequest { workspace: "default".into(), sweep: sweep.to_string() };
        let reply = self.api().verify_sweep(Request::new(request)).await.unwrap().into_inner();
        let found: Value = serde_json::from_str(&reply.verification_json).unwrap();
        assert_eq!(found["differences"].as_array().unwrap().len(), reply.difference_count as usize);
        found
    }
}
