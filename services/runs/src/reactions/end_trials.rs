//! A trial that its sweep has ended and that no job drives: its run ends with it.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::sweeps::TrialEnded;
use eventlog::BoxFuture;
use feed::{ReactError, Reaction};

use super::{Outcome, decode, execute, not_yet, run_of};
use crate::run::{Command, RunState};
use crate::service::Core;

pub(super) struct EndTrials(pub Arc<Core>);

impl Reaction for EndTrials {
    fn name(&self) -> &'static str {
        "end_trials"
    }

    fn service(&self) -> &'static str {
        "sweeps"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            if fact.r#type != "TrialEnded" {
                return Ok(());
            }
            let ended: TrialEnded = decode(fact)?;
            // A trial that ended before it had a run has none to end.
            if ended.run_id.is_empty() {
                return Ok(());
            }
            let run = run_of(&ended.run_id)?;
            let state = RunState::parse(&ended.state).filter(|state| state.is_terminal());
            let state = state.ok_or_else(|| ReactError::Poison(format!("{:?} is no terminal state", ended.state)))?;
            let (decision, reason) = (ended.decision, ended.reason);
            let command = Command::EndTrial { state, decision, reason, at_us: fact.recorded_at_us };
            match execute(&self.0, fact, self.name(), run, command).await? {
                Outcome::Done => Ok(()),
                Outcome::Absent => Err(not_yet(run)),
            }
        })
    }
}
