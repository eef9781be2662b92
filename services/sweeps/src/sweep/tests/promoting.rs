//! Promotion, targets, and leaders that get no better.

use serde_json::{Value, json};

use super::{Story, kinds_of, spec};
use crate::sweep::{Command, StopBy, SweepEvent, TrialState};

fn promoting(total: u32, live: u32) -> Story {
    let mut story = Story::of(spec(json!({
        "early_termination": {"type": "asha", "reduction_factor": 2, "max_resource": 4, "variant": "promotion"},
        "limits": {"max_total_trials": total, "max_concurrent_trials": live},
        "trial": {"command": ["python", "train.py"], "checkpoint": true},
    })));
    story.fill();
    story
}

/// Where the trials are.
fn states(story: &Story) -> Vec<&'static str> {
    story.sweep.trials.iter().map(|trial| trial.state.into()).collect()
}

#[test]
fn a_trial_waits_at_a_rung_and_gives_its_place_away() {
    let mut story = promoting(4, 2);
    story.starts(0);
    assert_eq!(kinds_of(&story.reports(0, &[0.5, 0.9])), ["ObservationRecorded", "TrialPaused", "ObservationRecorded"]);
    // What its program sends until it has ended counts for nothing.
    assert_eq!(story.sweep.curves.interval(0), 1);
    assert_eq!(kinds_of(&story.reports(0, &[0.9])), ["ObservationRecorded"]);
    assert_eq!(story.sweep.curves.interval(0), 1);
    assert_eq!(story.moves(0, 1, TrialState::Paused), []);
    assert_eq!(story.fill(), 1, "a new trial takes the place: floor(1 / 2) go on");
    assert_eq!(states(&story), ["Paused", "Proposed", "Proposed"]);
    story.reports(1, &[0.7]);
    // floor(2 / 2): the better one goes on before a new trial comes.
    story.fill();
    assert_eq!(states(&story), ["Paused", "Queued", "Proposed"]);
    assert_eq!(story.sweep.trials[1].attempt(), 2);
    let SweepEvent::TrialPromoted(promoted) = story.events.last().unwrap() else { panic!("{:?}", story.events.last()) };
    assert_eq!((promoted.rung, promoted.attempt, promoted.decision.rank), (0, 2, Some(0)));
    // The old attempt is heard no more; the new one goes on where the checkpoint is.
    let stale = super::named(5, 0.99);
    let late = crate::sweep::Observation { trial: 1, attempt: 1, points: vec![stale], at: story.now };
    assert_eq!(story.when(Command::Observe(late)).unwrap(), []);
    assert_eq!(kinds_of(&story.reports(1, &[0.8])), ["ObservationRecorded", "TrialPaused"]);
    assert_eq!(story.sweep.curves.paused_at(1), Some(1));
}

#[test]
fn when_nothing_is_left_the_leader_goes_on_and_the_rest_end() {
    let mut story = promoting(3, 3);
    for (trial, value) in [(0, 0.3), (1, 0.2), (2, 0.1)] {
        story.reports(trial, &[value]);
    }
    story.fill();
    assert_eq!(states(&story), ["Queued", "Paused", "Paused"]);
    // Alone in the next rung it would wait for ever; it leads, so it goes on.
    story.reports(0, &[0.4]);
    assert_eq!(states(&story)[0], "Paused");
    story.fill();
    assert_eq!(states(&story)[0], "Queued");
    // As far as any trial goes: it ends by itself.
    let events = story.reports(0, &[0.5, 0.6]);
    let Some(SweepEvent::TrialFinishing(finishing)) = events.last() else { panic!("{events:?}") };
    assert_eq!(finishing.by, StopBy::MaxResource);
    story.ends(0, "completed");
    assert_eq!(story.sweep.trials[0].end.as_ref().unwrap().reason(), "");
    assert_eq!(story.status(), ("Running", String::new()), "two have still to end");
    story.fill();
    assert_eq!(story.status(), ("Completing", "max_total_trials".into()));
    story.ends(1, "canceled");
    story.ends(2, "canceled");
    assert_eq!(states(&story), ["Completed", "EarlyStopped", "EarlyStopped"]);
    assert_eq!(story.status(), ("Completed", "max_total_trials".into()));
}

#[test]
fn canceling_ends_those_that_wait_too() {
    let mut story = promoting(4, 1);
    story.reports(0, &[0.5]);
    let at = story.now;
    assert_eq!(
        kinds_of(&story.when(Command::Cancel { by: "user".into(), at }).unwrap()),
        ["SweepCanceling", "TrialStopRequested"]
    );
    story.ends(0, "canceled");
    assert_eq!(story.status(), ("Canceled", "user".into()));
}

#[test]
fn whoever_asks_next_goes_on_with_a_trial_that_waited() {
    let mut story = super::external::external(json!({
        "early_termination": {"type": "asha", "reduction_factor": 2, "max_resource": 3, "variant": "promotion"},
        "limits": {"max_total_trials": 2, "max_concurrent_trials": 2},
    }));
    let value = |value| crate::sweep::TellContent::Value { step: None, value, last: false };
    assert_eq!(story.asks(3), [(0, 1), (1, 1)]);
    let events = story.says(0, 1, value(0.4)).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialPaused"]);
    assert!(story.says(0, 1, value(0.5)).is_err(), "it waits");
    assert_eq!(story.asks(1), [], "floor(1 / 2) go on");
    story.says(1, 1, value(0.6)).unwrap();
    assert!(!story.sweep.has_waiting_work(), "it is for whoever asks");
    assert_eq!(story.asks(2), [(1, 2)]);
    assert_eq!(kinds_of(&story.says(1, 2, value(0.7)).unwrap()), ["ObservationRecorded", "TrialPaused"]);
    // Alone in its rung, but the leader; then as far as any trial goes.
    assert_eq!(story.asks(2), [(1, 3)]);
    let events = story.says(1, 3, value(0.8)).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialFinishing"]);
    let events = story.says(1, 3, value(0.9)).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialEnded"]);
    assert_eq!(story.sweep.trials[1].end.as_ref().unwrap().reason(), "max_resource");
    assert!(story.sweep.has_waiting_work());
    let at = story.now;
    let kinds = kinds_of(&story.when(Command::Promote { at }).unwrap());
    assert_eq!(kinds, ["SweepCompleting", "TrialStopRequested", "TrialEnded", "SweepCompleted"]);
    assert_eq!(states(&story), ["EarlyStopped", "Completed"]);
    assert_eq!(story.sweep.best().map(|best| (best.trial, best.value)), Some((1, 0.8)));
}

fn plain(objective: Value, limits: Value) -> Story {
    let mut all = json!({"max_total_trials": 9, "max_concurrent_trials": 2});
    if let (Value::Object(all), Value::Object(limits)) = (&mut all, limits) {
        all.extend(limits);
    }
    let mut story = Story::of(spec(json!({"objective": objective, "limits": all})));
    story.fill();
    story
}

#[test]
fn a_target_that_is_reached_ends_the_sweep() {
    for (goal, short, enough) in [("maximize", 0.89, 0.9), ("minimize", 0.91, 0.9)] {
        let objective = json!({"goal": goal, "primary_metric": "val_acc", "target": 0.9});
        let mut story = plain(objective, json!({}));
        assert_eq!(kinds_of(&story.reports(0, &[short, f64::NAN])), ["ObservationRecorded"]);
        let events = story.reports(0, &[enough, enough]);
        let expected =
            ["ObservationRecorded", "SweepCompleting", "TrialFinishing", "TrialStopRequested", "ObservationRecorded"];
        assert_eq!(kinds_of(&events), expected);
        assert_eq!(story.fill(), 0);
        story.ends(1, "canceled");
        story.ends(0, "completed");
        assert_eq!(story.status(), ("Completed", "target_reached".into()));
        assert_eq!(story.sweep.trials[1].end.as_ref().unwrap().reason(), "target_reached");
        assert_eq!(story.sweep.best().map(|best| (best.trial, best.value)), Some((0, enough)));
    }
}

/// Ends a trial with a value and fills the free place.
fn run(story: &mut Story, trial: u32, value: f64) {
    story.reports(trial, &[value]);
    story.ends(trial, "completed");
    story.fill();
}

#[test]
fn trials_without_a_better_leader_end_the_sweep() {
    let objective = json!({"goal": "maximize", "primary_metric": "val_acc"});
    let mut story = plain(objective, json!({"max_trials_without_improvement": 2}));
    for (trial, value) in [(0, 0.5), (1, 0.4), (2, 0.6), (3, 0.6)] {
        run(&mut story, trial, value);
        assert_eq!(story.status().0, "Running", "{trial}");
    }
    run(&mut story, 4, 0.1);
    // One still runs, and may be better.
    assert_eq!(story.status(), ("Completing", "no_improvement".into()));
    run(&mut story, 5, 0.9);
    assert_eq!(story.status(), ("Completed", "no_improvement".into()));
    assert_eq!(story.sweep.best().map(|best| best.value), Some(0.9));
}

#[test]
fn a_leader_that_hardly_gets_better_ends_the_sweep() {
    let objective = json!({"goal": "minimize", "primary_metric": "val_acc"});
    let limits = json!({"convergence": {"patience": 2, "relative_improvement": 0.1}});
    let mut story = plain(objective, limits);
    // Over two trials by 0.2 of 1.0, then by 0.1 of 0.9, which is more than a tenth, then by 0.05 of 0.8.
    for (trial, value) in [(0, 1.0), (1, 0.9), (2, 0.8), (3, 0.75)] {
        run(&mut story, trial, value);
        assert_eq!(story.status().0, "Running", "{trial}");
    }
    run(&mut story, 4, 0.75);
    assert_eq!(story.status(), ("Completing", "converged".into()));
}
