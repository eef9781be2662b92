//! A trial that its sweep wants to end: its run asks compute, or is relabelled when it has just ended.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::sweeps::TrialStopRequested;
use eventlog::BoxFuture;
use feed::{ReactError, Reaction};

use super::{Outcome, decode, execute, not_yet, run_of};
use crate::run::Command;
use crate::service::Core;

pub(super) struct StopRuns(pub Arc<Core>);

impl Reaction for StopRuns {
    fn name(&self) -> &'static str {
        "stop_runs"
    }

    fn service(&self) -> &'static str {
        "sweeps"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            if fact.r#type != "TrialStopRequested" {
                return Ok(());
            }
            let stop: TrialStopRequested = decode(fact)?;
            let run = run_of(&stop.run_id)?;
            let command = Command::Stop { decision: stop.decision, by: stop.by, at_us: fact.recorded_at_us };
            match execute(&self.0, fact, self.name(), run, command).await? {
                Outcome::Done => Ok(()),
                Outcome::Absent => Err(not_yet(run)),
            }
        })
    }
}
