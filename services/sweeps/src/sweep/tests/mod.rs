//! Given events, when a command, then events or a refusal; and random histories.

mod batching;
mod ending;
mod events;
mod external;
mod finishing;
mod holding;
mod leases;
mod life;
mod measuring;
mod observing;
mod populating;
mod promoting;
mod proposing;
mod random;
mod recorded;
mod snapshots;

use jiff::Timestamp;
use serde_json::{Value, json};
use strum::VariantNames;
use uuid::Uuid;
use vocabulary::{Decider, RunId, StoredEvent, SweepId, settled};

use super::{
    AttemptEnd, Command, NamedPoint, NewTrial, Observation, Planned, Point, Rejection, RunEnd, RunMove, Sweep,
    SweepEvent, SweepState, SweepSubmitted, TrialState, proposals,
};
use crate::document::{ServerLimits, SweepSpec, read_sweep};

/// A sweep on a manual clock, with the events that led to it.
#[derive(Clone)]
pub(crate) struct Story {
    pub sweep: Sweep,
    pub events: Vec<SweepEvent>,
    pub now: Timestamp,
    runs: u128,
}

/// A spec from the usual document with some sections replaced.
pub(crate) fn spec(changes: Value) -> SweepSpec {
    let mut document = json!({
        "name": "digits",
        "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "val_acc"},
        "search_space": {"lr": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": 4, "max_concurrent_trials": 2},
        "trial": {"command": ["python", "train.py", "--lr", "${{search_space.lr}}"]},
    });
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    let text = document.to_string();
    read_sweep(text.as_bytes(), documents::Format::Json, &ServerLimits::default(), None, false).unwrap().0
}

impl Story {
    /// A submitted sweep.
    pub(crate) fn of(spec: SweepSpec) -> Self {
        let now: Timestamp = "2026-11-01T10:00:00Z".parse().unwrap();
        let mut story = Self { sweep: Sweep::default(), events: Vec::new(), now, runs: 0 };
        let submitted = SweepSubmitted {
            workspace: "default".into(),
            sweep_id: SweepId::new(Uuid::from_u128(0xabc)),
            name: spec.name.clone().unwrap_or_default(),
            seed: spec.seed.unwrap_or(1),
            spec,
            document: "{}".into(),
            warnings: Vec::new(),
            parent: None,
            tuner_version: tuning::TUNER_VERSION,
            at: now,
        };
        story.when(Command::Submit(Box::new(submitted))).unwrap();
        story
    }

    /// Decides and takes the events in; answers them.
    pub(crate) fn when(&mut self, command: Command) -> Result<Vec<SweepEvent>, Rejection> {
        let events = self.sweep.decide(&command)?;
        let events = settled(&mut self.sweep, &command, events).unwrap();
        self.events.extend(events.iter().cloned());
        Ok(events)
    }

    /// The kinds of the events that a command leads to.
    pub(crate) fn kinds(&mut self, command: Command) -> Vec<&'static str> {
        kinds_of(&self.when(command).unwrap())
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.now += jiff::SignedDuration::from_secs(seconds);
    }

    /// What the reaction would execute now, if anything.
    pub(crate) fn next_proposals(&mut self) -> Option<Command> {
        let basis = self.sweep.basis()?;
        let (made, _) = proposals(&basis, 64);
        let (from, at) = (basis.from, self.now);
        if made.is_empty() {
            return Some(Command::Exhaust { from, at });
        }
        let trials = made.into_iter().map(|Planned { proposal, exploit }| {
            self.runs += 1;
            let run_id = RunId::new(Uuid::from_u128(0x1000 + self.runs));
            NewTrial { run_id, proposal, made: None, child: exploit.is_some() }
        });
        Some(Command::Propose { from, trials: trials.collect(), at })
    }

    /// Proposes as the reaction does, until nothing is allowed.
    pub(crate) fn fill(&mut self) -> usize {
        let (before, at) = (self.sweep.trials.len(), self.now);
        while self.sweep.has_waiting_work() {
            self.when(Command::Promote { at }).unwrap();
        }
        while let Some(command) = self.next_proposals() {
            self.when(command).unwrap();
        }
        self.sweep.trials.len() - before
    }

    pub(crate) fn starts(&mut self, trial: u32) {
        let attempt = self.sweep.trials[trial as usize].attempt();
        self.moves(trial, attempt, TrialState::Running);
    }

    pub(crate) fn moves(&mut self, trial: u32, attempt: u32, state: TrialState) -> Vec<SweepEvent> {
        let run = RunMove { trial, attempt, state, node: "node_1".into(), end: None, at: self.now };
        self.when(Command::Move(run)).unwrap()
    }

    /// Reports values for the steps after those that count.
    pub(crate) fn reports(&mut self, trial: u32, values: &[f64]) -> Vec<SweepEvent> {
        let step = self.sweep.curves.next_step(trial);
        let points = (step..).zip(values).map(|(step, value)| named(step, *value)).collect();
        let attempt = self.sweep.trials[trial as usize].attempt();
        self.when(Command::Observe(Observation { trial, attempt, points, at: self.now })).unwrap()
    }

    pub(crate) fn ends(&mut self, trial: u32, outcome: &str) -> Vec<SweepEvent> {
        self.ends_and_leaves(trial, outcome, &[])
    }

    /// Ends with so many outputs uploaded.
    pub(crate) fn ends_and_leaves(&mut self, trial: u32, outcome: &str, left: &[&str]) -> Vec<SweepEvent> {
        let attempt = self.sweep.trials[trial as usize].attempt();
        let end = AttemptEnd {
            outcome: outcome.into(),
            phase: "run".into(),
            reason: if outcome == "failed" { "exit_code".into() } else { String::new() },
            exit_code: if outcome == "failed" { Some(1) } else { None },
            stderr_tail: if outcome == "failed" { format!("trial {trial} broke") } else { String::new() },
            ..AttemptEnd::default()
        };
        let stopped =
            self.sweep.trials[trial as usize].stop.map_or_else(String::new, |stop| format!("s@{}", stop.version));
        let run = RunEnd {
            trial,
            attempt,
            end,
            decision: stopped,
            metric_names: vec!["acc".into(), "loss".into()],
            outputs: Some(left.iter().map(|id| (*id).to_owned()).collect()),
            at: self.now,
        };
        self.when(Command::End(run)).unwrap()
    }

    /// The state and its reason.
    pub(crate) fn status(&self) -> (&'static str, String) {
        (SweepState::VARIANTS[self.sweep.status.state() as usize], self.sweep.status.reason())
    }
}

/// A report of the watched metric.
pub(crate) fn named(step: i64, value: f64) -> NamedPoint {
    NamedPoint { name: "val_acc".into(), point: Point { step, value } }
}

pub(crate) fn kinds_of(events: &[SweepEvent]) -> Vec<&'static str> {
    events.iter().map(StoredEvent::kind).collect()
}
