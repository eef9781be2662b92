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
/// How long the next attempts wait for what the ones before them wrote: far longer than an agent takes to come back and
/// to hand over metrics and logs, and not so long that a job whose data never come seems to hang.
const DATA_WAIT: Duration = Duration::from_secs(30);

/// Does everything; true when something has changed, so that a new look is worth it.
pub(super) async fn perform(engine: &Arc<Engine>, actions: Vec<Action>) -> bool {
    let done = join_all(actions.into_iter().map(|action| one(engine, action))).await;
    done.into_iter().any(|changed| changed)
}

async fn one(engine: &Arc<Engine>, action: Action) -> bool {
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
            changed(engine.commands.of_cluster(&cluster, command, ACTOR).await)
        }
        Action::Notice { cluster, node_id, deadline_us, reason } => {
            let command = cluster::Command::Notice { node_id, by: Taker::Provider, deadline_us, reason, at_us };
            changed(engine.commands.of_cluster(&cluster, command, ACTOR).await)
        }
        Action::Leave { cluster, node_id, reason } => {
            // A job may have been placed on it since the look.
            if !engine.fleet.lock().close(node_id) {
                return true;
            }
            let command = cluster::Command::Leave { node_id, reason, at_us };
            let leaves = changed(engine.commands.of_cluster(&cluster, command, ACTOR).await);
            if !leaves {
                engine.fleet.lock().reopen(node_id);
            }
            leaves
        }
        Action::Fail { cluster, node_id, reason } => changed(
            engine.commands.of_cluster(&cluster, cluster::Command::Fail { node_id, reason, at_us }, ACTOR).await,
        ),
        Action::FinishDelete { cluster } => {
            changed(engine.commands.of_cluster(&cluster, cluster::Command::FinishDelete { at_us }, ACTOR).await)
        }
        Action::Remove { cluster, node_id, end, reason } => {
            engine.fleet.lock().set_removing(node_id, true);
            tokio::spawn(remove(Arc::clone(engine), cluster, node_id, end, reason));
            true
        }
    }
}

/// A job whose commands can never go through must not stand before all others in every plan.
async fn of_job(engine: &Engine, job_id: JobId, command: job::Command) -> bool {
    match engine.commands.of_job(job_id, command, ACTOR).await {
        Ok(committed) => committed.events > 0,
        Err(error) => {
            let problem: Problem = error.into_problem(|never| match never {});
            if problem.passes_by_itself() {
                tracing::warn!(job.id = %job_id, "the scheduler's command did not go through: {problem}");
                return false;
            }
            tracing::error!(job.id = %job_id, "it is left alone: {problem}");
            engine.fleet.lock().leave_job(job_id, format!("it cannot be changed: {problem}"));
            true
        }
    }
}

/// A command that was overtaken leads to no events, which is no error.
fn changed<R: std::fmt::Debug>(outcome: Result<Committed, ExecuteError<R>>) -> bool {
    match outcome {
        Ok(committed) => committed.events > 0,
        Err(error) => {
            tracing::warn!("the scheduler's command did not go through: {error:?}");
            false
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
            Err(error) => tracing::error!(node.id = %node_id, "cannot be halted: {error:#}"),
        }
        backoff.wait_unless(&engine.commands.shutdown).await;
    }
    backoff.reset();
    // The time begins anew with each start of the server: before that nobody could take anything.
    let secret = token::node_secret(&node_id.to_string(), &engine.signing_key);
    tokio::select! {
        () = engine.provider.collect(node_id, secret) => {}
        () = tokio::time::sleep(DATA_WAIT) => {
            tracing::warn!(node.id = %node_id, "what its attempts wrote is not in; their jobs go on without it");
        }
        () = engine.commands.shutdown.requested() => return,
    }
    while !engine.commands.shutdown.is_requested() {
        let command = cluster::Command::NodeIsGone {
            node_id,
            end,
            reason: reason.clone(),
            at_us: engine.commands.clock.now_us(),
        };
        match engine.commands.of_cluster(&cluster, command, ACTOR).await {
            Ok(_) => return,
            Err(error) => {
                let problem: Problem = error.into_problem(Into::into);
                if !problem.passes_by_itself() {
                    tracing::error!(node.id = %node_id, "its end cannot be recorded: {problem}");
                    return;
                }
                tracing::warn!(node.id = %node_id, "its end is recorded later: {problem}");
            }
        }
        backoff.wait_unless(&engine.commands.shutdown).await;
    }
}
