//! The connection to compute: dialled by the agent, kept up for ever, and resumed with everything that compute has not
//! acknowledged.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use contracts::Peers;
use contracts::compute::Heartbeat;
use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use runtime::{Backoff, Stopwatch};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::node::Node;
use crate::orders;

/// Waits between two attempts to connect.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a report may wait for the connection before that counts as lost.
const REPORT_WAIT: Duration = Duration::from_secs(10);
/// Reports that may wait for the connection to take them.
const REPORTS_WAITING_MAX: usize = 1024;

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
    let call = node.call().attach(ReceiverStream::new(reports));
    let mut orders = compute.agent_client().connect(call).await?.into_inner();
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
            Some(order) => orders::obey(node, order).await,
            None => {}
        }
    }
}
