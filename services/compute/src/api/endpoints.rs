//! Endpoints and deployments: not offered yet, and said so.

use contracts::compute as wire;
use contracts::status_of;
use tonic::{Request, Response, Status};
use vocabulary::Problem;

use super::Api;

macro_rules! not_offered_yet {
    ($($name:ident($request:ty) -> $reply:ty;)+) => {
        impl Api {
            $(pub(super) async fn $name(&self, _: Request<$request>) -> Result<Response<$reply>, Status> {
                Err(status_of(&Problem::new(422, "NotOfferedYet", "endpoints and deployments are not offered yet")))
            })+
        }
    };
}

not_offered_yet! {
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
