//! A compute that orders what a test says and keeps what it hears, and a runs that keeps metrics, logs, artifacts and
//! objects.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::agent_service_server::AgentService;
use contracts::compute::{AgentOrder, AgentReport, AttemptEnded, EndAcknowledged, Hello, Welcome};
use contracts::runs::runs_service_server::RunsService;
use contracts::runs::*;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use vocabulary::Problem;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How long a test waits for something before it says that it never came.
const PATIENCE: Duration = Duration::from_secs(60);

/// What both fakes know.
#[derive(Default)]
pub struct Heard {
    pub hellos: Vec<Hello>,
    /// Connections that compute did not take.
    pub refused: u32,
    pub reports: Vec<Report>,
    pub points: Vec<MetricPoint>,
    /// Batches that came again.
    pub repeated: u32,
    pub logs: BTreeMap<String, Vec<u8>>,
    pub artifacts: Vec<Artifact>,
    pub objects: BTreeMap<String, Vec<u8>>,
    sequence: i64,
    orders: Option<mpsc::Sender<Result<AgentOrder, Status>>>,
}

/// The content of an object of which runs sees itself that it is damaged.
pub const DAMAGED: &[u8] = b"damaged";

/// How runs misbehaves.
#[derive(Default, Clone)]
pub struct Faults {
    /// So many answers to metric batches get lost after the batch was taken.
    pub answers_lost: u32,
    /// So many calls with metrics break where they are answered, before anything is taken.
    pub broken: u32,
    /// This metric is refused.
    pub refused: String,
    /// Every call is refused with this code.
    pub over: String,
    /// Metrics wait for this long.
    pub slow: Duration,
    /// Batches are taken whatever their number is: several attempts share the test's run.
    pub any_sequence: bool,
    /// Ends are not acknowledged.
    pub deaf: bool,
    /// Compute takes no connection.
    pub gone: bool,
}

/// Both servers.
#[derive(Clone)]
pub struct Fake {
    heard: Arc<watch::Sender<Heard>>,
    pub faults: Arc<Mutex<Faults>>,
    pub address: String,
}

impl Fake {
    pub fn new(address: String) -> Self {
        Self { heard: Arc::new(watch::Sender::new(Heard::default())), faults: Arc::default(), address }
    }

    /// Waits until `wanted` finds something in what was heard.
    pub async fn hear<T>(&self, what: &str, mut wanted: impl FnMut(&Heard) -> Option<T>) -> T {
        let mut heard = self.heard.subscribe();
        let found = async {
            loop {
                if let Some(found) = wanted(&heard.borrow_and_update()) {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(found) => found,
            Err(_) => panic!("never heard: {what}; reports: {:#?}", self.heard.borrow().reports),
        }
    }

    pub async fn phase(&self, job_id: &str, phase: &str) {
        self.hear(phase, |heard| {
            let is_it = |report: &&Report| matches!(report, Report::Phase(p) if p.job_id == job_id && p.phase == phase);
            heard.reports.iter().find(is_it).map(drop)
        })
        .await;
    }

    pub async fn end(&self, job_id: &str) -> contracts::compute::JobEnd {
        self.hear("the end", |heard| {
            heard.reports.iter().find_map(|report| match report {
                Report::Ended(AttemptEnded { job_id: id, end, .. }) if id == job_id => end.clone(),
                _ => None,
            })
        })
        .await
    }

    pub fn look<T>(&self, look: impl FnOnce(&Heard) -> T) -> T {
        look(&self.heard.borrow())
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Heard) -> T) -> T {
        let mut answer = None;
        self.heard.send_modify(|heard| answer = Some(change(heard)));
        answer.unwrap()
    }

    /// Sends an order on the present connection, or on the next one.
    pub async fn order(&self, order: Order) {
        let sender = self.hear("a connection", |heard| heard.orders.clone()).await;
        sender.send(Ok(AgentOrder { order: Some(order) })).await.unwrap();
    }

    /// Cuts the connection.
    pub fn hang_up(&self) {
        self.change(|heard| heard.orders = None);
    }

    pub fn store(&self, bytes: Vec<u8>) -> String {
        let hash = hex::encode(Sha256::digest(&bytes));
        self.change(|heard| heard.objects.insert(hash.clone(), bytes));
        hash
    }

    pub fn log(&self, stream: &str) -> String {
        self.look(|heard| String::from_utf8_lossy(heard.logs.get(stream).map_or(&[], Vec::as_slice)).into_owned())
    }

    fn check(&self) -> Result<(), Status> {
        let over = self.faults.lock().unwrap().over.clone();
        if over.is_empty() { Ok(()) } else { Err(contracts::status_of(&Problem::conflict(&over, "the test says so"))) }
    }
}

#[tonic::async_trait]
impl AgentService for Fake {
    type ConnectStream = Answers<AgentOrder>;

    async fn connect(&self, request: Request<Streaming<AgentReport>>) -> Result<Response<Self::ConnectStream>, Status> {
        if self.faults.lock().unwrap().gone {
            self.change(|heard| heard.refused += 1);
            return Err(Status::unavailable("the test says so"));
        }
        let (sender, orders) = mpsc::channel(64);
        let (fake, mut reports) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Some(Ok(AgentReport { report: Some(report) })) = reports.next().await {
                match &report {
                    Report::Hello(hello) => {
                        let welcome = Welcome {
                            runs_address: fake.address.clone(),
                            api_url: "http://127.0.0.1:8080".into(),
                            ca_file: String::new(),
                            runs_ca: String::new(),
                        };
                        let _ = sender.send(Ok(AgentOrder { order: Some(Order::Welcome(welcome)) })).await;
                        fake.change(|heard| {
                            heard.hellos.push(hello.clone());
                            heard.orders = Some(sender.clone());
                        });
                    }
                    Report::Ended(end) if !fake.faults.lock().unwrap().deaf => {
                        let noted = EndAcknowledged { job_id: end.job_id.clone(), attempt: end.attempt };
                        let _ = sender.send(Ok(AgentOrder { order: Some(Order::Acknowledged(noted)) })).await;
                    }
                    Report::Heartbeat(_) if fake.look(|heard| heard.orders.is_none()) => break,
                    Report::Heartbeat(_) => continue,
                    _ => {}
                }
                fake.change(|heard| heard.reports.push(report));
                if fake.look(|heard| heard.orders.is_none()) {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(orders))))
    }
}

macro_rules! not_played {
    ($($name:ident($request:ty) -> $reply:ty;)+) => {
        $(
            fn $name<'a, 'b>(
                &'a self,
                _: Request<$request>,
            ) -> Pin<Box<dyn Future<Output = Result<Response<$reply>, Status>> + Send + 'b>>
            where
                'a: 'b,
                Self: 'b,
            {
                Box::pin(async { Err(Status::unimplemented("not played")) })
            }
        )+
    };
}

#[tonic::async_trait]
impl RunsService for Fake {
    type ReadLogsStream = Answers<LogChunk>;
    type GetObjectStream = Answers<ObjectChunk>;

    async fn record_metrics(
        &self,
        request: Request<RecordMetricsRequest>,
    ) -> Result<Response<RecordMetricsReply>, Status> {
        self.check()?;
        let request = request.into_inner();
        let faults = self.faults.lock().unwrap().clone();
        // The fault itself: a service that takes its time.
        tokio::time::sleep(faults.slow).await;
        if faults.broken > 0 {
            self.faults.lock().unwrap().broken -= 1;
            return Err(contracts::status_of(&Problem::new(500, "Internal", "the test says so")));
        }
        if request.metrics.iter().any(|point| point.name == faults.refused) {
            return Err(contracts::status_of(&Problem::invalid("/metrics", "BadMetricValue", "the test says so")));
        }
        assert_eq!(request.writer, format!("stdout-{}", request.attempt));
        let accepted = u32::try_from(request.metrics.len()).unwrap();
        let repeated = self.change(|heard| {
            if faults.any_sequence {
                heard.points.extend(request.metrics);
                return Ok(false);
            }
            if request.sequence <= heard.sequence {
                heard.repeated += 1;
                return Ok(true);
            }
            if request.sequence > heard.sequence + 1 {
                let gap = Problem::conflict("SequenceGap", "gap").with("expected", heard.sequence + 1);
                return Err(contracts::status_of(&gap));
            }
            heard.sequence = request.sequence;
            heard.points.extend(request.metrics);
            Ok(false)
        })?;
        let mut faults = self.faults.lock().unwrap();
        if faults.answers_lost > 0 {
            faults.answers_lost -= 1;
            return Err(Status::unavailable("the answer got lost"));
        }
        Ok(Response::new(RecordMetricsReply { accepted, repeated }))
    }

    async fn append_logs(&self, request: Request<AppendLogsRequest>) -> Result<Response<AppendLogsReply>, Status> {
        self.check()?;
        let request = request.into_inner();
        let next_offset = self.change(|heard| {
            let log = heard.logs.entry(request.stream).or_default();
            let there = u64::try_from(log.len()).unwrap();
            assert!(request.offset <= there, "a gap in the log");
            let skipped = usize::try_from(there - request.offset).unwrap().min(request.data.len());
            log.extend(&request.data[skipped..]);
            u64::try_from(log.len()).unwrap()
        });
        Ok(Response::new(AppendLogsReply { next_offset }))
    }

    async fn record_artifacts(
        &self,
        request: Request<RecordArtifactsRequest>,
    ) -> Result<Response<RecordArtifactsReply>, Status> {
        self.check()?;
        let artifacts = request.into_inner().artifacts;
        let recorded = u32::try_from(artifacts.len()).unwrap();
        self.change(|heard| heard.artifacts.extend(artifacts));
        Ok(Response::new(RecordArtifactsReply { recorded }))
    }

    async fn put_object(&self, request: Request<Streaming<ObjectChunk>>) -> Result<Response<ObjectFacts>, Status> {
        let (mut chunks, mut bytes, mut wanted) = (request.into_inner(), Vec::new(), String::new());
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            if !chunk.sha256.is_empty() {
                wanted = chunk.sha256;
            }
            bytes.extend_from_slice(&chunk.data);
        }
        let size_bytes = u64::try_from(bytes.len()).unwrap();
        let sha256 = self.store(bytes);
        assert_eq!(sha256, wanted);
        Ok(Response::new(ObjectFacts { sha256, size_bytes }))
    }

    async fn get_object(&self, request: Request<GetObjectRequest>) -> Result<Response<Self::GetObjectStream>, Status> {
        let wanted = request.into_inner().sha256;
        let Some(bytes) = self.look(|heard| heard.objects.get(&wanted).cloned()) else {
            return Err(contracts::status_of(&Problem::not_found("object", &wanted, "w")));
        };
        if bytes == DAMAGED {
            return Err(contracts::status_of(&Problem::new(500, "ObjectDamaged", "it has another hash")));
        }
        let chunks: Vec<_> =
            bytes.chunks(1000).map(|data| Ok(ObjectChunk { data: data.to_vec(), ..ObjectChunk::default() })).collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    not_played! {
        create_experiment(CreateExperimentRequest) -> Experiment;
        get_experiment(GetExperimentRequest) -> Experiment;
        list_experiments(ListExperimentsRequest) -> ListExperimentsReply;
        create_run(CreateRunRequest) -> Run;
        update_run(UpdateRunRequest) -> Run;
        cancel_run(CancelRunRequest) -> Run;
        get_run(GetRunRequest) -> Run;
        list_runs(ListRunsRequest) -> ListRunsReply;
        list_metrics(ListMetricsRequest) -> ListMetricsReply;
        get_metric_history(GetMetricHistoryRequest) -> GetMetricHistoryReply;
        read_logs(ReadLogsRequest) -> Answers<LogChunk>;
        list_artifacts(ListArtifactsRequest) -> ListArtifactsReply;
        head_object(HeadObjectRequest) -> ObjectFacts;
        keep_objects(KeepObjectsRequest) -> KeepObjectsReply;
    }
}
