//! The players around the service: runs' feed, a provider that starts nothing, and agents on the real stream.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{
    AgentOrder, AgentReport, AttemptEnded, AttemptPhase, AttemptStatus, Heartbeat, Hello, Job, JobEnd, JobSpec,
    Resources, StartAttempt,
};
use contracts::feed::feed_service_server::{FeedService, FeedServiceServer};
use contracts::feed::{Fact, ReadRequest};
use contracts::{CallContext, Peers};
use eventlog::{BoxFuture, EventLog, Options, sql};
use futures_util::Stream;
use prost::Message;
use runtime::{MachineClock, MachineEntropy, Shutdown};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use vocabulary::{Entropy, NodeId};

use crate::cluster;
use crate::engine::{self, Engine};
use crate::providers::{AgentIs, Capabilities, NodeEvent, NodeOrder, OrderedNode, Provider};
use crate::service::{Dependencies, open_with};
use crate::wiring::NodeWiring;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Between two signs of life of an agent.
const HEARTBEAT: Duration = Duration::from_secs(1);
pub const KEY: [u8; 32] = [7; 32];

/// Runs as compute sees it: its facts.
#[derive(Clone)]
pub struct Runs(watch::Sender<Vec<Fact>>);

impl Runs {
    fn tell(&self, kind: &str, stream: &str, payload: &impl Message) {
        self.0.send_modify(|facts| {
            facts.push(Fact {
                source: "runs@test".into(),
                position: facts.len() as i64 + 1,
                stream: stream.into(),
                version: 1,
                r#type: kind.into(),
                payload: payload.encode_to_vec(),
                ..Fact::default()
            });
        });
    }

    pub fn create(&self, run_id: &str, spec: JobSpec) {
        let (workspace, run_id, job) = ("w".to_owned(), run_id.to_owned(), Some(spec));
        let stream = format!("run-{run_id}");
        let created = contracts::runs::RunCreated { workspace, run_id, job, ..Default::default() };
        self.tell("RunCreated", &stream, &created);
    }

    pub fn delete(&self, run_id: &str) {
        let deleted = contracts::runs::RunDeleted { workspace: "w".into(), run_id: run_id.into() };
        self.tell("RunDeleted", &format!("run-{run_id}"), &deleted);
    }

    pub fn stop(&self, run_id: &str, by: &str) {
        let (workspace, by, decision) = ("w".to_owned(), by.to_owned(), "sweep_1@7".to_owned());
        let wanted =
            contracts::runs::RunStopRequested { workspace, run_id: run_id.to_owned(), decision, by, by_kind: 0 };
        self.tell("RunStopRequested", &format!("run-{run_id}"), &wanted);
    }
}

#[tonic::async_trait]
impl FeedService for Runs {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Fact, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let (mut facts, mut from) = (self.0.subscribe(), request.into_inner().from);
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            loop {
                let new: Vec<Fact> =
                    facts.borrow_and_update().iter().filter(|fact| fact.position > from).cloned().collect();
                for fact in new {
                    from = fact.position;
                    if sender.send(Ok(fact)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = facts.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A provider that starts nothing and notes what it was asked for.
pub struct Played {
    tended: Mutex<Vec<NodeId>>,
    orders: mpsc::UnboundedSender<OrderedNode>,
    removed: mpsc::UnboundedSender<NodeId>,
    events: broadcast::Sender<NodeEvent>,
    /// Whether nodes can be halted; until then whoever asks for it waits.
    halts: watch::Sender<bool>,
    /// Whether runs has everything that attempts on halted nodes wrote.
    delivered: watch::Sender<bool>,
}

impl Provider for Played {
    fn capabilities(&self, settings: &cluster::Provider) -> Capabilities {
        let cluster::Provider::Local(settings) = settings;
        let notice = Duration::from_secs_f64(settings.notice_seconds);
        Capabilities { up_within: Duration::ZERO, notice, nodes_per_order_max: 1 }
    }

    fn provision(&self, order: NodeOrder) {
        let mut tended = self.tended.lock().unwrap();
        for node in order.nodes {
            if !tended.contains(&node.node_id) {
                tended.push(node.node_id);
                self.orders.send(node).unwrap();
            }
        }
    }

    fn adopt(&self, orders: Vec<NodeOrder>) {
        orders.into_iter().for_each(|order| self.provision(order));
    }

    fn release(&self, node_id: NodeId, _: AgentIs) -> BoxFuture<'_, anyhow::Result<()>> {
        // The test may be over.
        let _ = self.removed.send(node_id);
        let mut halts = self.halts.subscribe();
        Box::pin(async move { halts.wait_for(|halts| *halts).await.map(drop).map_err(Into::into) })
    }

    fn collect(&self, _: NodeId, _: String) -> BoxFuture<'static, ()> {
        let mut delivered = self.delivered.subscribe();
        Box::pin(async move { drop(delivered.wait_for(|delivered| *delivered).await) })
    }

    fn left(&self) -> Vec<NodeId> {
        Vec::new()
    }

    fn observe(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }
}

/// A service that runs.
pub struct Running {
    pub peers: Peers,
    pub runs: Runs,
    pub orders: mpsc::UnboundedReceiver<OrderedNode>,
    pub removed: mpsc::UnboundedReceiver<NodeId>,
    provider: Arc<Played>,
    shutdown: Shutdown,
    tasks: tokio::task::JoinSet<()>,
    pub engine: Arc<Engine>,
    scheduler: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub async fn start(data: &Path, runs: Option<Runs>) -> Self {
        std::fs::create_dir_all(data.join("db")).unwrap();
        let runs = runs.unwrap_or_else(|| Runs(watch::Sender::new(Vec::new())));
        let (peers, shutdown) = (Peers::default(), Shutdown::new());
        let (orders, orders_made) = mpsc::unbounded_channel();
        let (removed, removed_nodes) = mpsc::unbounded_channel();
        let (events, halts, delivered) =
            (broadcast::Sender::new(8), watch::Sender::new(true), watch::Sender::new(true));
        let provider = Arc::new(Played { tended: Mutex::default(), orders, removed, events, halts, delivered });
        let wiring = NodeWiring {
            executable: "/nowhere".into(),
            compute_address: "unix:/nowhere".into(),
            runs_address: "unix:/runs".into(),
            runs_ca: String::new(),
            api_url: "http://127.0.0.1:1".into(),
            ca_file: String::new(),
            agents_away: Duration::from_secs(600),
            signing_key: KEY,
        };
        let dependencies = Dependencies {
            stores: testkit::stores(&data.join("db")),
            data: data.to_owned(),
            clock: Arc::new(MachineClock),
            entropy: Arc::new(MachineEntropy::default()),
            feeds: feed::Feeds::new(peers.clone()),
            shutdown: shutdown.clone(),
            wiring,
        };
        let service = open_with(dependencies, Arc::clone(&provider) as Arc<dyn Provider>).await.unwrap();
        let mut routes = Routes::builder();
        service.routes(&mut routes);
        peers.compute.connect_routes(routes.routes());
        peers.runs.connect_routes(Routes::new(FeedServiceServer::new(runs.clone())));
        // The scheduler apart, so that a test can break it off.
        let reactions = service.tasks().split_off(1);
        let tasks = runtime::supervise(reactions, &shutdown, &runtime::Health::new());
        let engine = service.engine();
        let scheduler = tokio::spawn(engine::run(Arc::clone(&engine)));
        let (orders, removed) = (orders_made, removed_nodes);
        Self { peers, runs, orders, removed, provider, shutdown, tasks, engine, scheduler }
    }

    /// Breaks the scheduler's task off, as a failure does.
    pub async fn break_scheduler(&mut self) {
        self.scheduler.abort();
        let _ = (&mut self.scheduler).await;
    }

    /// Begins it again.
    pub fn begin_scheduler(&mut self) {
        self.scheduler = tokio::spawn(engine::run(Arc::clone(&self.engine)));
    }

    /// Waits until the scheduler has heard what the provider said.
    pub async fn heard(&self) {
        let look = async || match self.provider.events.len() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} events were not heard yet")),
        };
        testkit::await_that_async(PATIENCE, look).await;
    }

    /// From here on the log takes no commands, until what this answers is sent.
    pub async fn overload(&self) -> watch::Sender<bool> {
        let (log, commands) = (self.engine.commands.log.clone(), self.engine.commands.clone());
        let ((goes_on, gate), (begins, mut begun)) = (watch::channel(false), watch::channel(false));
        let context = commands.context("test");
        tokio::spawn(async move {
            let work = log.record::<crate::job::Job, _>("test", None, context, move |_, _| {
                let mut gate = gate.clone();
                begins.send_replace(true);
                Box::pin(async move {
                    let _ = gate.wait_for(|open| *open).await;
                    Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
                })
            });
            work.await.unwrap();
        });
        begun.wait_for(|begun| *begun).await.unwrap();
        let (refused, mut is_full) = mpsc::channel(1);
        while is_full.try_recv().is_err() {
            let (commands, refused) = (commands.clone(), refused.clone());
            tokio::spawn(async move {
                let job_id = vocabulary::JobId::new(commands.entropy.uuid());
                let command = crate::job::Command::Release { at_us: 1 };
                if matches!(commands.of_job(job_id, command, "test").await, Err(eventlog::ExecuteError::Overloaded)) {
                    let _ = refused.try_send(());
                }
            });
            tokio::task::yield_now().await;
        }
        goes_on
    }

    /// From now on the provider cannot halt nodes.
    pub fn halt_nothing(&self) {
        self.provider.halts.send_replace(false);
    }

    /// Whether runs has what attempts on halted nodes wrote.
    pub fn deliver(&self, delivered: bool) {
        self.provider.delivered.send_replace(delivered);
    }

    /// The provider says something.
    pub fn observed(&self, event: NodeEvent) {
        self.provider.events.send(event).expect("the scheduler observes");
    }

    /// Ends it and starts it again on the same folder.
    pub async fn restart(self, data: &Path) -> Self {
        let runs = self.stop().await;
        Self::start(data, Some(runs)).await
    }

    /// Ends it.
    pub async fn stop(mut self) -> Runs {
        self.shutdown.request();
        while self.tasks.join_next().await.is_some() {}
        let _ = self.scheduler.await;
        self.runs
    }

    pub async fn put(&self, name: &str, document: &str) -> Result<contracts::compute::Cluster, Status> {
        let request = contracts::compute::PutClusterRequest {
            workspace: "w".into(),
            name: name.into(),
            document: document.as_bytes().to_vec(),
            format: "yaml".into(),
        };
        self.peers.compute_client().put_cluster(request).await.map(Response::into_inner)
    }

    pub async fn cluster(&self, name: &str) -> contracts::compute::Cluster {
        let request =
            contracts::compute::GetClusterRequest { workspace: "w".into(), name: name.into(), ..Default::default() };
        self.peers.compute_client().get_cluster(request).await.unwrap().into_inner()
    }

    pub async fn job(&self, id: &str) -> Result<Job, Status> {
        let request = contracts::compute::GetJobRequest { workspace: "w".into(), id: id.into() };
        self.peers.compute_client().get_job(CallContext::default().attach(request)).await.map(Response::into_inner)
    }

    /// Waits until a job stands where it should.
    pub async fn until(&self, id: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        let look = async || match self.job(id).await {
            Ok(job) if wanted(&job) => Ok(job),
            other => Err(format!("it stands elsewhere: {other:?}")),
        };
        testkit::await_that_async(PATIENCE, look).await
    }

    /// The next node that the provider is asked for.
    pub async fn next_node(&mut self) -> OrderedNode {
        tokio::time::timeout(PATIENCE, self.orders.recv()).await.unwrap().unwrap()
    }

    /// Connects an agent and takes the welcome.
    pub async fn agent(&self, order: &OrderedNode, attempts: Vec<AttemptStatus>) -> Agent {
        let mut agent = self.connect(&order.node_id.to_string(), &order.secret, attempts).await;
        assert!(matches!(agent.next().await, Order::Welcome(welcome) if welcome.runs_address == "unix:/runs"));
        agent
    }

    /// A job that runs on the first node of a new cluster.
    pub async fn with_a_job(&mut self, document: &str) -> (OrderedNode, Agent, StartAttempt) {
        self.put("spot", document).await.unwrap();
        self.runs.create(&run_id(1), spec("spot"));
        let order = self.next_node().await;
        let mut agent = self.agent(&order, Vec::new()).await;
        let start = agent.next_start().await;
        agent.phase(&start.job_id, 1, "running").await;
        self.until(&start.run_id, |job| job.state == "running").await;
        (order, agent, start)
    }

    pub async fn connect(&self, node_id: &str, token: &str, attempts: Vec<AttemptStatus>) -> Agent {
        let (node_id, token) = (node_id.into(), token.into());
        self.hello(Hello { node_id, token, pid: 1, attempts, ..Hello::default() }).await
    }

    pub async fn hello(&self, hello: Hello) -> Agent {
        let (sender, receiver) = mpsc::channel(64);
        sender.send(AgentReport { report: Some(Report::Hello(hello)) }).await.unwrap();
        let orders = self.peers.agent_client().connect(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        // As a real one, it says that it is there: on a busy machine a test takes longer than an agent may be silent.
        let living = sender.downgrade();
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(HEARTBEAT);
            loop {
                beat.tick().await;
                let Some(reports) = living.upgrade() else { return };
                drop(reports.try_send(AgentReport { report: Some(Report::Heartbeat(Heartbeat {})) }));
            }
        });
        Agent { reports: sender, orders }
    }
}

/// Takes what the events of a stream say out of a log that nobody has open: its aggregate cannot be read any more.
pub async fn damage(data: &Path, stream: String) {
    let log = EventLog::open(Options {
        service: "compute",
        store: testkit::stores(&data.join("db")).of("compute"),
        migrations: crate::service::MIGRATIONS,
        views: crate::views::all(),
        clock: Arc::new(MachineClock),
        entropy: Arc::new(MachineEntropy::default()),
    });
    let log = log.await.unwrap();
    empty_events(&log, stream).await;
    log.close().await;
}

/// The same through an open log.
pub async fn empty_events(log: &EventLog, stream: String) {
    let context = eventlog::Context::new(MachineEntropy::default().uuid(), "test", "");
    log.record::<crate::job::Job, _>("test", None, context, move |_, tx| {
        let stream = stream.clone();
        Box::pin(async move {
            sql("UPDATE events SET data = '{}' WHERE stream_id = $1").bind(stream).execute(&mut *tx).await?;
            sql("UPDATE projection_cursor SET last_position = 0").execute(tx).await?;
            Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
        })
    })
    .await
    .unwrap();
}

/// An agent that the test plays.
pub struct Agent {
    pub reports: mpsc::Sender<AgentReport>,
    pub orders: Streaming<AgentOrder>,
}

impl Agent {
    pub async fn next(&mut self) -> Order {
        let order = tokio::time::timeout(PATIENCE, self.orders.next()).await.unwrap().unwrap().unwrap();
        order.order.unwrap()
    }

    pub async fn next_start(&mut self) -> StartAttempt {
        match self.next().await {
            Order::Start(start) => start,
            other => panic!("expected a start, got {other:?}"),
        }
    }

    /// Waits until the server has ended the connection.
    pub async fn cut_off(mut self) {
        let end = async { while let Some(Ok(_)) = self.orders.next().await {} };
        tokio::time::timeout(PATIENCE, end).await.expect("the connection ends");
    }

    pub async fn say(&self, report: Report) {
        self.reports.send(AgentReport { report: Some(report) }).await.unwrap();
    }

    pub async fn phase(&self, job_id: &str, attempt: u32, phase: &str) {
        let (job_id, phase) = (job_id.to_owned(), phase.to_owned());
        self.say(Report::Phase(AttemptPhase { job_id, attempt, phase, ..AttemptPhase::default() })).await;
    }

    /// Reports an end and waits for the acknowledgement.
    pub async fn end(&mut self, job_id: &str, attempt: u32, outcome: &str) {
        let end = Some(JobEnd { outcome: outcome.into(), phase: "run".into(), ..JobEnd::default() });
        self.say(Report::Ended(AttemptEnded { job_id: job_id.into(), attempt, end })).await;
        loop {
            if let Order::Acknowledged(acknowledged) = self.next().await {
                assert_eq!((acknowledged.job_id.as_str(), acknowledged.attempt), (job_id, attempt));
                return;
            }
        }
    }
}

pub fn spec(cluster: &str) -> JobSpec {
    JobSpec {
        cluster: cluster.into(),
        command: vec!["true".into()],
        resources: Some(Resources { cpu_count: 1.0, node_count: 1, ..Resources::default() }),
        checkpoint: true,
        ..JobSpec::default()
    }
}

/// The id of a run by a number.
pub fn run_id(number: u128) -> String {
    vocabulary::RunId::new(uuid::Uuid::from_u128(number)).to_string()
}
