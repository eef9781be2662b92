//! The way to compute and what it has said last: reports go by it whenever it is open.

use std::sync::{Arc, Mutex, PoisonError};

use contracts::compute::agent_report::Report;
use contracts::compute::{AgentReport, Hello, Welcome};
use contracts::peer::{Credentials, Tls};
use contracts::{Peer, Peers};
use tokio::sync::{mpsc, watch};

/// What the welcome said.
#[derive(Debug)]
pub struct Server {
    /// With a connection to runs.
    pub peers: Peers,
    /// TRIALOG_API_URL.
    pub api_url: String,
    /// TRIALOG_CA_FILE; empty: none.
    pub ca_file: String,
}

/// The way to compute, whether it is open or not.
#[derive(Debug)]
pub struct Link {
    sender: Mutex<Option<mpsc::Sender<AgentReport>>>,
    server: watch::Sender<Option<Arc<Server>>>,
}

impl Link {
    /// A way that is not open yet.
    pub fn new() -> Self {
        Self { sender: Mutex::default(), server: watch::Sender::new(None) }
    }

    /// What the last welcome said; waits for the first.
    pub async fn server(&self) -> Arc<Server> {
        let mut server = self.server.subscribe();
        loop {
            if let Some(server) = &*server.borrow_and_update() {
                return Arc::clone(server);
            }
            if server.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Reports if the way is open. If not, nothing is lost: a new connection begins with the state of all attempts.
    pub async fn report(&self, report: Report) -> bool {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match sender {
            Some(sender) => sender.send(AgentReport { report: Some(report) }).await.is_ok(),
            None => false,
        }
    }

    /// Opens the way, its first message made while nobody else can send.
    pub fn open(&self, sender: mpsc::Sender<AgentReport>, hello: impl FnOnce() -> Hello) {
        let mut slot = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // The channel is new and empty, so it takes the message.
        let _ = sender.try_send(AgentReport { report: Some(Report::Hello(hello())) });
        *slot = Some(sender);
    }

    /// Closes the way.
    pub fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes note of what compute says to a new connection.
    pub fn welcome(&self, welcome: &Welcome) -> anyhow::Result<()> {
        let Welcome { runs_address, api_url, ca_file, runs_ca } = welcome.clone();
        // It shows itself by the node's secret in each call.
        let tls = Some(Tls { ca: runs_ca, identity: None }).filter(|tls| !tls.ca.is_empty());
        let runs = Peer::remote(&runs_address, &Credentials { token: None, tls }).map_err(anyhow::Error::msg)?;
        let peers = Peers { runs, ..Peers::default() };
        self.server.send_replace(Some(Arc::new(Server { peers, api_url, ca_file })));
        Ok(())
    }
}
