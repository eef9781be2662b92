//! A proposed trial gets its run, in the experiment that its sweep names.

use std::sync::Arc;

use contracts::feed::Fact;
use contracts::sweeps::TrialProposed;
use eventlog::BoxFuture;
use feed::{ReactError, Reaction};

use super::{decode, execute, run_of};
use crate::api::{experiment_of, name_of, stored_form};
use crate::run::{Command, RunCreated, Subject};
use crate::service::Core;

pub(super) struct CreateRuns(pub Arc<Core>);

impl Reaction for CreateRuns {
    fn name(&self) -> &'static str {
        "create_runs"
    }

    fn service(&self) -> &'static str {
        "sweeps"
    }

    fn handle<'a>(&'a self, fact: &'a Fact) -> BoxFuture<'a, Result<(), ReactError>> {
        Box::pin(async move {
            if fact.r#type != "TrialProposed" {
                return Ok(());
            }
            let proposed: TrialProposed = decode(fact)?;
            let run = run_of(&proposed.run_id)?;
            let context = calls::reaction_context(fact, "create_runs.experiment");
            let experiment = experiment_of(&self.0, &proposed.workspace, &proposed.experiment, context).await?;
            let created = RunCreated {
                subject: Subject {
                    workspace: proposed.workspace,
                    sweep_id: proposed.sweep_id,
                    trial_index: Some(proposed.trial_index),
                },
                run_id: run,
                experiment_id: experiment.experiment_id,
                experiment: experiment.name,
                name: if proposed.run_name.is_empty() { name_of(run) } else { proposed.run_name },
                parent_run_id: String::new(),
                params: proposed.params,
                tags: proposed.tags,
                job: proposed.job.as_ref().map(stored_form).transpose()?,
                at_us: fact.recorded_at_us,
            };
            execute(&self.0, fact, self.name(), run, Command::Create(Box::new(created))).await?;
            Ok(())
        })
    }
}
