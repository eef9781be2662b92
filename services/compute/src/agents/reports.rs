//! What an agent reports, written down. The reports of one job go one after another, those of different jobs share a
//! commit.

use std::collections::BTreeMap;

use contracts::compute as wire;
use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AgentOrder, AttemptEnded, EndAcknowledged, PreemptionNotice};
use contracts::job::{Word, end_of};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use vocabulary::job::AttemptPhase;
use vocabulary::{JobId, NodeId};

use super::desk::Desk;
use super::registry::OrderSender;
use crate::job::{Command, failed_end};
use crate::providers::NodeEvent;

/// Reports written down at the same time.
const CHUNK_REPORTS: usize = 256;
/// Who gives the commands.
const ACTOR: &str = "agents";

/// Writes reports down until there are no more.
pub(super) async fn handle(desk: &Desk, node_id: NodeId, reports: mpsc::Receiver<Report>, orders: &OrderSender) {
    let mut chunks = ReceiverStream::new(reports).ready_chunks(CHUNK_REPORTS);
    while let Some(chunk) = chunks.next().await {
        let mut by_job: BTreeMap<String, Vec<Report>> = BTreeMap::new();
        for report in chunk {
            by_job.entry(job_of(&report).to_owned()).or_default().push(report);
        }
        join_all(by_job.into_values().map(|reports| in_order(desk, node_id, reports, orders))).await;
    }
}

fn job_of(report: &Report) -> &str {
    match report {
        Report::Phase(report) => &report.job_id,
        Report::Ended(report) => &report.job_id,
        Report::ReplicaReady(report) => &report.job_id,
        Report::ReplicaLog(report) => &report.job_id,
        Report::Hello(_) | Report::Heartbeat(_) | Report::Notice(_) | Report::Trouble(_) => "",
    }
}

async fn in_order(desk: &Desk, node_id: NodeId, reports: Vec<Report>, orders: &OrderSender) {
    for report in reports {
        match report {
            Report::Phase(report) => phase(desk, node_id, report).await,
            Report::Ended(report) => ended(desk, node_id, report, orders).await,
            Report::Notice(report) => notice(desk, node_id, report),
            Report::Trouble(report) => trouble(desk, node_id, report.reason),
            Report::ReplicaReady(report) => desk.endpoints.replica_ready(&node_id.to_string(), report).await,
            Report::ReplicaLog(report) => desk.endpoints.replica_log(&report).await,
            Report::Hello(_) | Report::Heartbeat(_) => {}
        }
    }
}

/// What an agent says about its node. It is shown as long as it lasts, and nothing is decided on it.
fn trouble(desk: &Desk, node_id: NodeId, reason: String) {
    match reason.is_empty() {
        true => tracing::info!(node.id = %node_id, "the node's trouble is over"),
        false => tracing::warn!(node.id = %node_id, "the node has trouble: {reason}"),
    }
    desk.fleet.lock().set_trouble(node_id, reason);
}

async fn phase(desk: &Desk, node_id: NodeId, report: wire::AttemptPhase) {
    let phase = AttemptPhase::required(report.phase_kind, &report.phase);
    let (Ok(job_id), Ok(phase)) = (JobId::parse(&report.job_id), phase) else {
        tracing::warn!(node.id = %node_id, "a phase that means nothing: {} {}", report.job_id, report.phase);
        return;
    };
    let command = Command::Reach { attempt: report.attempt, node_id, phase, at_us: desk.commands.clock.now_us() };
    desk.commands.of_job_surely(job_id, command, ACTOR).await;
}

/// An end is acknowledged once it is written down, or means nothing any more: an agent keeps what is not
/// acknowledged.
async fn ended(desk: &Desk, node_id: NodeId, report: AttemptEnded, orders: &OrderSender) {
    let AttemptEnded { job_id, attempt, end } = report;
    if let Ok(id) = JobId::parse(&job_id) {
        // Whatever it says, the attempt has ended, and its agent repeats the report until it is acknowledged.
        let end = end_of(end).unwrap_or_else(|error| failed_end("bad_report", error));
        let command = Command::EndAttempt { attempt, node_id, end, at_us: desk.commands.clock.now_us() };
        let is_recorded = desk.commands.of_job_surely(id, command, ACTOR).await;
        // What is left alone has had room until now.
        desk.fleet.lock().attempt_is_over(node_id, (id, attempt), desk.commands.clock.now_us());
        if !is_recorded {
            return;
        }
    }
    let order = Order::Acknowledged(EndAcknowledged { job_id, attempt });
    // A connection that has ended is no loss: the agent reports the end again on the next.
    let _ = orders.send(Ok(AgentOrder { order: Some(order) })).await;
}

/// A provider has told its node that it goes. The connection may be over before this can be recorded.
fn notice(desk: &Desk, node_id: NodeId, report: PreemptionNotice) {
    let now_us = desk.commands.clock.now_us();
    let deadline_us = report.deadline.parse::<jiff::Timestamp>().map_or(now_us, |deadline| deadline.as_microsecond());
    desk.fleet.reported.put(NodeEvent::Notice { node_id, deadline_us, reason: report.reason });
    desk.fleet.wake.notify_one();
}
