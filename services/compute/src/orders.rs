//! What agents are told: made of the state of a job or of a node, so that it can be made again for each connection.

use std::path::PathBuf;
use std::time::Duration;

use contracts::compute::agent_order::Order;
use contracts::compute::{NodeNotice, StartAttempt, StopAttempt};
use contracts::job::Word;
use vocabulary::JobId;
use vocabulary::job::StopBy;
use vocabulary::token::RunToken;

use crate::cluster::{Node, NodeState};
use crate::job::Job;
use crate::time::shown;

/// Time between SIGTERM and SIGKILL when the job names none.
const GRACE_SECONDS_DEFAULT: f64 = 10.0;

/// Makes the orders that carry something of the installation.
#[derive(Clone)]
pub(crate) struct OrderMaker {
    /// Where runs keep their checkpoints over attempts.
    pub checkpoints: PathBuf,
    /// Seals the tokens of runs.
    pub signing_key: [u8; 32],
}

impl OrderMaker {
    /// The order to start a job's attempt.
    pub fn start(&self, job_id: JobId, job: &Job) -> Order {
        let (workspace, run_id) = (&job.key.workspace, &job.key.run_id);
        // A service job has no run; its token is of the job, and good for nothing that belongs to a run.
        let subject = if run_id.is_empty() { job_id.to_string() } else { run_id.clone() };
        let checkpoint = self.checkpoints.join(&subject);
        let token = RunToken { workspace: workspace.clone(), run_id: subject, attempt: job.attempt };
        Order::Start(StartAttempt {
            job_id: job_id.to_string(),
            attempt: job.attempt,
            workspace: workspace.clone(),
            run_id: run_id.clone(),
            spec: Some(job.spec.as_ref().clone().into()),
            run_token: token.mint(&self.signing_key),
            checkpoint_folder: if job.spec.checkpoint { checkpoint.display().to_string() } else { String::new() },
        })
    }
}

/// The order to stop a job's attempt; `None` when nobody wants it.
pub(crate) fn stop(job_id: JobId, job: &Job) -> Option<Order> {
    let stop = job.stop.as_ref()?;
    Some(Order::Stop(StopAttempt {
        job_id: job_id.to_string(),
        attempt: job.attempt,
        grace_seconds: job.spec.grace_seconds.unwrap_or(GRACE_SECONDS_DEFAULT),
        reason: if stop.by == StopBy::Policy { "stopped" } else { "canceled" }.to_owned(),
        by: stop.by.to_string(),
        decision: stop.decision.clone(),
        by_kind: stop.by.kind(),
    }))
}

/// The notice of a node that will go; `None` when it may stay.
pub(crate) fn notice(node: &Node, now_us: i64) -> Option<Order> {
    let NodeState::Noticed { deadline_us } = node.state else { return None };
    let seconds_left = Duration::from_micros((deadline_us - now_us).max(0).unsigned_abs()).as_secs_f64();
    Some(Order::Notice(NodeNotice { deadline: shown(deadline_us), reason: node.reason.clone(), seconds_left }))
}
