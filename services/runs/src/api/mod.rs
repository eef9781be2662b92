//! The calls. One file a call or a small group of calls: translate, execute, answer.

mod artifacts;
mod call;
mod cancel_run;
mod command;
mod create_run;
mod experiments;
mod job;
mod logs;
mod metrics;
mod objects;
mod read_runs;
mod texts;
pub(crate) mod to_wire;
mod update_run;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use contracts::CallContext;
use contracts::runs::runs_service_server::RunsService;
use contracts::runs::*;
use tonic::{Request, Response, Status, Streaming};

use call::{Chunks, bad_token, run_in, run_named, status, still_good};

use crate::core::Core;

/// `RunsService`.
#[derive(Clone)]
pub struct Api(Arc<Core>);

impl Api {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl RunsService for Api {
    async fn create_experiment(&self, request: Request<CreateExperimentRequest>) -> Answer<Experiment> {
        experiments::create(&self.0, request).await
    }

    async fn get_experiment(&self, request: Request<GetExperimentRequest>) -> Answer<Experiment> {
        experiments::get(&self.0, request).await
    }

    async fn list_experiments(&self, request: Request<ListExperimentsRequest>) -> Answer<ListExperimentsReply> {
        experiments::list(&self.0, request).await
    }

    async fn create_run(&self, request: Request<CreateRunRequest>) -> Answer<Run> {
        create_run::create_run(&self.0, request).await
    }

    async fn update_run(&self, request: Request<UpdateRunRequest>) -> Answer<Run> {
        update_run::update_run(&self.0, request).await
    }

    async fn cancel_run(&self, request: Request<CancelRunRequest>) -> Answer<Run> {
        cancel_run::cancel_run(&self.0, request).await
    }

    async fn get_run(&self, request: Request<GetRunRequest>) -> Answer<Run> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        read_runs::get_run(&self.0, request).await
    }

    async fn list_runs(&self, request: Request<ListRunsRequest>) -> Answer<ListRunsReply> {
        read_runs::list_runs(&self.0, request).await
    }

    async fn record_metrics(&self, request: Request<RecordMetricsRequest>) -> Answer<RecordMetricsReply> {
        metrics::record(&self.0, request).await
    }

    async fn list_metrics(&self, request: Request<ListMetricsRequest>) -> Answer<ListMetricsReply> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        metrics::list(&self.0, request).await
    }

    async fn get_metric_history(&self, request: Request<GetMetricHistoryRequest>) -> Answer<GetMetricHistoryReply> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        metrics::history(&self.0, request).await
    }

    async fn append_logs(&self, request: Request<AppendLogsRequest>) -> Answer<AppendLogsReply> {
        logs::append(&self.0, request).await
    }

    type ReadLogsStream = Chunks<LogChunk>;

    async fn read_logs(&self, request: Request<ReadLogsRequest>) -> Answer<Self::ReadLogsStream> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        logs::read(&self.0, request).await
    }

    async fn record_artifacts(&self, request: Request<RecordArtifactsRequest>) -> Answer<RecordArtifactsReply> {
        artifacts::record(&self.0, request).await
    }

    async fn list_artifacts(&self, request: Request<ListArtifactsRequest>) -> Answer<ListArtifactsReply> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        artifacts::list(&self.0, request).await
    }

    async fn put_object(&self, request: Request<Streaming<ObjectChunk>>) -> Answer<ObjectFacts> {
        let call = CallContext::of(&request);
        still_good(&self.0, &call).await?;
        objects::put(&self.0, call, request.into_inner()).await
    }

    type GetObjectStream = Chunks<ObjectChunk>;

    async fn get_object(&self, request: Request<GetObjectRequest>) -> Answer<Self::GetObjectStream> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        objects::get(&self.0, request).await
    }

    async fn head_object(&self, request: Request<HeadObjectRequest>) -> Answer<ObjectFacts> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        objects::head(&self.0, request).await
    }

    async fn keep_objects(&self, request: Request<KeepObjectsRequest>) -> Answer<KeepObjectsReply> {
        still_good(&self.0, &CallContext::of(&request)).await?;
        objects::keep(&self.0, request).await
    }
}
