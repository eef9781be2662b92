//! External mode: trials are asked for and told by whoever runs them. An ask, and a tell with all that follows from
//! it, is one append each.

use jiff::Timestamp;
use vocabulary::Problem;

use super::command::Heartbeat;
use super::events::{SweepEvent, TrialLeaseRenewed};
use super::rejection::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::status::Status;
use super::trial::Trial;

/// Whether a sweep has trials to offer, or why not.
pub fn offer_state(sweep: &Sweep) -> &'static str {
    match sweep.status {
        Status::Queued | Status::Running if sweep.allowed() > 0 || sweep.promotion().is_some() => "running",
        Status::Queued | Status::Running => "limit",
        Status::Paused => "paused",
        Status::Completing(_) => "completing",
        Status::Completed(_) => "completed",
        Status::Failed(..) => "failed",
        Status::Canceling(_) => "canceling",
        Status::Canceled(_) => "canceled",
    }
}

impl Sweep {
    /// Notes a sign of life.
    pub(super) fn heartbeat(&self, heartbeat: &Heartbeat) -> Decided {
        self.external_of(&heartbeat.workspace)?;
        let Heartbeat { trial: index, attempt, at, .. } = *heartbeat;
        let trial = self.holder(index, attempt)?;
        Ok(vec![renewal(trial, index, attempt, at)])
    }

    /// The sweep of a workspace, when its trials are asked for and told.
    pub(super) fn external_of(&self, workspace: &str) -> Result<&Submitted, Rejection> {
        let submitted = self.known()?;
        if submitted.workspace != workspace {
            return Err(Rejection::Absent);
        }
        if !submitted.spec.is_external() {
            let message = "the sweep is managed: its trials run on its cluster; ask and tell need mode external";
            return Err(Problem::new(422, "NotExternal", message).into());
        }
        Ok(submitted)
    }

    /// A trial, when this attempt may speak for it.
    pub(super) fn holder(&self, index: u32, attempt: u32) -> Result<&Trial, Rejection> {
        let trial = self.trial(index)?;
        let current = trial.attempt();
        if attempt < current {
            let detail = format!(
                "attempt {attempt} of trial {index} may not speak any more: its lease ran out and attempt {current} \
                 holds the trial; ask for another one"
            );
            return Err(Problem::conflict("StaleAttempt", detail).with("current_attempt", current).into());
        }
        if let Some(end) = &trial.end {
            let state = end.state().to_string();
            let detail = format!("trial {index} has ended ({state}) and takes nothing more");
            return Err(Problem::conflict("RunTerminal", detail).with("state", state).into());
        }
        if trial.paused.is_some() {
            let rung = self.curves.paused_at(index).unwrap_or_default();
            let detail = format!(
                "trial {index} waits at rung {rung} and takes nothing now; ask again: it is offered when it is promoted"
            );
            return Err(Problem::conflict("TrialPaused", detail).with("rung", rung).into());
        }
        if attempt > current {
            let detail = format!("attempt {attempt} of trial {index} was never offered; it is at attempt {current}");
            return Err(Problem::conflict("UnknownAttempt", detail).with("current_attempt", current).into());
        }
        Ok(trial)
    }
}

pub(super) fn renewal(trial: &Trial, index: u32, attempt: u32, at: Timestamp) -> SweepEvent {
    let expires_at = trial.lease.as_ref().map_or(at, |lease| lease.renewed(at));
    TrialLeaseRenewed { trial: index, attempt, expires_at }.into()
}
