//! Services that answer what a test told them, and remember every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use contracts::compute::compute_service_server::{ComputeService, ComputeServiceServer};
use contracts::feed::consumer_service_server::{ConsumerService, ConsumerServiceServer};
use contracts::feed::feed_service_server::{FeedService, FeedServiceServer};
use contracts::feed::{self, Fact, ReadRequest};
use contracts::health::health_service_server::{HealthService, HealthServiceServer};
use contracts::models::models_service_server::{ModelsService, ModelsServiceServer};
use contracts::runs::runs_service_server::{RunsService, RunsServiceServer};
use contracts::runs::{GetObjectRequest, LogChunk, ObjectChunk, ObjectFacts, ReadLogsRequest};
use contracts::sweeps::sweeps_service_server::{SweepsService, SweepsServiceServer};
use contracts::workspaces::workspaces_service_server::{WorkspacesService, WorkspacesServiceServer};
use contracts::{CallContext, Peers, compute, health, models, runs, sweeps, workspaces};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status, Streaming};
use vocabulary::Problem;

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: &'static str,
    pub context: CallContext,
    message: Vec<u8>,
}

impl Seen {
    /// The message of the call.
    pub fn message<M: Message + Default>(&self) -> M {
        M::decode(self.message.as_slice()).unwrap()
    }
}

/// What all fakes share.
#[derive(Clone, Default)]
pub struct Fake(Arc<State>);

#[derive(Default)]
struct State {
    answers: Mutex<HashMap<&'static str, Result<Vec<u8>, Problem>>>,
    refused_once: Mutex<HashMap<&'static str, Problem>>,
    seen: Mutex<Vec<Seen>>,
    facts: Mutex<HashMap<String, Vec<Fact>>>,
    objects: Mutex<HashMap<String, Vec<u8>>>,
}

/// The position of every write.
pub const POSITION: i64 = 77;

impl Fake {
    /// From now on `method` answers this. Without an answer it gives the reply's default.
    pub fn answer(&self, method: &'static str, message: &impl Message) {
        self.0.answers.lock().unwrap().insert(method, Ok(message.encode_to_vec()));
    }

    /// From now on `method` refuses.
    pub fn refuse(&self, method: &'static str, problem: Problem) {
        self.0.answers.lock().unwrap().insert(method, Err(problem));
    }

    /// Its next call is refused, and only that.
    pub fn refuse_once(&self, method: &'static str, problem: Problem) {
        self.0.refused_once.lock().unwrap().insert(method, problem);
    }

    /// The calls of `method`, in order.
    pub fn calls(&self, method: &str) -> Vec<Seen> {
        self.0.seen.lock().unwrap().iter().filter(|seen| seen.method == method).cloned().collect()
    }

    /// Adds a fact to a service's feed.
    pub fn fact(&self, service: &str, kind: &str, message: &impl Message) {
        let mut facts = self.0.facts.lock().unwrap();
        let facts = facts.entry(service.to_owned()).or_default();
        let position = facts.len() as i64 + 1;
        let (source, payload) = (format!("{service}@1"), message.encode_to_vec());
        facts.push(Fact { source, position, r#type: kind.to_owned(), payload, ..Fact::default() });
    }

    /// Puts an object into the store.
    pub fn object(&self, content: &[u8]) -> String {
        let hash = hex::encode(Sha256::digest(content));
        self.0.objects.lock().unwrap().insert(hash.clone(), content.to_vec());
        hash
    }

    fn take<Q: Message, R: Message + Default>(
        &self,
        method: &'static str,
        request: Request<Q>,
    ) -> Result<Response<R>, Status> {
        let context = CallContext::of(&request);
        let write = context.command_id.is_some();
        self.0.seen.lock().unwrap().push(Seen { method, context, message: request.into_inner().encode_to_vec() });
        if let Some(problem) = self.0.refused_once.lock().unwrap().remove(method) {
            return Err(contracts::status_of(&problem));
        }
        let reply = match self.0.answers.lock().unwrap().get(method) {
            None => R::default(),
            Some(Ok(bytes)) => R::decode(bytes.as_slice()).unwrap(),
            Some(Err(problem)) => return Err(contracts::status_of(problem)),
        };
        Ok(if write { contracts::with_position(reply, POSITION) } else { Response::new(reply) })
    }

    /// Peers that all lead here.
    pub fn peers(&self) -> Peers {
        let mut routes = RoutesBuilder::default();
        routes
            .add_service(ComputeServiceServer::new(self.clone()))
            .add_service(ConsumerServiceServer::new(self.clone()))
            .add_service(FeedServiceServer::new(self.clone()))
            .add_service(HealthServiceServer::new(self.clone()))
            .add_service(ModelsServiceServer::new(self.clone()))
            .add_service(RunsServiceServer::new(self.clone()))
            .add_service(SweepsServiceServer::new(self.clone()))
            .add_service(WorkspacesServiceServer::new(self.clone()));
        let routes = routes.routes();
        let peers = Peers::default();
        for service in ["compute", "models", "runs", "sweeps", "workspaces"] {
            peers.by_name(service).unwrap().connect_routes(routes.clone());
        }
        peers
    }
}

#[tonic::async_trait]
impl FeedService for Fake {
    type ReadStream = BoxStream<'static, Result<Fact, Status>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ReadRequest { service, source, from, until_head, sweep_id, .. } = request.into_inner();
        let own = format!("{service}@1");
        if !source.is_empty() && source != own {
            let problem = Problem::new(412, "OtherIncarnation", format!("{source} is gone, here is {own}"));
            return Err(contracts::status_of(&problem));
        }
        let facts = self.0.facts.lock().unwrap().get(&service).cloned().unwrap_or_default();
        let head = facts.last().map_or(0, |fact| fact.position);
        if from > head {
            return Err(Status::failed_precondition(format!("{service} has no position {from}; its head is {head}")));
        }
        // The only facts that tests filter by a sweep.
        let of = |fact: &Fact| sweeps::SweepStateChanged::decode(fact.payload.as_slice()).unwrap_or_default().sweep_id;
        let wanted = move |fact: &Fact| fact.position > from && (sweep_id.is_empty() || of(fact) == sweep_id);
        let facts = stream::iter(facts.into_iter().filter(wanted).map(Ok));
        let mut answer = Response::new(if until_head { facts.boxed() } else { facts.chain(stream::pending()).boxed() });
        answer.metadata_mut().insert("trialog-source", own.parse().unwrap());
        Ok(answer)
    }
}

type Answer<M> = Result<Response<M>, Status>;

macro_rules! fake {
    ($service:ident, $module:ident, { $($types:tt)* } { $($special:tt)* }
        $($method:ident: $request:ident => $reply:ident),+ $(,)?) => {
        #[tonic::async_trait]
        impl $service for Fake {
            $($types)*
            $($special)*
            $(async fn $method(&self, request: Request<$module::$request>) -> Answer<$module::$reply> {
                self.take(stringify!($method), request)
            })+
        }
    };
}

fake!(ConsumerService, feed, {} {}
    list_consumers: ListConsumersRequest => ListConsumersReply,
    list_parked: ListParkedRequest => ListParkedReply,
    retry_parked: SettleRequest => SettleReply,
    skip_parked: SettleRequest => SettleReply,
    adopt_source: AdoptRequest => AdoptReply,
);
fake!(HealthService, health, {} {}
    check: CheckRequest => CheckReply,
    measure: MeasureRequest => MeasureReply,
);
fake!(WorkspacesService, workspaces, {} {}
    put_workspace: PutWorkspaceRequest => Workspace,
    get_workspace: GetWorkspaceRequest => Workspace,
    delete_workspace: GetWorkspaceRequest => Workspace,
    list_workspaces: ListWorkspacesRequest => ListWorkspacesReply,
    create_token: CreateTokenRequest => CreatedToken,
    list_tokens: ListTokensRequest => ListTokensReply,
    revoke_token: RevokeTokenRequest => RevokeTokenReply,
);
fake!(SweepsService, sweeps, {} {}
    submit_sweep: SubmitSweepRequest => SubmitSweepReply,
    get_sweep: GetSweepRequest => Sweep,
    list_sweeps: ListSweepsRequest => ListSweepsReply,
    update_sweep: UpdateSweepRequest => Sweep,
    pause_sweep: PauseSweepRequest => Sweep,
    resume_sweep: ResumeSweepRequest => Sweep,
    archive_sweep: ArchiveSweepRequest => Sweep,
    unarchive_sweep: UnarchiveSweepRequest => Sweep,
    delete_sweep: DeleteSweepRequest => Sweep,
    cancel_sweep: CancelSweepRequest => CancelSweepReply,
    extend_sweep: ExtendSweepRequest => Sweep,
    list_trials: ListTrialsRequest => ListTrialsReply,
    get_trial: GetTrialRequest => Trial,
    explain_trial: ExplainTrialRequest => Explanation,
    fork_sweep: ForkSweepRequest => SubmitSweepReply,
    import_sweep: ImportSweepRequest => SubmitSweepReply,
    verify_sweep: VerifySweepRequest => Verification,
    what_if: WhatIfRequest => WhatIfReply,
    parameter_importance: ParameterImportanceRequest => ParameterImportanceReply,
    ask_trials: AskTrialsRequest => AskTrialsReply,
    tell_trial: TellTrialRequest => TellTrialReply,
    heartbeat_trial: HeartbeatTrialRequest => HeartbeatTrialReply,
);
fake!(ModelsService, models, {} {}
    register_version: RegisterVersionRequest => ModelVersion,
    get_version: GetVersionRequest => ModelVersion,
    list_versions: ListVersionsRequest => ListVersionsReply,
    update_version: UpdateVersionRequest => ModelVersion,
    get_model: GetModelRequest => Model,
    list_models: ListModelsRequest => ListModelsReply,
    update_model: UpdateModelRequest => Model,
    set_alias: SetAliasRequest => Alias,
    remove_alias: RemoveAliasRequest => Alias,
    list_alias_history: ListAliasHistoryRequest => ListAliasHistoryReply,
);
fake!(ComputeService, compute, {} {}
    put_cluster: PutClusterRequest => Cluster,
    update_cluster: PutClusterRequest => Cluster,
    get_cluster: GetClusterRequest => Cluster,
    list_clusters: ListClustersRequest => ListClustersReply,
    delete_cluster: GetClusterRequest => Cluster,
    list_nodes: ListNodesRequest => ListNodesReply,
    preempt_node: PreemptNodeRequest => Node,
    list_sizes: ListSizesRequest => ListSizesReply,
    get_job: GetJobRequest => Job,
    list_jobs: ListJobsRequest => ListJobsReply,
    put_endpoint: PutEndpointRequest => Endpoint,
    get_endpoint: GetEndpointRequest => Endpoint,
    list_endpoints: ListEndpointsRequest => ListEndpointsReply,
    delete_endpoint: GetEndpointRequest => Endpoint,
    put_deployment: PutDeploymentRequest => Deployment,
    get_deployment: GetDeploymentRequest => Deployment,
    list_deployments: ListDeploymentsRequest => ListDeploymentsReply,
    delete_deployment: GetDeploymentRequest => Deployment,
    put_traffic: PutTrafficRequest => Endpoint,
    read_deployment_logs: ReadDeploymentLogsRequest => DeploymentLogs,
    get_revision: GetRevisionRequest => Revision,
);
fake!(RunsService, runs, {
        type ReadLogsStream = BoxStream<'static, Result<LogChunk, Status>>;
        type GetObjectStream = BoxStream<'static, Result<ObjectChunk, Status>>;
    } {
        async fn read_logs(&self, request: Request<ReadLogsRequest>) -> Result<Response<Self::ReadLogsStream>, Status> {
            let reply = self.take::<_, LogChunk>("read_logs", request)?.into_inner();
            let parts = reply.data.chunks(4).map(|data| Ok(LogChunk { data: data.to_vec(), ..LogChunk::default() }));
            Ok(Response::new(stream::iter(parts.collect::<Vec<_>>()).boxed()))
        }

        async fn put_object(&self, request: Request<Streaming<ObjectChunk>>) -> Result<Response<ObjectFacts>, Status> {
            let mut chunks = request.into_inner();
            let (mut expected, mut content) = (String::new(), Vec::new());
            while let Some(chunk) = chunks.message().await? {
                expected.push_str(&chunk.sha256);
                content.extend(chunk.data);
            }
            let sha256 = self.object(&content);
            if !expected.is_empty() && expected != sha256 {
                let problem = Problem::new(422, "HashMismatch", "the content hashes to something else");
                return Err(contracts::status_of(&problem));
            }
            Ok(Response::new(ObjectFacts { sha256, size_bytes: content.len() as u64 }))
        }

        async fn get_object(&self, request: Request<GetObjectRequest>) -> Answer<Self::GetObjectStream> {
            let GetObjectRequest { sha256, offset, length, .. } = request.into_inner();
            let content = self.0.objects.lock().unwrap().get(&sha256).cloned().unwrap_or_default();
            let end = if length == 0 { content.len() } else { (offset + length) as usize };
            let parts = content[offset as usize..end].chunks(3);
            let parts = parts.map(|data| Ok(ObjectChunk { data: data.to_vec(), ..ObjectChunk::default() }));
            Ok(Response::new(stream::iter(parts.collect::<Vec<_>>()).boxed()))
        }

        async fn head_object(&self, request: Request<runs::HeadObjectRequest>) -> Answer<ObjectFacts> {
            let sha256 = request.into_inner().sha256;
            let size = self.0.objects.lock().unwrap().get(&sha256).map(Vec::len);
            match size {
                Some(size) => Ok(Response::new(ObjectFacts { sha256, size_bytes: size as u64 })),
                None => Err(contracts::status_of(&Problem::new(404, "NotFound", format!("object '{sha256}'")))),
            }
        }
    }
    create_experiment: CreateExperimentRequest => Experiment,
    get_experiment: GetExperimentRequest => Experiment,
    list_experiments: ListExperimentsRequest => ListExperimentsReply,
    create_run: CreateRunRequest => Run,
    update_run: UpdateRunRequest => Run,
    cancel_run: CancelRunRequest => Run,
    get_run: GetRunRequest => Run,
    list_runs: ListRunsRequest => ListRunsReply,
    record_metrics: RecordMetricsRequest => RecordMetricsReply,
    list_metrics: ListMetricsRequest => ListMetricsReply,
    get_metric_history: GetMetricHistoryRequest => GetMetricHistoryReply,
    append_logs: AppendLogsRequest => AppendLogsReply,
    record_artifacts: RecordArtifactsRequest => RecordArtifactsReply,
    keep_objects: KeepObjectsRequest => KeepObjectsReply,
    list_artifacts: ListArtifactsRequest => ListArtifactsReply,
);
