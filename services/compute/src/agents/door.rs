//! Where agents connect.

use std::pin::Pin;
use std::sync::Arc;

use contracts::compute::agent_service_server::AgentService;
use contracts::compute::{AgentOrder, AgentReport};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::desk::Desk;
use super::registry::ORDERS_WAITING_MAX;
use super::session;

/// The door of agents.
#[derive(Clone)]
pub(crate) struct Door {
    pub desk: Arc<Desk>,
}

#[tonic::async_trait]
impl AgentService for Door {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<AgentOrder, Status>> + Send>>;

    async fn connect(&self, request: Request<Streaming<AgentReport>>) -> Result<Response<Self::ConnectStream>, Status> {
        let (orders, receiver) = mpsc::channel(ORDERS_WAITING_MAX);
        tokio::spawn(session::run(Arc::clone(&self.desk), request.into_inner(), orders));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
