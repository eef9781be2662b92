//! Given a history, when a command comes, then these events.

mod life;
mod points;
mod replay;
mod stored;

use uuid::Uuid;
use vocabulary::job::{JobEnd, JobSpec, Outcome, RequeueCause, StopBy};
use vocabulary::{Decider, RunId};

use super::*;

fn run_id() -> RunId {
    RunId::new(Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001))
}

fn subject() -> Subject {
    Subject { workspace: "default".into(), sweep_id: "sweep_1".into(), trial_index: Some(3) }
}

fn created(job: Option<JobSpec>) -> Command {
    Command::Create(Box::new(RunCreated {
        subject: subject(),
        run_id: run_id(),
        experiment_id: "1".into(),
        experiment: "digits".into(),
        name: "trial 3".into(),
        parent_run_id: String::new(),
        params: [("lr".to_owned(), "0.1".to_owned())].into(),
        tags: [("team".to_owned(), "vision".to_owned())].into(),
        job,
        objective: None,
        at_us: 1,
    }))
}

fn job() -> JobSpec {
    JobSpec { cluster: "spot".into(), primary_metric: Some("acc".into()), ..JobSpec::default() }
}

fn with_job() -> Command {
    created(Some(job()))
}

fn reached(attempt: u32, state: RunState) -> Command {
    Command::Job(JobNews::Reached { attempt, state, node_id: "node_1".into(), at_us: 5 })
}

fn ended(attempt: u32, outcome: Outcome) -> Command {
    Command::Job(JobNews::Ended { attempt, end: JobEnd::new(outcome), at_us: 9 })
}

fn requeued(attempt: u32, cause: RequeueCause) -> Command {
    let outcome = if cause == RequeueCause::Lost { Outcome::Lost } else { Outcome::Preempted };
    let end = JobEnd { checkpoint_age_seconds: Some(2.5), ..JobEnd::new(outcome) };
    Command::Job(JobNews::Requeued {
        attempt,
        next_attempt: attempt + 1,
        cause,
        end,
        node_id: "node_1".into(),
        at_us: 7,
    })
}

fn stop(by: StopBy) -> Command {
    Command::Stop { decision: "sweep_1@17".into(), by, at_us: 8 }
}

fn cancel() -> Command {
    Command::Cancel { workspace: "default".into(), run: "r".into(), at_us: 8 }
}

fn update(update: Update) -> Command {
    Command::Update { workspace: "default".into(), run: "r".into(), update, at_us: 8 }
}

/// The run after commands that are all accepted.
fn given(commands: &[Command]) -> Run {
    let mut run = Run::default();
    for command in commands {
        for event in run.decide(command).unwrap() {
            run.evolve(&event);
        }
    }
    run
}

fn state_after(commands: &[Command]) -> RunState {
    given(commands).state.unwrap()
}
