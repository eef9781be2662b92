//! The calls on a real log in a temporary folder.

mod artifacts;
mod deleting;
mod fence;
mod follow;
#[cfg(feature = "s3")]
mod in_s3;
mod lists;
mod metrics;
mod objects;
mod reactions;
mod standing;
mod throughput;
mod walk;

use std::sync::Arc;

use contracts::CallContext;
use contracts::compute::JobSpec;
use contracts::runs::runs_service_server::RunsService;
use contracts::runs::*;
use eventlog::EventLog;
use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use vocabulary::{ManualClock, Problem, SeededEntropy};

use crate::api::Api;
use crate::objects::{Hash, Objects};
use crate::{Dependencies, Service, open};

const WORKSPACE: &str = "default";
const KEY: [u8; 32] = [7; 32];

/// A service in a folder that goes away with it.
struct Fixture {
    api: Api,
    service: Service,
    shutdown: runtime::Shutdown,
    folder: tempfile::TempDir,
    objects: Objects,
}

impl Fixture {
    async fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap(), 1).await
    }

    async fn on(folder: tempfile::TempDir, seed: u64) -> Self {
        let start = Timestamp::from_microsecond(1_700_000_000_000_000).unwrap();
        Self::with_clock(folder, seed, Arc::new(ManualClock::new(start))).await
    }

    async fn with_clock(folder: tempfile::TempDir, seed: u64, clock: Arc<dyn vocabulary::Clock>) -> Self {
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        Self::in_place(folder, seed, clock, objects).await.unwrap()
    }

    async fn in_place(
        folder: tempfile::TempDir,
        seed: u64,
        clock: Arc<dyn vocabulary::Clock>,
        objects: Objects,
    ) -> anyhow::Result<Self> {
        let shutdown = runtime::Shutdown::new();
        let service = open(Dependencies {
            stores: testkit::stores(&folder.path().join("db")),
            objects: objects.clone(),
            clock,
            entropy: Arc::new(SeededEntropy::new(seed)),
            feeds: feed::Feeds::default(),
            shutdown: shutdown.clone(),
            signing_key: KEY,
        })
        .await?;
        Ok(Self { api: service.api(), service, shutdown, folder, objects })
    }

    /// Closes the service and opens it again on the same data.
    async fn reopen(self) -> Self {
        Self::on(self.close().await, 2).await
    }

    /// Closes the service; its data.
    async fn close(self) -> tempfile::TempDir {
        let Self { api, service, folder, .. } = self;
        let log = service.log().clone();
        drop((api, service));
        log.close().await;
        folder
    }

    /// Whether an object is in the store.
    async fn has(&self, sha256: &str) -> bool {
        self.objects.size(&Hash::parse(sha256).unwrap()).await.unwrap().is_some()
    }

    fn log(&self) -> &EventLog {
        self.service.log()
    }

    async fn run(&self, job: Option<JobSpec>) -> Run {
        let request = CreateRunRequest { workspace: WORKSPACE.into(), job, ..CreateRunRequest::default() };
        self.api.create_run(Request::new(request)).await.unwrap().into_inner()
    }

    /// A run without a job.
    async fn own_run(&self) -> String {
        self.run(None).await.run_id
    }

    /// A run whose job reports `acc`.
    async fn watched_run(&self) -> String {
        self.run(Some(job())).await.run_id
    }

    async fn get(&self, run_id: &str) -> Run {
        let request = GetRunRequest { workspace: WORKSPACE.into(), run_id: run_id.into() };
        self.api.get_run(Request::new(request)).await.unwrap().into_inner()
    }

    async fn record(&self, request: RecordMetricsRequest) -> Result<RecordMetricsReply, Problem> {
        answer(self.api.record_metrics(Request::new(request)).await)
    }

    async fn end(&self, run_id: &str, state: &str) -> Result<Run, Problem> {
        let request = UpdateRunRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.into(),
            state: Some(state.into()),
            ..UpdateRunRequest::default()
        };
        answer(self.api.update_run(Request::new(request)).await)
    }

    async fn append(&self, run_id: &str, offset: u64, data: &str) -> Result<u64, Problem> {
        let request = AppendLogsRequest {
            workspace: WORKSPACE.into(),
            run_id: run_id.into(),
            attempt: 1,
            stream: "stdout".into(),
            offset,
            data: data.as_bytes().to_vec(),
            at_end: false,
        };
        answer(self.api.append_logs(Request::new(request)).await).map(|reply| reply.next_offset)
    }
}

fn job() -> JobSpec {
    JobSpec { cluster: "spot".into(), command: vec!["true".into()], primary_metric: "acc".into(), ..JobSpec::default() }
}

/// The message, or the problem that the status carries.
fn answer<T>(answered: Result<Response<T>, Status>) -> Result<T, Problem> {
    answered.map(Response::into_inner).map_err(|status| contracts::problem_of(&status))
}

fn code<T: std::fmt::Debug>(answered: Result<T, Problem>) -> (u16, String) {
    let problem = answered.unwrap_err();
    (problem.status, problem.code)
}

/// A request under an idempotency key.
fn keyed<T>(key: u128, hash: u8, message: T) -> Request<T> {
    let command_id = Some(Uuid::from_u128(key));
    let call = CallContext { command_id, request_hash: Some([hash; 32]), ..CallContext::default() };
    call.attach(message)
}

fn point(name: &str, step: Option<i64>, value: f64) -> MetricPoint {
    MetricPoint { name: name.into(), step, value, ..MetricPoint::default() }
}

fn points(run_id: &str, attempt: u32, metrics: Vec<MetricPoint>) -> RecordMetricsRequest {
    RecordMetricsRequest {
        workspace: WORKSPACE.into(),
        run_id: run_id.into(),
        attempt,
        metrics,
        ..RecordMetricsRequest::default()
    }
}
