//! The calls of endpoints and deployments, handed on to what serves them.

use contracts::compute as wire;
use tonic::{Request, Response, Status};

use super::Api;

macro_rules! handed_on {
    ($($name:ident($request:ty) -> $reply:ty;)+) => {
        impl Api {
            $(pub(super) async fn $name(&self, request: Request<$request>) -> Result<Response<$reply>, Status> {
                self.core.serving.$name(request).await
            })+
        }
    };
}

handed_on! {
    put_endpoint(wire::PutEndpointRequest) -> wire::Endpoint;
    get_endpoint(wire::GetEndpointRequest) -> wire::Endpoint;
    list_endpoints(wire::ListEndpointsRequest) -> wire::ListEndpointsReply;
    delete_endpoint(wire::GetEndpointRequest) -> wire::Endpoint;
    put_deployment(wire::PutDeploymentRequest) -> wire::Deployment;
    get_deployment(wire::GetDeploymentRequest) -> wire::Deployment;
    list_deployments(wire::GetEndpointRequest) -> wire::ListDeploymentsReply;
    delete_deployment(wire::GetDeploymentRequest) -> wire::Deployment;
    put_traffic(wire::PutTrafficRequest) -> wire::Endpoint;
    read_deployment_logs(wire::ReadDeploymentLogsRequest) -> wire::DeploymentLogs;
    get_revision(wire::GetRevisionRequest) -> wire::Revision;
}
