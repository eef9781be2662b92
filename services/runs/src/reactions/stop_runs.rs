//! A trial that its sweep wants to end, to wait at a rung, or to go on from there: its run asks compute, or is relabelled
//! when it has just ended.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::sweeps::{TrialPromoted, TrialStopRequested};
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
            let at_us = fact.recorded_at_us;
            let (run_id, command) = match fact.r#type.as_str() {
                "TrialStopRequested" => {
                    let TrialStopRequested { run_id, decision, by, .. } = decode(fact)?;
                    (run_id, Command::Stop { decision, by, at_us })
                }
                "TrialPromoted" => {
                    let TrialPromoted { run_id, .. } = decode(fact)?;
                    (run_id, Command::Release { at_us })
                }
                _ => return Ok(()),
            };
            let run = run_of(&run_id)?;
            match execute(&self.0, fact, self.name(), run, command).await? {
                Outcome::Done => Ok(()),
                Outcome::Absent => Err(not_yet(run)),
            }
        })
    }
}
