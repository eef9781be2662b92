//! Sends the table of routes to the routers: whole, at once and after each change.

use std::pin::Pin;
use std::sync::Arc;

use contracts::compute as wire;
use contracts::compute::routes_service_server::RoutesService;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::endpoints::EndpointCalls;

#[tonic::async_trait]
impl RoutesService for EndpointCalls {
    type WatchRoutesStream = Pin<Box<dyn Stream<Item = Result<wire::RouteTable, Status>> + Send>>;

    async fn watch_routes(
        &self,
        _: Request<wire::WatchRoutesRequest>,
    ) -> Result<Response<Self::WatchRoutesStream>, Status> {
        let tables = WatchStream::new(self.commands.state.routes.subscribe());
        let shutdown = self.commands.own.shutdown.clone();
        // Before the log has been looked at there is no table: an empty one would be a lie.
        let tables = tables.filter_map(|table: Option<Arc<wire::RouteTable>>| table.map(|table| Ok((*table).clone())));
        let over = async move { shutdown.requested().await };
        Ok(Response::new(Box::pin(futures_util::StreamExt::take_until(tables, Box::pin(over)))))
    }
}
