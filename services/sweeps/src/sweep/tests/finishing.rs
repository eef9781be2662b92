//! Trials that have come as far as they are judged, or have reached the target: they end by themselves.

use serde_json::{Value, json};

use super::external::external;
use super::{Story, kinds_of, spec};
use crate::sweep::{AttemptEnd, Command, RunEnd, SweepEvent, TellContent, TrialState};

const RUNGS: &str = r#"{"type": "asha", "reduction_factor": 2, "max_resource": 3, "finish_seconds": 30}"#;

fn halving(changes: Value) -> Value {
    let mut all = json!({"early_termination": serde_json::from_str::<Value>(RUNGS).unwrap()});
    if let (Value::Object(all), Value::Object(changes)) = (&mut all, changes) {
        all.extend(changes);
    }
    all
}

/// The reason of a trial's end.
fn reason(story: &Story, trial: usize) -> (String, String) {
    let trial = &story.sweep.trials[trial];
    (trial.state.to_string(), trial.end.as_ref().unwrap().reason())
}

#[test]
fn a_trial_at_the_last_interval_is_judged_no_more_and_ends_by_itself() {
    for policy in [
        json!({"type": "asha", "reduction_factor": 2, "max_resource": 3}),
        json!({"type": "hyperband", "reduction_factor": 2, "max_resource": 3}),
        json!({"type": "learning_curve", "max_resource": 3}),
    ] {
        let mut story = Story::of(spec(json!({"early_termination": policy.clone()})));
        story.fill();
        story.starts(0);
        let kinds = kinds_of(&story.reports(0, &[0.1, 0.2, 0.3]));
        assert_eq!(kinds, ["ObservationRecorded", "TrialFinishing"], "it writes its model now: {policy}");
        assert!(story.sweep.trials[0].stop.is_none() && story.sweep.live.contains(&0), "{policy}");
        story.ends(0, "completed");
        assert_eq!(reason(&story, 0), ("Completed".into(), String::new()), "{policy}");
    }
    // What the program does with its time is its own: it may still fail.
    let mut story = Story::of(spec(halving(json!({}))));
    story.fill();
    story.reports(0, &[0.1, 0.2, f64::NAN]);
    story.ends(0, "failed");
    assert_eq!(reason(&story, 0), ("Failed".into(), "run: exit code 1".into()));
}

#[test]
fn a_report_beyond_the_last_interval_stops_it_and_counts_for_nothing() {
    let mut story = Story::of(spec(halving(json!({}))));
    story.fill();
    story.reports(0, &[0.1, 0.2, 0.3]);
    assert_eq!(kinds_of(&story.reports(0, &[0.9])), ["TrialStopRequested", "ObservationRecorded"]);
    assert_eq!(story.sweep.curves.interval(0), 3);
    story.ends(0, "canceled");
    assert_eq!(reason(&story, 0), ("Completed".into(), "max_resource".into()));
    assert_eq!(story.sweep.best().map(|best| best.value), Some(0.3));
    // The same in one request.
    let kinds = kinds_of(&story.reports(1, &[0.4, 0.4, 0.4, 0.9, 0.9]));
    assert_eq!(kinds, ["ObservationRecorded", "TrialFinishing", "TrialStopRequested", "ObservationRecorded"]);
    assert_eq!(story.sweep.curves.interval(1), 3);
}

#[test]
fn a_trial_that_does_not_end_is_stopped_after_a_while() {
    let mut story = Story::of(spec(halving(json!({}))));
    story.fill();
    story.starts(0);
    story.wait(100);
    story.reports(0, &[0.1, 0.2, 0.3]);
    assert_eq!(story.sweep.next_deadline_us(), Some(story.now.as_microsecond() + 30_000_000));
    story.wait(29);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), [""; 0]);
    story.wait(1);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), ["TrialStopRequested"]);
    assert_ne!(story.sweep.next_deadline_us(), Some(story.now.as_microsecond()), "asked once");
    story.ends(0, "canceled");
    assert_eq!(reason(&story, 0), ("Completed".into(), "max_resource".into()));
}

#[test]
fn a_preemption_on_the_way_to_the_end_costs_nothing() {
    let mut story = Story::of(spec(halving(json!({}))));
    story.fill();
    story.starts(0);
    story.wait(100);
    story.reports(0, &[0.1, 0.2, 0.3]);
    story.wait(10);
    story.moves(0, 1, TrialState::Preempted);
    // Waiting for a node is no running.
    story.wait(1000);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), [""; 0]);
    story.moves(0, 2, TrialState::Running);
    // It may have begun anew, and needs as long as the first time to be where it was.
    story.wait(129);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), [""; 0]);
    let again = (0_i64..3).zip([0.1, 0.2, 0.3]).map(|(step, value)| super::named(step, value)).collect();
    let again = crate::sweep::Observation { trial: 0, attempt: 2, points: again, at: story.now };
    assert_eq!(story.kinds(Command::Observe(again)), ["ObservationRecorded", "TrialFinishing"]);
    story.wait(29);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), [""; 0]);
    story.wait(1);
    assert_eq!(story.kinds(Command::CheckDeadlines { at: story.now }), ["TrialStopRequested"]);
}

#[test]
fn the_trial_that_reaches_the_target_ends_by_itself_and_the_others_are_canceled() {
    let mut story = Story::of(spec(json!({
        "objective": {"goal": "maximize", "primary_metric": "val_acc", "target": 0.9},
        "early_termination": {"type": "bandit", "slack_amount": 0.01},
        "limits": {"max_total_trials": 9, "max_concurrent_trials": 3},
    })));
    story.fill();
    for trial in 0..3 {
        story.starts(trial);
    }
    story.wait(50);
    let kinds = kinds_of(&story.reports(0, &[0.9, 0.5]));
    let expected = [
        "ObservationRecorded",
        "SweepCompleting",
        "TrialFinishing",
        "TrialStopRequested",
        "TrialStopRequested",
        "ObservationRecorded",
    ];
    assert_eq!(kinds, expected);
    assert!(story.sweep.trials[0].stop.is_none() && story.sweep.trials[1].stop.is_some());
    assert_eq!(story.status(), ("Completing", "target_reached".into()));
    // It goes on to its end, whatever it reports on the way.
    assert_eq!(kinds_of(&story.reports(0, &[0.1, 0.95])), ["ObservationRecorded"]);
    story.ends(1, "canceled");
    story.ends(2, "canceled");
    assert_eq!(reason(&story, 1), ("Canceled".into(), "target_reached".into()));
    assert_eq!(story.status().0, "Completing", "its model is not written yet");
    let mut hanging = story.clone();
    story.ends(0, "completed");
    assert_eq!(reason(&story, 0), ("Completed".into(), String::new()));
    assert_eq!(story.status(), ("Completed", "target_reached".into()));
    assert_eq!(story.sweep.best().map(|best| (best.trial, best.value)), Some((0, 0.95)));

    hanging.wait(599);
    assert_eq!(hanging.kinds(Command::CheckDeadlines { at: hanging.now }), [""; 0]);
    hanging.wait(1);
    assert_eq!(hanging.kinds(Command::CheckDeadlines { at: hanging.now }), ["TrialStopRequested"]);
    hanging.ends(0, "canceled");
    assert_eq!(reason(&hanging, 0), ("Completed".into(), "target_reached".into()));
}

#[test]
fn who_tells_the_last_interval_is_not_told_to_stop() {
    let value = |value| TellContent::Value { step: None, value, last: false };
    let mut story = external(halving(json!({})));
    assert_eq!(story.asks(2), [(0, 1), (1, 1)]);
    story.says(0, 1, value(0.4)).unwrap();
    story.says(0, 1, value(0.5)).unwrap();
    let mut beyond = story.clone();
    assert_eq!(kinds_of(&story.says(0, 1, value(0.6)).unwrap()), ["ObservationRecorded", "TrialFinishing"]);
    let last = TellContent::Value { step: Some(2), value: 0.6, last: true };
    let mut late = story.clone();
    assert_eq!(kinds_of(&story.says(0, 1, last).unwrap()), ["TrialEnded"]);
    assert_eq!(reason(&story, 0), ("Completed".into(), String::new()));

    beyond.says(0, 1, value(0.6)).unwrap();
    assert_eq!(kinds_of(&beyond.says(0, 1, value(0.7)).unwrap()), ["ObservationRecorded", "TrialEnded"]);
    assert_eq!(reason(&beyond, 0), ("Completed".into(), "max_resource".into()));
    assert_eq!(beyond.sweep.best().map(|best| best.value), Some(0.6));

    late.wait(30);
    assert_eq!(late.kinds(Command::CheckDeadlines { at: late.now }), ["TrialEnded"]);
    assert_eq!(reason(&late, 0), ("Completed".into(), "max_resource".into()));
}

/// A policy and a target, where the last report that counts does not reach it and the next one would.
fn with_target() -> Value {
    halving(json!({
        "objective": {"goal": "maximize", "primary_metric": "val_acc", "target": 0.9, "on_non_finite": "fail"},
    }))
}

#[test]
fn what_is_told_beyond_the_last_interval_never_reaches_the_target() {
    let value = |value| TellContent::Value { step: None, value, last: false };
    for beyond in [0.99, f64::NAN] {
        let mut story = external(with_target());
        assert_eq!(story.asks(2), [(0, 1), (1, 1)]);
        for before in [0.4, 0.5, 0.6] {
            story.says(0, 1, value(before)).unwrap();
        }
        assert_eq!(kinds_of(&story.says(0, 1, value(beyond)).unwrap()), ["ObservationRecorded", "TrialEnded"]);
        assert_eq!(reason(&story, 0), ("Completed".into(), "max_resource".into()));
        assert_eq!(story.status().0, "Running");
        assert!(story.sweep.live.contains(&1), "it goes on");
        assert_eq!(story.sweep.best().map(|best| best.value), Some(0.6));
    }
}

#[test]
fn a_report_beyond_the_last_interval_is_the_same_however_the_lines_come() {
    for beyond in [0.99, f64::NAN] {
        let lines = [0.4, 0.5, 0.6, beyond, 0.99];
        for size in 1..=lines.len() {
            let mut story = Story::of(spec(with_target()));
            story.fill();
            for batch in lines.chunks(size) {
                story.reports(0, batch);
            }
            assert_eq!(story.status().0, "Running", "batches of {size}");
            assert_eq!(story.sweep.best().map(|best| best.value), Some(0.6), "batches of {size}");
            story.ends(0, "canceled");
            assert_eq!(reason(&story, 0), ("Completed".into(), "max_resource".into()), "batches of {size}");
        }
    }
}

#[test]
fn who_tells_a_value_that_reaches_the_target_says_when_it_is_over() {
    let mut story = external(json!({
        "objective": {"goal": "maximize", "primary_metric": "val_acc", "target": 0.9},
        "limits": {"max_total_trials": 9, "max_concurrent_trials": 2},
    }));
    assert_eq!(story.asks(2), [(0, 1), (1, 1)]);
    let value = TellContent::Value { step: None, value: 0.95, last: false };
    let kinds = kinds_of(&story.says(1, 1, value.clone()).unwrap());
    assert_eq!(kinds, ["ObservationRecorded", "SweepCompleting", "TrialFinishing", "TrialEnded"]);
    assert_eq!(reason(&story, 0), ("Canceled".into(), "target_reached".into()));
    assert_eq!(story.status(), ("Completing", "target_reached".into()));
    let mut silent = story.clone();
    let last = TellContent::Value { step: None, value: 0.97, last: true };
    let kinds = kinds_of(&story.says(1, 1, last).unwrap());
    assert_eq!(kinds, ["ObservationRecorded", "TrialEnded", "SweepCompleted"]);
    assert_eq!(story.sweep.best().map(|best| (best.trial, best.value)), Some((1, 0.97)));
    silent.wait(600);
    assert_eq!(silent.kinds(Command::CheckDeadlines { at: silent.now }), ["TrialEnded", "SweepCompleted"]);
    assert_eq!(reason(&silent, 1), ("Completed".into(), "target_reached".into()));
}

#[test]
fn failures_count_while_nothing_finite_was_reported() {
    let limits = json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 1}});
    let failing = |values: &[f64]| {
        let mut story = Story::of(spec(limits.clone()));
        for trial in 0..3 {
            story.fill();
            if trial == 0 {
                story.reports(trial, values);
            }
            story.ends(trial, "failed");
        }
        story.status().0
    };
    assert_eq!(failing(&[f64::NAN]), "Failed");
    assert_eq!(failing(&[0.5]), "Running", "the script works, at least sometimes");
}

#[test]
fn a_share_of_failures_ends_a_sweep_that_has_many() {
    let run = |failing: u32, share: f64| {
        let limits = json!({"max_total_trials": 90, "max_concurrent_trials": 1, "max_failed_trials": share});
        let mut story = Story::of(spec(json!({"limits": limits})));
        for trial in 0..40 {
            if story.fill() == 0 {
                break;
            }
            story.reports(trial, &[0.1]);
            story.ends(trial, if trial % 10 >= 10 - failing { "failed" } else { "completed" });
        }
        (story.sweep.trials.len(), story.status())
    };
    let (ended, (state, why)) = run(4, 0.4);
    assert_eq!((ended, state), (20, "Failed"), "from 20 ended on");
    assert!(why.contains("8 of 20 trials failed") && why.contains("trial 16 broke"), "{why}");
    assert_eq!(run(3, 0.31).1.0, "Running", "not more than the share");
}

#[test]
fn the_best_trial_that_left_no_outputs_is_marked_and_warned_of_at_once() {
    let mut story = Story::of(spec(json!({
        "limits": {"max_total_trials": 3, "max_concurrent_trials": 3},
        "trial": {"command": ["python", "train.py"], "outputs": {"model": {}, "plots": {}}},
    })));
    story.fill();
    for (trial, value) in [(0, 0.5), (1, 0.7), (2, 0.9)] {
        story.reports(trial, &[value]);
    }
    assert_eq!(kinds_of(&story.ends_and_leaves(0, "completed", &["model", "plots"])), ["TrialEnded"]);
    assert_eq!(story.sweep.best().map(|best| (best.trial, best.missing_outputs.len())), Some((2, 0)), "it runs");
    assert_eq!(kinds_of(&story.ends_and_leaves(1, "completed", &[])), ["TrialEnded"], "it is not the best");
    let events = story.ends_and_leaves(2, "completed", &["plots"]);
    assert_eq!(kinds_of(&events), ["TrialEnded", "SweepWarned", "SweepCompleting", "SweepCompleted"]);
    let SweepEvent::SweepWarned(warned) = &events[1] else { panic!("{events:?}") };
    assert_eq!(warned.code, "BestWithoutOutputs");
    let whose = "trial 2 is best but left no outputs/model: its script ended well without them";
    assert!(warned.message.starts_with(whose), "{}", warned.message);
    let SweepEvent::SweepCompleted(completed) = &events[3] else { panic!("{events:?}") };
    assert_eq!(completed.closing.best.as_ref().map(|best| best.missing_outputs.clone()), Some(vec!["model".into()]));
}

#[test]
fn a_node_that_keeps_the_best_knows_how_many_reports_count() {
    // It kept the model of a report that counted for nothing.
    for (keep, known) in [("best", Some("3")), ("last", None)] {
        let trial = json!({"command": ["python", "train.py"], "outputs": {"model": {"keep": keep}}});
        let mut story = Story::of(spec(halving(json!({"trial": trial}))));
        story.fill();
        let jobs = story.events.iter().filter_map(|event| match event {
            SweepEvent::TrialProposed(proposed) => proposed.job.clone(),
            _ => None,
        });
        let mut most = jobs.map(|job| job.contract_variables.get("TRIALOG_MAX_RESOURCE").cloned());
        assert_eq!(most.next(), Some(known.map(str::to_owned)), "{keep}");
    }
}

#[test]
fn that_the_best_was_not_kept_is_known_of_the_trial_and_of_the_best() {
    // The model of another value was registered as that of the best.
    let mut story = Story::of(spec(json!({})));
    story.fill();
    story.starts(0);
    story.reports(0, &[0.9]);
    let end = AttemptEnd { outcome: "completed".into(), unkept: "it had changed".into(), ..AttemptEnd::default() };
    let (decision, metric_names, at) = (String::new(), Vec::new(), story.now);
    let run = RunEnd { trial: 0, attempt: 1, end, decision, metric_names, outputs: Some(Vec::new()), at };
    story.when(Command::End(run)).unwrap();
    assert_eq!(story.sweep.trials[0].unkept(), "it had changed");
    assert_eq!(story.sweep.best().map(|best| best.unkept), Some("it had changed".into()));
}

#[test]
fn who_is_warned_of_lost_outputs_is_told_what_to_do() {
    // The best model was lost to a short max_resource, and the warning named no way out.
    let warned = |reports: &[f64], wait: i64, outcome: &str| {
        let mut story = Story::of(spec(halving(json!({
            "trial": {"command": ["python", "train.py"], "outputs": {"model": {}}},
        }))));
        story.fill();
        story.starts(0);
        story.reports(0, reports);
        story.wait(wait);
        story.when(Command::CheckDeadlines { at: story.now }).unwrap();
        let events = story.ends(0, outcome);
        let warnings = events.iter().filter_map(|event| match event {
            SweepEvent::SweepWarned(warned) => Some(warned.message.clone()),
            _ => None,
        });
        warnings.collect::<String>()
    };
    for (reports, wait) in [(&[0.1, 0.2, 0.3, 0.4][..], 0), (&[0.1, 0.2, 0.3][..], 30)] {
        let message = warned(reports, wait, "canceled");
        for part in ["max_resource 3", "finish_seconds 30", "before the last value", "keep: best", "checkpoint"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    assert!(warned(&[0.1], 0, "completed").contains("before it ends"));
    assert!(warned(&[0.1], 0, "failed").contains("checkpoint: true"));
}

#[test]
fn reports_without_a_value_and_last_words_are_kept() {
    let mut story = Story::of(spec(json!({})));
    story.fill();
    story.reports(0, &[f64::NAN, f64::INFINITY]);
    story.reports(0, &[f64::NAN]);
    story.ends(0, "completed");
    assert_eq!((story.sweep.trials[0].non_finite, story.sweep.without_value), (3, 1));
    assert_eq!(reason(&story, 0), ("Completed".into(), "no_objective".into()));
    story.starts(1);
    story.ends(1, "failed");
    let failure = story.sweep.trials[1].failure().unwrap();
    assert_eq!((failure.phase.as_str(), failure.error.as_str()), ("run", "trial 1 broke"));
}
