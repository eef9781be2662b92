//! What each order of compute does to the node and to its attempts. Each may come again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptEnded, EndAcknowledged, JobEnd, StartAttempt, StopAttempt};
use contracts::job::with_kinds;

use crate::node::Node;
use crate::record::{self, Stop};
use crate::{attempt, folder, process};

/// How long attempts may take to end when the node goes, before their shims are killed too.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// Takes over what an earlier agent has left.
pub fn adopt(node: &Arc<Node>) {
    for (job_id, attempt, folder) in process::attempts_on_disk(&node.options.folder) {
        match folder::read_json::<StartAttempt>(&folder.join(folder::JOB)) {
            Ok(Some(order)) => take_on(node, order, folder),
            Ok(None) => {}
            Err(error) => tracing::error!(job.id = job_id, attempt, "cannot be adopted: {error}"),
        }
    }
}

fn take_on(node: &Arc<Node>, order: StartAttempt, folder: PathBuf) {
    let attempt = node.add(order, folder);
    tokio::spawn(attempt::drive(Arc::clone(node), attempt));
}

/// Carries out an order.
pub async fn obey(node: &Arc<Node>, order: Order) {
    match order {
        Order::Start(order) => start(node, order).await,
        Order::Stop(order) => stop(node, order).await,
        Order::Notice(notice) => node.give_notice(notice),
        Order::Acknowledged(end) => acknowledge(node, &end),
        Order::Leave(_) => leave(node),
        Order::Welcome(_) => {}
    }
}

async fn start(node: &Arc<Node>, order: StartAttempt) {
    if node.find(&order.job_id, order.attempt).is_some() {
        return;
    }
    // That it starts is what compute has ordered: the first news is that it runs.
    let end = match accept(node, order.clone()) {
        Ok(Accepted::Begins) => return,
        Ok(Accepted::Ended(end)) => *end,
        Err(error) => JobEnd {
            outcome: "lost".to_owned(),
            reason: "lost".to_owned(),
            stderr_tail: format!("the node cannot take the job: {error}"),
            ..JobEnd::default()
        },
    };
    let StartAttempt { job_id, attempt, .. } = order;
    node.link.report(Report::Ended(AttemptEnded { job_id, attempt, end: Some(with_kinds(end)) })).await;
}

/// What becomes of an order to start.
enum Accepted {
    /// The attempt begins.
    Begins,
    /// It was here, and ended like this: compute had not taken that in when it gave the order.
    Ended(Box<JobEnd>),
}

fn accept(node: &Arc<Node>, mut order: StartAttempt) -> std::io::Result<Accepted> {
    if node.is_leaving() {
        return Err(std::io::Error::other("it is about to go"));
    }
    if !folder::is_plain_name(&order.job_id) {
        return Err(std::io::Error::other(format!("'{}' is not a job id", order.job_id)));
    }
    let folder = folder::of_attempt(&node.options.folder, &order.job_id, order.attempt);
    for ended in [folder::ACKNOWLEDGED, folder::ENDED].map(|name| folder.join(name)) {
        if ended.exists() {
            return Ok(Accepted::Ended(Box::new(folder::read_json(&ended)?.unwrap_or_default())));
        }
    }
    std::fs::create_dir_all(&folder)?;
    if !order.checkpoint_folder.is_empty() {
        // The job runs in a folder of its own, where a relative path would lead elsewhere.
        order.checkpoint_folder = std::path::absolute(&order.checkpoint_folder)?.display().to_string();
    }
    folder::write_json(&folder.join(folder::JOB), &order)?;
    take_on(node, order, folder);
    Ok(Accepted::Begins)
}

async fn stop(node: &Node, order: StopAttempt) {
    let StopAttempt { job_id, attempt, grace_seconds, reason, by, decision, .. } = order;
    if let Some(attempt) = node.find(&job_id, attempt) {
        attempt.stop(&Stop { grace_seconds, reason, by, decision });
        return;
    }
    // It never began here, so this is its end.
    let end = JobEnd { outcome: "canceled".to_owned(), by, decision, ..JobEnd::default() };
    node.link.report(Report::Ended(AttemptEnded { job_id, attempt, end: Some(with_kinds(end)) })).await;
}

fn acknowledge(node: &Node, end: &EndAcknowledged) {
    if let Some(attempt) = node.find(&end.job_id, end.attempt) {
        attempt.acknowledge();
    }
}

/// The node goes: every process of it ends now, and the agent itself once runs and compute have what was written
/// before that.
fn leave(node: &Arc<Node>) {
    if node.set_leaving() {
        let node = Arc::clone(node);
        tokio::spawn(async move { end_everything(&node).await });
    }
}

/// Ends every attempt and all its processes.
async fn end_everything(node: &Node) {
    let stop = Stop { reason: record::FENCED.to_owned(), by: "node".to_owned(), ..Stop::default() };
    let attempts = node.all();
    for attempt in &attempts {
        attempt.stop(&stop);
    }
    let gone = async {
        for attempt in &attempts {
            attempt.processes_gone().await;
        }
    };
    let _ = tokio::time::timeout(LEAVE_WAIT, gone).await;
    let folder = node.options.folder.clone();
    let _ = tokio::task::spawn_blocking(move || process::kill_node(&folder)).await;
}
