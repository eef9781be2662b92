//! Deployments on a real log: jobs are queued, reported ready, ended; the table of routes follows. Agents are played
//! by the test.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::compute as wire;
use contracts::compute::routes_service_server::RoutesService;
use documents::Format;
use eventlog::{Context, EventLog, Options};
use runtime::{MachineClock, MachineEntropy, Shutdown};
use tokio_stream::StreamExt;
use tonic::{Request, Status};
use vocabulary::job::{JobEnd, Outcome};
use vocabulary::{Clock, Entropy, JobId, NodeId};

use crate::api::EndpointCalls;
use crate::cluster::{self, Cluster};
use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::job::{self, Job, JobPhase};
use crate::serving::{EndpointCommands, ServingState};
use crate::stream::ClusterName;
use crate::tests::harness::empty_events;
use crate::views;

/// How long the reaction may take: far more than it needs, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    folder: tempfile::TempDir,
    serving: EndpointCalls,
    shutdown: Shutdown,
    log: EventLog,
}

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(MachineEntropy::default())
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(MachineClock)
}

fn context() -> Context {
    Context::new(entropy().uuid(), "test", "")
}

impl Stage {
    async fn open(folder: tempfile::TempDir) -> Self {
        let log = EventLog::open(Options {
            service: "compute",
            store: testkit::stores(&folder.path().join("db")).of("compute"),
            migrations: crate::service::MIGRATIONS,
            views: views::all(),
            clock: clock(),
            entropy: entropy(),
        });
        let (log, shutdown) = (log.await.unwrap(), Shutdown::new());
        let own = Commands { log: log.clone(), clock: clock(), entropy: entropy(), shutdown: shutdown.clone() };
        let commands = EndpointCommands::new(own, ServingState::new(folder.path()));
        let mut tasks =
            runtime::supervise(vec![crate::reactions::keep_replicas(&commands)], &shutdown, &runtime::Health::new());
        let serving = EndpointCalls { commands, fleet: Arc::new(FleetState::new()) };
        tokio::spawn(async move { while tasks.join_next().await.is_some() {} });
        Self { folder, serving, shutdown, log }
    }

    async fn with_cluster() -> Self {
        let stage = Self::open(tempfile::tempdir().unwrap()).await;
        let text = b"vm_size: D2\nscale: {max_nodes: 2}";
        let (spec, size) = cluster::read_spec("serving", text, Format::Yaml).unwrap();
        let (workspace, name) = ("default".to_owned(), "serving".to_owned());
        let put = cluster::Command::Put { workspace, name, spec: Box::new(spec), size: Box::new(size), at_us: 1 };
        let stream = ClusterName::new("default", "serving").stream();
        stage.log.execute::<Cluster>(&stream, put, context()).await.unwrap();
        stage.put_endpoint("digits").await;
        stage
    }

    /// Ends the service and begins it again on the same data.
    async fn restart(self) -> Self {
        self.shutdown.request();
        self.log.close().await;
        Self::open(self.folder).await
    }

    async fn put_endpoint(&self, name: &str) {
        let (workspace, name) = ("default".to_owned(), name.to_owned());
        let request = wire::PutEndpointRequest { workspace, name, document: b"{}".to_vec(), format: "json".to_owned() };
        self.serving.put_endpoint(Request::new(request)).await.unwrap();
    }

    async fn put_deployment(&self, version: i64, document: &str) -> Result<wire::Deployment, Status> {
        let request = wire::PutDeploymentRequest {
            workspace: "default".to_owned(),
            endpoint: "digits".to_owned(),
            name: "blue".to_owned(),
            document: document.as_bytes().to_vec(),
            format: "yaml".to_owned(),
            resolved: Some(wire::ResolvedModel { model: "digits".to_owned(), version, ..Default::default() }),
            model_absent: String::new(),
        };
        self.serving.put_deployment(Request::new(request)).await.map(tonic::Response::into_inner)
    }

    async fn put_traffic(&self, percent: u32) {
        let traffic = BTreeMap::from([("blue".to_owned(), percent)]);
        let request =
            wire::PutTrafficRequest { workspace: "default".to_owned(), endpoint: "digits".to_owned(), traffic };
        self.serving.put_traffic(Request::new(request)).await.unwrap();
    }

    async fn deployment(&self) -> wire::Deployment {
        let (workspace, endpoint, name) = ("default".to_owned(), "digits".to_owned(), "blue".to_owned());
        let request = wire::GetDeploymentRequest { workspace, endpoint, name, ..Default::default() };
        self.serving.get_deployment(Request::new(request)).await.unwrap().into_inner()
    }

    /// The first table with the deployment in it that the condition likes.
    async fn route(&self, likes: impl Fn(&wire::DeploymentRoute) -> bool) -> wire::DeploymentRoute {
        let tables = self.serving.watch_routes(Request::new(wire::WatchRoutesRequest {})).await.unwrap().into_inner();
        let routes = tables.filter_map(|table| table.unwrap().endpoints.into_iter().next());
        let routes = routes.filter_map(|endpoint| endpoint.deployments.into_iter().next());
        let mut routes = std::pin::pin!(routes.filter(|route| likes(route)));
        tokio::time::timeout(PATIENCE, routes.next()).await.expect("a table in time").unwrap()
    }

    /// The job that replica `index` of a revision has once it is queued.
    async fn job(&self, except: &[String]) -> String {
        let look = async {
            let mut head = self.log.head();
            loop {
                head.borrow_and_update();
                for replica in self.deployment().await.replicas {
                    if !except.contains(&replica.job_id) && self.job_phase(&replica.job_id).await == JobPhase::Queued {
                        return replica.job_id;
                    }
                }
                head.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, look).await.expect("a job in time")
    }

    async fn job_phase(&self, job_id: &str) -> JobPhase {
        let stream = job::stream(JobId::parse(job_id).unwrap());
        self.log.inspect::<Job, _>(&stream, |job, _| job.phase).await.unwrap()
    }

    async fn of_job(&self, job_id: &str, command: job::Command) {
        let stream = job::stream(JobId::parse(job_id).unwrap());
        self.log.execute::<Job>(&stream, command, context()).await.unwrap();
    }

    /// What an agent does with the job: it runs and is ready.
    async fn becomes_ready(&self, job_id: &str) {
        self.becomes_ready_on(job_id, node(7)).await;
    }

    async fn of_cluster(&self, command: cluster::Command) {
        let stream = ClusterName::new("default", "serving").stream();
        self.log.execute::<Cluster>(&stream, command, context()).await.unwrap();
    }

    async fn becomes_ready_on(&self, job_id: &str, node_id: NodeId) {
        let placed = job::Command::Place { attempt: 1, node_id, reason: "test".to_owned(), at_us: 1 };
        self.of_job(job_id, placed).await;
        let address = format!("unix:/run/{job_id}");
        let report = wire::ReplicaReady { job_id: job_id.to_owned(), attempt: 1, address };
        self.serving.commands.replica_ready(&node_id.to_string(), report).await;
    }

    async fn ends(&self, job_id: &str, outcome: Outcome) {
        let node_id = NodeId::new(uuid::Uuid::from_u128(7));
        let end = JobEnd { exit_code: Some(1), ..JobEnd::new(outcome) };
        self.of_job(job_id, job::Command::EndAttempt { attempt: 1, node_id, end, at_us: 2 }).await;
    }
}

fn node(number: u128) -> NodeId {
    NodeId::new(uuid::Uuid::from_u128(number))
}

const DOCUMENT: &str = "model: digits\ncluster: serving\nrequest_settings: {request_timeout_seconds: 0.05}";

#[tokio::test]
async fn a_model_that_nobody_has_looked_up_is_refused() {
    let stage = Stage::with_cluster().await;
    let request = wire::PutDeploymentRequest {
        workspace: "default".to_owned(),
        endpoint: "digits".to_owned(),
        name: "blue".to_owned(),
        document: DOCUMENT.as_bytes().to_vec(),
        format: "yaml".to_owned(),
        ..wire::PutDeploymentRequest::default()
    };
    let refusal = stage.serving.put_deployment(Request::new(request.clone())).await.unwrap_err();
    let refusal = contracts::problem_of(&refusal);
    assert_eq!((refusal.status, refusal.code.as_str()), (422, "UnknownModel"), "{refusal}");
    let absent = wire::PutDeploymentRequest { model_absent: "model 'digits'".to_owned(), ..request };
    let refusal = contracts::problem_of(&stage.serving.put_deployment(Request::new(absent)).await.unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (404, "NotFound"), "{refusal}");
    stage.shutdown.request();
}

#[tokio::test]
async fn a_deployment_comes_up_is_routed_to_and_survives_a_restart() {
    let stage = Stage::with_cluster().await;
    let refusal = stage.put_deployment(1, "model: digits\ncluster: nowhere").await.unwrap_err();
    assert_eq!(contracts::problem_of(&refusal).detail, "cluster 'nowhere' in workspace 'default'");
    let deployment = stage.put_deployment(1, DOCUMENT).await.unwrap();
    assert_eq!((deployment.provisioning_state.as_str(), deployment.revision), ("Creating", 1));
    stage.put_traffic(100).await;
    let job_id = stage.job(&[]).await;
    let waits = "replica 0 waits: its job is on its way to the scheduler";
    assert_eq!(stage.deployment().await.reason, waits, "Creating says nothing");
    assert!(stage.route(|route| route.weight == 100).await.replicas.is_empty(), "nothing is routed before it is ready");
    stage.becomes_ready(&job_id).await;
    let route = stage.route(|route| !route.replicas.is_empty()).await;
    assert_eq!(stage.deployment().await.reason, "");
    assert_eq!((route.revision_key, route.replicas[0].job_id.as_str()), (deployment.revision_key, job_id.as_str()));
    let request = wire::GetRevisionRequest { revision_key: route.revision_key };
    let revision = stage.serving.get_revision(Request::new(request)).await.unwrap().into_inner();
    assert_eq!((revision.deployment.as_str(), revision.model_version), ("blue", 1));
    let stage = stage.restart().await;
    let again = stage.route(|_| true).await;
    assert_eq!(again, route, "the first table after a restart is whole");
    stage.shutdown.request();
}

#[tokio::test]
async fn a_new_revision_replaces_the_old_one_and_a_dead_replica_is_replaced() {
    let stage = Stage::with_cluster().await;
    stage.put_deployment(1, DOCUMENT).await.unwrap();
    stage.put_traffic(100).await;
    let old = stage.job(&[]).await;
    stage.becomes_ready(&old).await;
    stage.put_deployment(2, DOCUMENT).await.unwrap();
    let new = stage.job(std::slice::from_ref(&old)).await;
    assert_eq!(stage.route(|_| true).await.model_version, 1, "the old one answers until the new one can");
    stage.becomes_ready(&new).await;
    let route = stage.route(|route| route.model_version == 2).await;
    assert_eq!(route.replicas.iter().map(|replica| replica.job_id.as_str()).collect::<Vec<_>>(), [new.as_str()]);
    // Its last request may still run; after that it is told to stop.
    let stopped = async {
        let mut head = stage.log.head();
        let stream = job::stream(JobId::parse(&old).unwrap());
        while !stage.log.inspect::<Job, _>(&stream, |job, _| job.stop.is_some()).await.unwrap() {
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, stopped).await.expect("the old replica is stopped");
    stage.ends(&old, Outcome::Canceled).await;
    stage.ends(&new, Outcome::Failed).await;
    let next = stage.job(&[old.clone(), new.clone()]).await;
    let deployment = stage.deployment().await;
    assert_eq!(deployment.provisioning_state, "Succeeded");
    assert_eq!(deployment.errors, ["replica 0 ended 1 times in a row; the last time: failed, exit code 1"]);
    assert_eq!(deployment.replicas.iter().map(|replica| &replica.job_id).collect::<Vec<_>>(), [&next]);
    stage.shutdown.request();
}

#[tokio::test]
async fn a_preemption_notice_brings_a_replacement_first_and_the_drain_after() {
    // A low-priority node under an endpoint goes with a notice: no request may fail for that.
    let stage = Stage::with_cluster().await;
    stage.put_deployment(1, DOCUMENT).await.unwrap();
    stage.put_traffic(100).await;
    let (leaving, reason) = (node(7), "spot".to_owned());
    let request = cluster::Command::RequestNode {
        node_id: leaving,
        token_sha256: String::new(),
        reason: reason.clone(),
        at_us: 2,
    };
    stage.of_cluster(request).await;
    stage.of_cluster(cluster::Command::NodeIsReady { node_id: leaving, at_us: 3 }).await;
    let old = stage.job(&[]).await;
    stage.becomes_ready_on(&old, leaving).await;
    stage.route(|route| route.replicas.len() == 1).await;
    let at_us = clock().now_us();
    let by = cluster::Taker::Provider;
    let deadline_us = at_us + 60_000_000;
    stage.of_cluster(cluster::Command::Notice { node_id: leaving, by, deadline_us, reason, at_us }).await;
    let new = stage.job(std::slice::from_ref(&old)).await;
    let serving = |route: wire::DeploymentRoute| route.replicas.into_iter().map(|replica| replica.job_id).collect();
    let before: Vec<String> = serving(stage.route(|_| true).await);
    assert_eq!(before, std::slice::from_ref(&old), "it serves until the other can");
    stage.becomes_ready_on(&new, node(8)).await;
    let is_moved = |route: &wire::DeploymentRoute| route.replicas.iter().all(|replica| replica.job_id == new);
    stage.route(is_moved).await;
    let stopped = async {
        let mut head = stage.log.head();
        let stream = job::stream(JobId::parse(&old).unwrap());
        while !stage.log.inspect::<Job, _>(&stream, |job, _| job.stop.is_some()).await.unwrap() {
            head.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, stopped).await.expect("the old replica is stopped");
    stage.ends(&old, Outcome::Canceled).await;
    let deployment = stage.deployment().await;
    assert_eq!((deployment.provisioning_state.as_str(), deployment.errors.len()), ("Succeeded", 0));
    stage.shutdown.request();
}

#[tokio::test]
async fn the_deployments_of_a_cluster_are_known_until_they_are_gone() {
    let stage = Stage::with_cluster().await;
    assert_eq!(stage.serving.commands.deployments_on("default", "serving").await.unwrap(), [""; 0]);
    stage.put_deployment(1, DOCUMENT).await.unwrap();
    assert_eq!(stage.serving.commands.deployments_on("default", "serving").await.unwrap(), ["digits/blue"]);
    assert_eq!(stage.serving.commands.deployments_on("default", "other").await.unwrap(), [""; 0]);
    assert_eq!(stage.serving.commands.deployments_on("elsewhere", "serving").await.unwrap(), [""; 0]);
    stage.shutdown.request();
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_read_takes_no_other_with_it() {
    // One damaged event must not end the keeping of all replicas.
    let stage = Stage::with_cluster().await;
    stage.put_endpoint("broken").await;
    empty_events(&stage.log, views::endpoints::stream("default", "broken")).await;
    let stage = stage.restart().await;
    stage.put_deployment(1, DOCUMENT).await.unwrap();
    let job_id = stage.job(&[]).await;
    stage.becomes_ready(&job_id).await;
    stage.put_traffic(100).await;
    assert_eq!(stage.route(|route| !route.replicas.is_empty()).await.replicas[0].job_id, job_id);
    stage.shutdown.request();
}
