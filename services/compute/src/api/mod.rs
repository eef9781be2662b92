//! The calls of the service.

mod endpoints;
mod endpoints_deployments;
mod endpoints_document;
mod endpoints_to_wire;
mod jobs;
mod nodes;
mod put_cluster;
mod read_clusters;
mod routes;
mod show;

pub(crate) use show::node_states;

use std::sync::Arc;

use contracts::compute as wire;
use contracts::compute::compute_service_server::ComputeService;
use tonic::{Request, Response, Status};

pub(crate) use endpoints::EndpointCalls;

use crate::commands::Commands;
use crate::fleet_state::FleetState;
use crate::providers::Provider;

/// What each call needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub commands: Commands,
    pub fleet: Arc<FleetState>,
    pub provider: Arc<dyn Provider>,
    pub endpoints: EndpointCalls,
}

macro_rules! calls {
    (
        own: { $($name:ident($request:ty) -> $reply:ty;)+ }
        endpoints: { $($endpoint:ident($wanted:ty) -> $answer:ty;)+ }
    ) => {
        #[tonic::async_trait]
        impl ComputeService for Api {
            $(async fn $name(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                self.$name(request).await
            })+
            $(async fn $endpoint(&self, request: Request<$wanted>) -> Result<Response<$answer>, Status> {
                self.endpoints.$endpoint(request).await
            })+
        }
    };
}

calls! {
    own: {
        put_cluster(wire::PutClusterRequest) -> wire::Cluster;
        update_cluster(wire::PutClusterRequest) -> wire::Cluster;
        get_cluster(wire::GetClusterRequest) -> wire::Cluster;
        list_clusters(wire::ListClustersRequest) -> wire::ListClustersReply;
        delete_cluster(wire::GetClusterRequest) -> wire::Cluster;
        list_nodes(wire::ListNodesRequest) -> wire::ListNodesReply;
        preempt_node(wire::PreemptNodeRequest) -> wire::Node;
        list_sizes(wire::ListSizesRequest) -> wire::ListSizesReply;
        get_job(wire::GetJobRequest) -> wire::Job;
        list_jobs(wire::ListJobsRequest) -> wire::ListJobsReply;
    }
    endpoints: {
        put_endpoint(wire::PutEndpointRequest) -> wire::Endpoint;
        get_endpoint(wire::GetEndpointRequest) -> wire::Endpoint;
        list_endpoints(wire::ListEndpointsRequest) -> wire::ListEndpointsReply;
        delete_endpoint(wire::GetEndpointRequest) -> wire::Endpoint;
        put_deployment(wire::PutDeploymentRequest) -> wire::Deployment;
        get_deployment(wire::GetDeploymentRequest) -> wire::Deployment;
        list_deployments(wire::ListDeploymentsRequest) -> wire::ListDeploymentsReply;
        delete_deployment(wire::GetDeploymentRequest) -> wire::Deployment;
        put_traffic(wire::PutTrafficRequest) -> wire::Endpoint;
        read_deployment_logs(wire::ReadDeploymentLogsRequest) -> wire::DeploymentLogs;
        get_revision(wire::GetRevisionRequest) -> wire::Revision;
    }
}
