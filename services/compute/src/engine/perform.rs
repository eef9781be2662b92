//! Carries a plan out: all its commands at the same time, so that they share a commit.

use std::sync::Arc;
use std::time::Duration;

use contracts::compute::Leave;
use contracts::compute::agent_order::Order;
use eventlog::{Committed, ExecuteError};
use futures_util::future::join_all;
use runtime::Backoff;
use vocabulary::{JobId, NodeId, Problem, token};

use super::parts::Engine;
use crate::cluster::{self, NodeEnd, Taker};
use crate::job;
use crate::providers::AgentIs;
use crate::scheduler::Action;
use crate::stream::ClusterName;

/// Who gives the commands.
const ACTOR: &str = "scheduler";
/// Between two tries to clear a node away.
const REMOVE_RETRY_MIN: Duration = Duration::from_millis(250);
const REMOVE_RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two tries to write its end down that somebody has to mend something for.
const REPAIR_WAIT_MIN: Duration = Duration::from_secs(2);
const REPAIR_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the next attempts wait for what the ones before them wrote: far longer than an agent takes to come back and
/// to hand over metrics and logs, and not so long that a job whose data never come seems to hang.
const DATA_WAIT: Duration = Duration::from_secs(30);

/// Does everything; true when something has changed, so that a new look is worth it.
pub(super) async fn perform(engine: &Arc<Engine>, actions: Vec<Action>) -> bool {
    let done = join_all(actions.into_iter().map(|action| one(engine, action))).await;
    done.contains(&Done::Changed)
}

/// What became of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Something is different now.
    Changed,
    /// Nothing had to be done any more, or it can never be.
    Nothing,
    /// What is in the way passes by itself.
    NotNow,
}

/// Does one thing.
pub(super) async fn one(engine: &Arc<Engine>, action: Action) -> Done {
    let at_us = engine.commands.clock.now_us();
    match action {
        Action::Place { job_id, attempt, node_id, reason } => {
            let command = job::Command::Place { attempt, node_id, reason, at_us };
            of_job(engine, job_id, command).await
        }
        Action::EndAttempt { job_id, attempt, node_id, end } => {
            let command = job::Command::EndAttempt { attempt, node_id, end, at_us };
            of_job(engine, job_id, command).await
        }
        Action::GiveUp { job_id, end } => of_job(engine, job_id, job::Command::GiveUp { end, at_us }).await,
        Action::Stop { job_id, by } => {
            let command = job::Command::Stop { by, decision: String::new(), at_us };
            of_job(engine, job_id, command).await
        }
        Action::RequestNode { cluster, reason } => {
            let node_id = NodeId::new(engine.commands.entropy.uuid());
            let secret = token::node_secret(&node_id.to_string(), &engine.signing_key);
            let token_sha256 = token::fingerprint(&secret);
            let command = cluster::Command::RequestNode { node_id, token_sha256, reason, at_us };
            outcome(engine.commands.of_cluster(&cluster, command, ACTOR).await)
        }
        Action::Notice { cluster, node_id, deadline_us, reason } => {
            let command = cluster::Command::Notice { node_id, by: Taker::Provider, deadline_us, reason, at_us };
            outcome(engine.commands.of_cluster(&cluster, command, ACTOR).await)
        }
        Action::Leave { cluster, node_id, reason } => {
            // A job may have been placed on it since the look.
            if !engine.fleet.lock().close(node_id) {
                return Done::Changed;
            }
            let command = cluster::Command::Leave { node_id, reason, at_us };
            let leaves = outcome(engine.commands.of_cluster(&cluster, command, ACTOR).await);
            if leaves != Done::Changed {
                engine.fleet.lock().reopen(node_id);
            }
            leaves
        }
        Action::Fail { cluster, node_id, reason } => outcome(
            engine.commands.of_cluster(&cluster, cluster::Command::Fail { node_id, reason, at_us }, ACTOR).await,
        ),
        Action::FinishDelete { cluster } => {
            outcome(engine.commands.of_cluster(&cluster, cluster::Command::FinishDelete { at_us }, ACTOR).await)
        }
        Action::Remove { cluster, node_id, end, reason } => {
            engine.fleet.lock().set_removing(node_id, true);
            tokio::spawn(remove(Arc::clone(engine), cluster, node_id, end, reason));
            Done::Changed
        }
    }
}

/// A job whose commands can never go through must not stand before all others in every plan.
async fn of_job(engine: &Engine, job_id: JobId, command: job::Command) -> Done {
    match engine.commands.of_job(job_id, command, ACTOR).await {
        Ok(committed) => changed_by(committed),
        Err(error) => {
            let problem: Problem = error.into_problem(|never| match never {});
            if problem.passes_by_itself() {
                tracing::warn!(job.id = %job_id, "the scheduler's command did not go through: {problem}");
                return Done::NotNow;
            }
            tracing::error!(job.id = %job_id, "it is left alone: {problem}");
            engine.fleet.lock().leave_job(job_id, format!("it cannot be changed: {problem}"));
            Done::Changed
        }
    }
}

/// A command that was overtaken leads to no events, which is no error.
fn changed_by(committed: Committed) -> Done {
    if committed.events > 0 { Done::Changed } else { Done::Nothing }
}

fn outcome(outcome: Result<Committed, ExecuteError<cluster::Rejection>>) -> Done {
    match outcome {
        Ok(committed) => changed_by(committed),
        Err(error) => {
            let problem: Problem = error.into_problem(Into::into);
            tracing::warn!("the scheduler's command did not go through: {problem}");
            if problem.passes_by_itself() { Done::NotNow } else { Done::Nothing }
        }
    }
}

/// Takes a node away and says so once nothing of it runs any more and what its attempts wrote is in: only then may its
/// jobs begin elsewhere. What is not in by then comes later, from the agent that stays for it, and changes no decision.
async fn remove(engine: Arc<Engine>, cluster: ClusterName, node_id: NodeId, end: NodeEnd, reason: String) {
    let notified = engine.agents.send(node_id, Order::Leave(Leave { reason: reason.clone() }));
    let agent = match end {
        // A node that is given up because it does not answer will not end anything by itself.
        NodeEnd::Failed => AgentIs::Mute,
        _ if notified => AgentIs::Notified,
        _ => AgentIs::Away,
    };
    let mut backoff = Backoff::new(REMOVE_RETRY_MIN, REMOVE_RETRY_MAX);
    while !engine.commands.shutdown.is_requested() {
        match engine.provider.release(node_id, agent).await {
            Ok(()) => break,
            Err(error) => trouble(&engine, node_id, format!("it cannot be halted: {error:#}")),
        }
        backoff.wait_unless(&engine.commands.shutdown).await;
    }
    engine.fleet.lock().set_trouble(node_id, String::new());
    // The time begins anew with each start of the server: before that nobody could take anything.
    let secret = token::node_secret(&node_id.to_string(), &engine.signing_key);
    tokio::select! {
        () = engine.provider.collect(node_id, secret) => {}
        () = tokio::time::sleep(DATA_WAIT) => {
            tracing::warn!(node.id = %node_id, "what its attempts wrote is not in; their jobs go on without it");
        }
        () = engine.commands.shutdown.requested() => return,
    }
    record_end(&engine, &cluster, node_id, end, reason).await;
}

/// Writes down that a node is gone. What does not pass by itself is shown, and may have been mended by a later try.
async fn record_end(engine: &Engine, cluster: &ClusterName, node_id: NodeId, end: NodeEnd, reason: String) {
    let mut backoff = Backoff::new(REMOVE_RETRY_MIN, REMOVE_RETRY_MAX);
    let mut repair = Backoff::new(REPAIR_WAIT_MIN, REPAIR_WAIT_MAX);
    while !engine.commands.shutdown.is_requested() {
        let at_us = engine.commands.clock.now_us();
        let command = cluster::Command::NodeIsGone { node_id, end, reason: reason.clone(), at_us };
        let problem: Problem = match engine.commands.of_cluster(cluster, command, ACTOR).await {
            Ok(_) => return,
            Err(error) => error.into_problem(Into::into),
        };
        if problem.passes_by_itself() {
            tracing::warn!(node.id = %node_id, "its end is recorded later: {problem}");
            backoff.wait_unless(&engine.commands.shutdown).await;
            continue;
        }
        trouble(engine, node_id, format!("its end cannot be recorded: {problem}"));
        repair.wait_unless(&engine.commands.shutdown).await;
        // A fleet that was loaded since without its cluster does not wait for it.
        if engine.fleet.lock().node(node_id).is_none() {
            return;
        }
    }
}

/// Somebody has to look at what is in the way.
fn trouble(engine: &Engine, node_id: NodeId, why: String) {
    tracing::error!(node.id = %node_id, "{why}");
    engine.fleet.lock().set_trouble(node_id, why);
}
