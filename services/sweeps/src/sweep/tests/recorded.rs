//! Histories of commands from fixed seeds, against what an earlier build made of them: kinds, versions and data of
//! every append. Whoever changes how things are decided sees here whether they are decided differently.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use vocabulary::{Problem, RunId, StoredEvent};

use super::Story;
use crate::document::{ServerLimits, SweepSpec, read_sweep};
use crate::sweep::{
    Ask, AttemptEnd, Changes, Command, Heartbeat, NamedPoint, Observation, PauseMode, Point, RunEnd, RunMove,
    SweepEvent, Tell, TellContent, TrialState,
};

/// How many histories.
const WRITTEN: u64 = 40;
const STEPS: u64 = 60;
/// Set to write the file anew, once it is known why it differs.
const WRITE: &str = "TRIALOG_WRITE_HISTORIES";

/// SplitMix64 (Steele, Lea and Flood 2014): the same everywhere and for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }

    /// A trial, or the number of one that is not there.
    fn trial(&mut self, story: &Story) -> u32 {
        let count = u64::from(story.sweep.proposals());
        let index = if count == 0 || self.below(40) == 0 { count } else { self.below(count) };
        u32::try_from(index).unwrap()
    }

    fn value(&mut self) -> f64 {
        match self.below(30) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            _ => f64::from(u32::try_from(self.below(40)).unwrap()) / 10.0 - 2.0,
        }
    }
}

fn policies() -> Vec<Value> {
    vec![
        json!({"type": "none"}),
        json!({"type": "bandit", "slack_amount": 0.3}),
        json!({"type": "median_stopping", "delay_evaluation": 2}),
        json!({"type": "truncation_selection", "truncation_percentage": 60}),
        json!({"type": "asha", "reduction_factor": 2, "max_resource": 4}),
        json!({"type": "asha", "reduction_factor": 2, "max_resource": 4, "variant": "promotion"}),
        json!({"type": "hyperband", "reduction_factor": 2, "max_resource": 5}),
        json!({"type": "learning_curve", "max_resource": 14}),
        json!({"type": "pbt", "perturbation_interval": 1, "quantile": 0.5}),
    ]
}

/// A document that is accepted; what does not go together is drawn again.
fn setting(numbers: &mut Numbers) -> SweepSpec {
    loop {
        let external = numbers.below(2) == 0;
        let mut document = json!({
            "name": "digits",
            "early_termination": numbers.one_of(&policies()),
            "sampling_algorithm": numbers.one_of(&[json!({"type": "random", "seed": 11}), json!("grid")]),
            "record_keeps": numbers.below(3) == 0,
            "objective": {
                "goal": numbers.one_of(&["maximize", "minimize"]),
                "primary_metric": "val_acc",
                "on_non_finite": numbers.one_of(&["ignore", "fail"]),
            },
            "search_space": {
                "opt": {"type": "choice", "values": ["sgd", "adam", "lion"]},
                "momentum": {"type": "choice", "values": [0, 0.5, 0.9]},
            },
            "limits": {
                "max_total_trials": 4 + numbers.below(6),
                "max_concurrent_trials": 1 + numbers.below(4),
                "timeout_seconds": 300,
                "max_failed_trials": 1 + numbers.below(3),
            },
        });
        if numbers.below(2) == 0 {
            document["limits"]["trial_timeout_seconds"] = json!(50);
        }
        match numbers.below(4) {
            0 => document["limits"]["max_trials_without_improvement"] = json!(2),
            1 => document["limits"]["convergence"] = json!({"patience": 2, "relative_improvement": 0.2}),
            _ => {}
        }
        if numbers.below(3) == 0 {
            document["objective"]["target"] = json!(1.5);
        }
        match numbers.below(6) {
            0 | 1 => document["constraints"] = json!([{"metric": "size", "op": "<=", "value": 0.5}]),
            2 => {
                let goals = [("val_acc", "maximize"), ("size", "minimize")];
                document["objectives"] =
                    goals.iter().map(|(name, goal)| json!({"primary_metric": name, "goal": goal})).collect();
                document.as_object_mut().unwrap().remove("objective");
            }
            _ => {}
        }
        if external {
            document["mode"] = json!("external");
        } else {
            document["cluster"] = json!("spot");
            document["trial"] = json!({"command": ["python", "train.py"], "checkpoint": true});
        }
        let text = document.to_string();
        let read = read_sweep(text.as_bytes(), documents::Format::Json, &ServerLimits::default(), None, false);
        if let Ok((spec, _)) = read {
            return spec;
        }
    }
}

/// A sweep with what was made of each command so far.
struct Recorder {
    story: Story,
    lines: String,
    runs: u128,
}

impl Recorder {
    fn does(&mut self, command: Command) -> bool {
        match self.story.when(command) {
            Ok(events) if events.is_empty() => false,
            Ok(events) => {
                write!(self.lines, "{}", self.story.sweep.version).unwrap();
                for event in &events {
                    let digest = blake3::hash(event.encode().unwrap().as_bytes()).to_hex();
                    write!(self.lines, " {}:{}", event.kind(), &digest[..8]).unwrap();
                }
                self.lines.push('\n');
                true
            }
            Err(rejection) => {
                let code = Problem::from(rejection).code;
                // An end that is told again was refused once, and is no news now.
                if code != "RunTerminal" {
                    writeln!(self.lines, "refused {code}").unwrap();
                }
                false
            }
        }
    }

    fn fill(&mut self) {
        let at = self.story.now;
        while self.story.sweep.has_waiting_work() && self.does(Command::Promote { at }) {}
        while let Some(command) = self.story.next_proposals() {
            if !self.does(command) {
                break;
            }
        }
    }

    fn attempt(&self, trial: u32, numbers: &mut Numbers) -> u32 {
        let current = self.story.sweep.trials.get(trial as usize).map_or(1, |trial| trial.attempt());
        if numbers.below(12) == 0 { current.saturating_sub(1).max(1) } else { current }
    }

    /// What happens to any sweep.
    fn manage(&mut self, numbers: &mut Numbers) {
        let at = self.story.now;
        let limits = self.story.sweep.submitted.as_ref().unwrap().limits.clone();
        let command = match numbers.below(12) {
            0 => Command::Pause { mode: numbers.one_of(&[PauseMode::Drain, PauseMode::Checkpoint]), at },
            1..=4 => Command::Resume { at },
            5 | 6 => {
                let mut limits = limits;
                limits.max_total_trials = 1 + u32::try_from(numbers.below(12)).unwrap();
                limits.max_concurrent_trials =
                    (1 + u32::try_from(numbers.below(4)).unwrap()).min(limits.max_total_trials);
                let description = (numbers.below(2) == 0).then(|| format!("the {}th", self.story.sweep.version));
                Command::Change { changes: Changes { limits: Some(limits), description, tags: None }, at }
            }
            7 | 8 => {
                let more = limits.max_total_trials + u32::try_from(numbers.below(3)).unwrap();
                Command::Extend {
                    max_total_trials: Some(more),
                    timeout_seconds: Some(2.0 * limits.timeout_seconds),
                    at,
                }
            }
            9 if numbers.below(3) == 0 => Command::Cancel { by: "user".into(), at },
            _ => {
                self.story.wait(i64::try_from(numbers.below(50)).unwrap());
                Command::CheckDeadlines { at: self.story.now }
            }
        };
        self.does(command);
    }

    fn run(&mut self, numbers: &mut Numbers) {
        let (trial, at) = (numbers.trial(&self.story), self.story.now);
        let attempt = self.attempt(trial, numbers);
        let command = match numbers.below(20) {
            0..=3 => return self.fill(),
            4..=10 => {
                let first = self.story.sweep.curves.next_step(trial);
                let count = i64::try_from(1 + numbers.below(3)).unwrap();
                let points = (first..first + count).flat_map(|step| {
                    let point = |name: &str, value| NamedPoint { name: name.into(), point: Point { step, value } };
                    let (value, size) = (numbers.value(), numbers.value());
                    [point("val_acc", value), point("size", size)].into_iter().take(1 + (step as usize + 1) % 2)
                });
                Command::Observe(Observation { trial, attempt, points: points.collect(), at })
            }
            11..=13 => {
                let states = [TrialState::Queued, TrialState::Running, TrialState::Preempted, TrialState::Paused];
                let state = numbers.one_of(&states);
                let attempt = attempt + u32::from(state == TrialState::Queued);
                Command::Move(RunMove { trial, attempt, state, node: "n1".into(), end: None, at })
            }
            14 => Command::NoteMetric { trial, name: numbers.one_of(&["val_ac", "loss"]).into(), at },
            _ => {
                let outcome = numbers.one_of(&["completed", "completed", "completed", "failed", "canceled", "lost"]);
                let end = AttemptEnd {
                    outcome: outcome.into(),
                    stderr_tail: if outcome == "failed" { format!("trial {trial} broke") } else { String::new() },
                    ..AttemptEnd::default()
                };
                let (decision, metric_names) = ("s@1".to_owned(), vec!["acc".to_owned()]);
                Command::End(RunEnd { trial, attempt, end, decision, metric_names, outputs: Some(Vec::new()), at })
            }
        };
        self.does(command);
    }

    fn work(&mut self, numbers: &mut Numbers) {
        let (workspace, at) = ("default".to_owned(), self.story.now);
        let trial = numbers.trial(&self.story);
        let attempt = self.attempt(trial, numbers);
        let tell = |content| Command::Tell(Tell { workspace: workspace.clone(), trial, attempt, content, at });
        let step = (numbers.below(15) == 0).then_some(1);
        let last = numbers.below(4) == 0;
        let command = match numbers.below(20) {
            0..=5 => {
                let wanted = 1 + u128::from(numbers.below(3));
                let run_ids = (0..wanted).map(|place| RunId::new(Uuid::from_u128(0x2000 + self.runs + place)));
                let run_ids = run_ids.collect();
                self.runs += wanted;
                let (worker, suggested) = ("w1".to_owned(), Vec::new());
                let (lease_seconds, exhausted, listening_since) = (60.0, None, Timestamp::MIN);
                Command::Ask(Ask {
                    workspace,
                    worker,
                    lease_seconds,
                    run_ids,
                    suggested,
                    exhausted,
                    listening_since,
                    at,
                })
            }
            6..=12 => tell(TellContent::Value { step, value: numbers.value(), last }),
            13..=15 => {
                let values = [("val_acc", numbers.value()), ("size", numbers.value())];
                let values = values.into_iter().skip(usize::from(numbers.below(3) == 0));
                let values = values.map(|(name, value)| (name.to_owned(), value)).collect();
                tell(TellContent::Values { step, values, last })
            }
            16 | 17 => tell(TellContent::Failed { reason: numbers.one_of(&["", "out of memory"]).into() }),
            18 => Command::Heartbeat(Heartbeat { workspace, trial, attempt, at }),
            _ => return self.fill(),
        };
        self.does(command);
    }
}

/// The events of the history with this number.
pub(super) fn events_of(number: u64) -> Vec<SweepEvent> {
    recorded(number).story.events
}

/// The history with this number.
fn recorded(number: u64) -> Recorder {
    let mut numbers = Numbers(number);
    let story = Story::of(setting(&mut numbers));
    let external = story.sweep.submitted.as_ref().unwrap().spec.is_external();
    let mut recorder = Recorder { story, lines: String::new(), runs: 0 };
    for _ in 0..STEPS {
        match (numbers.below(6), external) {
            (0, _) => recorder.manage(&mut numbers),
            (_, true) => recorder.work(&mut numbers),
            (_, false) => recorder.run(&mut numbers),
        }
    }
    recorder
}

/// What is made of it.
fn history(number: u64) -> String {
    let mut recorder = recorded(number);
    // Where it stands: a fault that cancels itself out in the events would be one all the same.
    let (events, status) = (recorder.story.events.len(), &recorder.story.sweep.status);
    writeln!(recorder.lines, "{events} events, {status:?}").unwrap();
    recorder.lines
}

#[test]
fn the_same_commands_lead_to_the_same_appends() {
    // A sweep that an update decides differently in its middle could not be explained any more.
    let mut found = String::new();
    for number in 0..WRITTEN {
        writeln!(found, "# {number}\n{}", history(number).trim_end()).unwrap();
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/histories.txt");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let known = std::fs::read_to_string(&file).unwrap();
    for (line, (known, found)) in known.lines().zip(found.lines()).enumerate() {
        assert_eq!(known, found, "line {}", line + 1);
    }
    assert_eq!(known.len(), found.len());
    let kinds = ["TrialEnded", "SweepCompleted", "SweepFailed", "SweepCanceled", "SweepWarned", "TrialPromoted"];
    assert!(kinds.iter().all(|kind| known.contains(kind)), "the histories see too little");
}
