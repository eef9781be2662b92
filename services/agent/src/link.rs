//! The connection to compute: dialled by the agent, kept up for ever, and resumed with everything that compute has not
//! acknowledged.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contracts::Peers;
use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AgentReport, Heartbeat, Hello, Welcome};
use runtime::{Backoff, Stopwatch};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::node::Node;

/// Waits between two attempts to connect.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a report may wait for the connection before that counts as lost.
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// Reports that may wait for the connection to take them.
const REPORTS_WAITING_MAX: usize = 1024;

/// What the welcome said.
#[derive(Debug)]
pub struct Server {
    /// With a connection to runs.
    pub peers: Peers,
    /// TRIALOG_API_URL.
    pub api_url: String,
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
    fn open(&self, sender: mpsc::Sender<AgentReport>, hello: impl FnOnce() -> Hello) {
        let mut slot = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        // The channel is new and empty, so it takes the message.
        let _ = sender.try_send(AgentReport { report: Some(Report::Hello(hello())) });
        *slot = Some(sender);
    }

    fn close(&self) {
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn welcome(&self, welcome: &Welcome) -> anyhow::Result<()> {
        let runs = contracts::Peer::remote(&welcome.runs_address).map_err(anyhow::Error::msg)?;
        let peers = Peers { runs, ..Peers::default() };
        self.server.send_replace(Some(Arc::new(Server { peers, api_url: welcome.api_url.clone() })));
        Ok(())
    }
}

/// Connects, and again after each loss, until it was told to leave and has nothing left to say, until compute has been
/// away for too long while nothing runs here, or until it is to shut down: then attempts go on under their shims.
pub async fn keep_connected(node: &Arc<Node>, compute: &Peers) {
    let mut backoff = Backoff::new(BACK_OFF_MIN, BACK_OFF_MAX);
    let shutdown = node.options.shutdown.clone();
    let mut away = Stopwatch::start();
    loop {
        let mut welcomed = false;
        let lost = tokio::select! {
            lost = session(node, compute, &mut welcomed) => lost,
            () = node.may_go() => return,
            () = shutdown.requested() => return,
        };
        node.link.close();
        let Err(error) = lost;
        tracing::debug!(node.id = node.options.node_id, "compute is away: {error:#}");
        if welcomed {
            backoff.reset();
            away = Stopwatch::start();
        }
        if away.elapsed() >= node.options.away && node.is_idle() {
            tracing::info!(node.id = node.options.node_id, "compute stays away and nothing runs here: the agent ends");
            return;
        }
        tokio::select! {
            () = backoff.wait() => {}
            () = node.may_go() => return,
            () = shutdown.requested() => return,
        }
    }
}

/// One connection; answers why it has ended.
async fn session(node: &Arc<Node>, compute: &Peers, welcomed: &mut bool) -> anyhow::Result<Infallible> {
    let (sender, reports) = mpsc::channel(REPORTS_WAITING_MAX);
    node.link.open(sender, || node.hello());
    let mut orders = compute.agent_client().connect(ReceiverStream::new(reports)).await?.into_inner();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        let order = tokio::select! {
            order = orders.next() => order,
            _ = heartbeat.tick() => {
                let beat = node.link.report(Report::Heartbeat(Heartbeat {}));
                let taken = tokio::time::timeout(REPORT_WAIT, beat).await.unwrap_or(false);
                anyhow::ensure!(taken, "the connection takes no reports");
                continue;
            }
        };
        let order = order.ok_or_else(|| anyhow::anyhow!("the connection has ended"))??;
        match order.order {
            Some(Order::Welcome(welcome)) => {
                node.link.welcome(&welcome)?;
                *welcomed = true;
                node.repeat_reports().await;
            }
            Some(order) => node.obey(order).await,
            None => {}
        }
    }
}
