//! Random histories: the limits hold, the leader lives, a replay gives the live state, and the audit finds nothing.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use strum::VariantNames;
use tuning::Condition;
use vocabulary::{Decider, StoredEvent};

use super::{Story, spec};
use crate::audit::{Audit, verification};
use crate::sweep::{Changes, Command, PauseMode, Status, StopBy, Sweep, SweepEvent, TrialState};

/// Something that may happen; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Fill,
    Stale,
    Report(u32, Vec<f64>),
    Move(u32, usize),
    End(u32, &'static str),
    Pause(PauseMode),
    Resume,
    Limits(u32, u32),
    Wait(i64),
    Cancel,
    Extend(u32),
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-5_i32..=5).prop_map(|tenths| f64::from(tenths) / 10.0),
        3 => -1e3..1e3_f64,
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![4 => Just("completed"), 1 => Just("failed"), 1 => Just("canceled"), 1 => Just("lost")];
    prop_oneof![
        6 => Just(Step::Fill),
        1 => Just(Step::Stale),
        12 => (any::<u32>(), vec(value(), 1..4)).prop_map(|(trial, values)| Step::Report(trial, values)),
        3 => (any::<u32>(), 0_usize..8).prop_map(|(trial, state)| Step::Move(trial, state)),
        5 => (any::<u32>(), outcome).prop_map(|(trial, outcome)| Step::End(trial, outcome)),
        1 => Just(Step::Pause(PauseMode::Drain)),
        1 => Just(Step::Pause(PauseMode::Checkpoint)),
        2 => Just(Step::Resume),
        1 => (1_u32..12, 1_u32..5).prop_map(|(total, live)| Step::Limits(total, live.min(total))),
        1 => (0_i64..40).prop_map(Step::Wait),
        1 => prop_oneof![9 => Just(Step::Resume), 1 => Just(Step::Cancel)],
        1 => (1_u32..14).prop_map(Step::Extend),
    ]
}

fn setting() -> impl Strategy<Value = Value> {
    let policy = prop_oneof![
        Just(json!({"type": "none"})),
        Just(json!({"type": "bandit", "slack_factor": 0.2})),
        Just(json!({"type": "bandit", "slack_amount": 0.05, "evaluation_interval": 2, "delay_evaluation": 1})),
        Just(json!({"type": "median_stopping"})),
        Just(json!({"type": "truncation_selection", "truncation_percentage": 60})),
        Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 4})),
        Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 5, "variant": "promotion"})),
        Just(json!({"type": "asha", "reduction_factor": 3, "max_resource": 9, "variant": "promotion"})),
        Just(json!({"type": "hyperband", "reduction_factor": 2, "max_resource": 6})),
        Just(json!({"type": "learning_curve", "max_resource": 14})),
        Just(json!({"type": "pbt", "perturbation_interval": 1, "quantile": 0.5})),
        Just(json!({"type": "pbt", "perturbation_interval": 2, "quantile": 0.4, "resample_probability": 0.5})),
        Just(json!({"type": "truncation_selection", "truncation_percentage": 40, "exclude_finished_jobs": true})),
    ];
    let algorithm = prop_oneof![
        Just(json!({"type": "random", "seed": 11})),
        Just(json!({"type": "random", "rule": "sobol", "seed": 5})),
        Just(json!("grid")),
    ];
    let enough = prop_oneof![
        3 => Just(json!({})),
        1 => Just(json!({"max_trials_without_improvement": 2})),
        1 => Just(json!({"convergence": {"patience": 2, "relative_improvement": 0.5}})),
    ];
    let target = prop_oneof![3 => Just(Value::Null), 1 => Just(json!(400)), 1 => Just(json!(-0.4))];
    (policy, algorithm, any::<(bool, bool, bool)>(), enough, target).prop_map(
        |(policy, algorithm, (keeps, up, fails), enough, target)| {
            let mut document = json!({
                "early_termination": policy,
                "sampling_algorithm": algorithm,
                "record_keeps": keeps,
                "objective": {
                    "goal": if up { "maximize" } else { "minimize" },
                    "primary_metric": "val_acc",
                    "on_non_finite": if fails { "fail" } else { "ignore" },
                },
                "search_space": {
                    "opt": {"type": "choice", "values": ["sgd", "adam"]},
                    "momentum": {"type": "choice", "values": [0, 0.5, 0.9]},
                    "deep": {"type": "choice", "values": [true, false]},
                },
                "trial": {"command": ["python", "train.py"], "checkpoint": true},
            "limits": {
                    "max_total_trials": 7,
                    "max_concurrent_trials": 3,
                    "timeout_seconds": 300,
                    "trial_timeout_seconds": 50,
                    "max_failed_trials": 3,
                },
            });
            if let (Value::Object(limits), Value::Object(enough)) = (&mut document["limits"], enough) {
                limits.extend(enough);
            }
            if !target.is_null() {
                document["objective"]["target"] = target;
            }
            document
        },
    )
}

fn take(story: &mut Story, step: &Step) {
    let count = story.sweep.proposals();
    let at = story.now;
    match step {
        Step::Fill => {
            story.fill();
        }
        Step::Stale => {
            if let Some(command) = story.next_proposals() {
                story.when(command.clone()).unwrap();
                assert!(story.when(command).is_err());
            }
        }
        Step::Report(trial, values) if count > 0 => {
            story.reports(trial % count, values);
        }
        Step::Move(trial, state) if count > 0 => {
            let trial = trial % count;
            let state: TrialState = TrialState::VARIANTS[*state].parse().unwrap();
            let attempt = story.sweep.trials[trial as usize].attempt();
            story.moves(trial, attempt + u32::from(state == TrialState::Queued), state);
        }
        Step::End(trial, outcome) if count > 0 => {
            story.ends(trial % count, outcome);
        }
        Step::Report(..) | Step::Move(..) | Step::End(..) => {}
        Step::Pause(mode) => pause(story, *mode),
        Step::Resume => drop(story.when(Command::Resume { at })),
        Step::Limits(total, live) => {
            let mut limits = story.sweep.submitted.as_ref().unwrap().limits.clone();
            (limits.max_total_trials, limits.max_concurrent_trials) = (*total, *live);
            let changes = Changes { limits: Some(limits), ..Changes::default() };
            drop(story.when(Command::Change { changes, at }));
        }
        Step::Wait(seconds) => {
            story.wait(*seconds);
            let at = story.now;
            story.when(Command::CheckDeadlines { at }).unwrap();
        }
        Step::Cancel => drop(story.when(Command::Cancel { by: "user".into(), at })),
        Step::Extend(total) => {
            drop(story.when(Command::Extend { max_total_trials: Some(*total), timeout_seconds: None, at }));
        }
    }
}

/// Pauses, and again: it is so already.
fn pause(story: &mut Story, mode: PauseMode) {
    let command = Command::Pause { mode, at: story.now };
    if story.when(command.clone()).is_err() {
        return;
    }
    assert_eq!(story.when(command), Ok(vec![]));
    if mode == PauseMode::Checkpoint {
        let runs_on = |index: &&u32| story.sweep.trials[**index as usize].stop.is_none();
        assert!(story.sweep.live.iter().filter(runs_on).all(|index| story.sweep.held.contains(index)));
    }
}

/// What holds whatever happens; the events since `before` are looked at on the state before each.
fn check(before: &Sweep, events: &[SweepEvent]) {
    let mut sweep = before.clone();
    for event in events {
        match event {
            SweepEvent::TrialProposed(proposed) => {
                // I7
                assert!(sweep.allowed() > 0, "a proposal above the limits");
                assert_eq!(proposed.trial, sweep.proposals());
                // I10
                let numbers = proposed.draws.iter().filter_map(|draw| draw.value.as_number());
                assert!(numbers.into_iter().all(f64::is_finite));
                if let Some(exploit) = &proposed.basis.exploit {
                    assert!(sweep.live.contains(&exploit.donor), "nobody follows what has ended");
                    assert!(sweep.trials[exploit.donor as usize].stop.is_none());
                }
            }
            SweepEvent::TrialStopRequested(stop) if stop.by == StopBy::Policy => {
                // I8
                let own = sweep.curves.standing(stop.trial).unwrap().value;
                assert_ne!(Some(own), sweep.curves.leader().map(|leader| leader.value), "the leader was stopped");
            }
            // I6
            SweepEvent::TrialStateChanged(moved) => {
                assert!(moved.attempt >= sweep.trials[moved.trial as usize].attempt());
            }
            SweepEvent::TrialEnded(ended) => {
                let lives = sweep.live.contains(&ended.trial) || sweep.paused.contains(&ended.trial);
                assert!(lives, "an end is final");
            }
            SweepEvent::TrialPromoted(_) => {
                let most = sweep.submitted.as_ref().unwrap().limits.max_concurrent_trials as usize;
                assert!(sweep.live.len() < most, "a promotion without a place");
            }
            _ => {}
        }
        sweep.evolve(event);
        let live = sweep.trials.iter().filter(|trial| trial.end.is_none()).count();
        assert_eq!(live, sweep.live.len() + sweep.paused.len());
        assert!(sweep.held.is_subset(&sweep.live));
        let counted: u32 = sweep.counts.values().sum();
        assert_eq!(counted, sweep.proposals());
        assert!(!(sweep.status.state().is_terminal() && live > 0), "it ended before its trials");
    }
    assert!(sweep.held.is_empty() || sweep.status == Status::Paused, "nobody would let it go on");
}

/// Events through their stored form.
pub(super) fn stored(story: &Story) -> Vec<eventlog::RecordedEvent> {
    (1_i64..)
        .zip(&story.events)
        .map(|(version, event)| eventlog::RecordedEvent {
            position: version * 2,
            stream: String::new(),
            version,
            event_id: uuid::Uuid::nil(),
            kind: event.kind().to_owned(),
            schema: event.schema(),
            command_id: uuid::Uuid::from_u128(version.unsigned_abs().into()),
            recorded_at_us: version,
            data: event.encode().unwrap(),
            meta: String::new(),
        })
        .collect()
}

proptest! {
    #![proptest_config(testkit::properties(128))]

    #[test]
    fn random_histories_keep_the_rules_and_can_be_recomputed(
        setting in setting(),
        steps in vec(step(), 1..120),
    ) {
        let mut spec = spec(setting);
        spec.space.parameters[1].when = vec![Condition { parent: "opt".into(), values: vec!["sgd".into()] }];
        let mut story = Story::of(spec);
        for step in &steps {
            let (before, from) = (story.sweep.clone(), story.events.len());
            take(&mut story, step);
            check(&before, &story.events[from..]);
        }
        // A replay of what is stored is the live state, bit for bit.
        let (mut replayed, mut audit) = (Sweep::default(), Audit::new(Some(0)));
        for recorded in stored(&story) {
            let event: SweepEvent = recorded.decode().unwrap();
            replayed.evolve(&event);
            audit.take(&recorded, &event);
        }
        audit.settle();
        prop_assert_eq!(std::mem::take(&mut replayed.taken), story.sweep.taken.clone());
        // By its text, since a NaN is not equal to itself; without the set, which has no order.
        let live = Sweep { taken: Arc::default(), ..story.sweep.clone() };
        prop_assert_eq!(format!("{replayed:?}"), format!("{live:?}"));
        // So is a snapshot from the middle with the events after it.
        let events: Vec<SweepEvent> = stored(&story).iter().map(|recorded| recorded.decode().unwrap()).collect();
        let (before, after) = events.split_at(events.len() / 2);
        let mut half = Sweep::default();
        before.iter().for_each(|event| half.evolve(event));
        let mut restored = Sweep::restore(&half.snapshot().unwrap()).unwrap();
        after.iter().for_each(|event| restored.evolve(event));
        prop_assert_eq!(std::mem::take(&mut restored.taken), story.sweep.taken.clone());
        prop_assert_eq!(format!("{restored:?}"), format!("{live:?}"));
        let found = verification(&audit);
        prop_assert!(audit.differences.is_empty(), "{found}");
        let green = json!({"L3": "ok", "L4": "ok", "L13": "ok"});
        prop_assert_eq!(&found["log"], &green);
        // Whatever is running can be brought to an end.
        let at = story.now;
        story.when(Command::Cancel { by: "user".into(), at }).unwrap();
        for trial in story.sweep.live.clone() {
            story.ends(trial, "canceled");
        }
        prop_assert!(story.sweep.status.state().is_terminal() || story.sweep.submitted.is_none());
    }
}
