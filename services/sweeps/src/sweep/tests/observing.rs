//! Reports and the policy.

use serde_json::{Value, json};
use vocabulary::Decider;

use super::{Story, kinds_of, named, spec};
use crate::sweep::{Command, Observation, StopBy, SweepEvent, TrialState};

fn bandit(extra: Value) -> Story {
    let mut changes = json!({
        "early_termination": {"type": "bandit", "slack_amount": 0.1},
        "limits": {"max_total_trials": 6, "max_concurrent_trials": 3},
    });
    if let (Value::Object(changes), Value::Object(extra)) = (&mut changes, extra) {
        changes.extend(extra);
    }
    let mut story = Story::of(spec(changes));
    story.fill();
    story
}

#[test]
fn a_report_and_its_stop_are_one_append() {
    // Were they two, a crash between them would leave a hopeless trial running.
    let mut story = bandit(json!({}));
    story.reports(0, &[0.9]);
    let events = story.reports(1, &[0.5]);
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialStopRequested"]);
    let SweepEvent::TrialStopRequested(stop) = &events[1] else { panic!("{events:?}") };
    let decision = stop.decision.clone().unwrap();
    assert_eq!(
        (stop.by, stop.trial, decision.threshold, decision.best),
        (StopBy::Policy, 1, Some(0.9 - 0.1), Some(0.9))
    );
    // The input is the leader's report, by its version in this stream.
    assert_eq!((decision.inputs[0].trial, decision.inputs[0].position), (0, 6));
    assert!(matches!(&story.events[5], SweepEvent::ObservationRecorded(report) if report.trial == 0));
}

#[test]
fn what_a_stopped_trial_still_sends_counts_for_nothing() {
    // Else a decision would depend on how long a kill takes.
    let mut story = bandit(json!({}));
    story.reports(0, &[0.9]);
    story.reports(1, &[0.5]);
    let events = story.reports(1, &[2.0]);
    assert!(matches!(&events[..], [SweepEvent::ObservationRecorded(late)] if late.after_stop));
    assert_eq!(story.sweep.best().map(|best| best.trial), Some(0));
    assert_eq!(story.sweep.trials[1].last_value, Some(0.5));
}

#[test]
fn points_of_one_request_are_judged_one_after_another() {
    let mut story = bandit(json!({"record_keeps": true}));
    story.reports(0, &[0.9, 0.9, 0.9]);
    let events = story.reports(1, &[0.85, 0.2, 0.1, 5.0]);
    // Its best is 0.85 in all intervals: it is kept, and 5.0 makes it the leader.
    assert_eq!(
        kinds_of(&events),
        ["ObservationRecorded", "DecisionMade", "DecisionMade", "DecisionMade", "DecisionMade"]
    );
    let events = story.reports(2, &[0.85, 0.8, 0.7, 0.6, 0.5]);
    let kinds = kinds_of(&events);
    let expected = [
        "ObservationRecorded",
        "DecisionMade",
        "DecisionMade",
        "DecisionMade",
        "TrialStopRequested",
        "ObservationRecorded",
    ];
    assert_eq!(kinds, expected);
    assert!(matches!(&events[0], SweepEvent::ObservationRecorded(report) if report.points.len() == 4));
    assert!(
        matches!(&events[5], SweepEvent::ObservationRecorded(report) if report.points.len() == 1 && report.after_stop)
    );
    assert_eq!(story.sweep.curves.interval(2), 4);
}

#[test]
fn a_batch_decides_as_its_points_one_by_one_do() {
    let curves = [vec![0.9, 0.91, 0.92], vec![0.3, 0.95, 0.2], vec![0.85, 0.5, 0.4]];
    let (mut together, mut apart) = (bandit(json!({})), bandit(json!({})));
    for (trial, values) in (0..).zip(&curves) {
        together.reports(trial, values);
        for value in values {
            apart.reports(trial, &[*value]);
        }
    }
    let stopped = |story: &Story| story.sweep.trials.iter().map(|trial| trial.stop.is_some()).collect::<Vec<_>>();
    assert_eq!(stopped(&together), stopped(&apart));
    assert_eq!(
        together.sweep.curves.leader().map(|leader| leader.value),
        apart.sweep.curves.leader().map(|leader| leader.value)
    );
}

#[test]
fn values_that_are_not_finite_tick_the_clock_or_fail_the_trial() {
    // R1: stored, one interval, no value; or, where the document says so, the end.
    let mut story = bandit(json!({}));
    story.reports(0, &[f64::NAN, 0.9]);
    assert_eq!(story.sweep.curves.interval(0), 2);
    assert_eq!(story.sweep.best().map(|best| best.value), Some(0.9));
    let mut story =
        bandit(json!({"objective": {"goal": "maximize", "primary_metric": "val_acc", "on_non_finite": "fail"}}));
    let events = story.reports(0, &[0.5, f64::INFINITY, 0.7]);
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialStopRequested", "ObservationRecorded"]);
    story.ends(0, "canceled");
    assert_eq!(story.sweep.trials[0].state, TrialState::Failed);
    assert_eq!(story.sweep.trials[0].end.as_ref().unwrap().reason(), "run: non_finite");
}

#[test]
fn reports_of_an_old_attempt_and_of_an_ended_trial_are_dropped() {
    // I6: what a node that was given up still says must not mix with the new attempt's curve.
    let mut story = bandit(json!({}));
    story.starts(0);
    story.moves(0, 2, TrialState::Queued);
    let old = Observation { trial: 0, attempt: 1, points: vec![named(0, 9.0)], at: story.now };
    assert_eq!(story.when(Command::Observe(old)), Ok(vec![]));
    story.ends(0, "completed");
    assert_eq!(story.reports(0, &[1.0]), []);
}

#[test]
fn a_new_attempt_takes_the_place_of_the_old_ones_points() {
    let mut story = bandit(json!({}));
    story.reports(0, &[0.1, 0.2, 0.3]);
    story.moves(0, 2, TrialState::Running);
    let again = Observation { trial: 0, attempt: 2, points: vec![named(1, 0.25)], at: story.now };
    story.when(Command::Observe(again)).unwrap();
    assert_eq!(story.sweep.curves.interval(0), 2);
    assert_eq!(story.sweep.best().map(|best| best.value), Some(0.25));
}

#[test]
fn a_name_much_like_the_watched_one_is_warned_of_once() {
    // R3: the commonest reason for a sweep without results.
    let mut story = bandit(json!({}));
    let note = |name: &str, at| Command::NoteMetric { trial: 0, name: name.into(), at };
    let at = story.now;
    assert_eq!(story.when(note("loss", at)), Ok(vec![]));
    let events = story.when(note("val_accuracy", at)).unwrap();
    assert!(matches!(&events[..], [SweepEvent::SweepWarned(warned)]
        if warned.message == "val_accuracy is not the primary metric val_acc; did you mean it?"));
    assert_eq!(story.when(note("val_accuracy", at)), Ok(vec![]));
    let mut story = bandit(json!({}));
    story.reports(1, &[0.5]);
    assert_eq!(story.when(note("val_accuracy", at)), Ok(vec![]));
}

#[test]
fn the_leader_is_never_stopped() {
    // I8, with each policy, when everybody reports the same and when one is ahead.
    for policy in [
        json!({"type": "bandit", "slack_factor": 0.001}),
        json!({"type": "median_stopping"}),
        json!({"type": "truncation_selection", "truncation_percentage": 99}),
    ] {
        let mut story = bandit(json!({"early_termination": policy}));
        for value in [-1.0, -0.5, -2.0] {
            for trial in 0..3 {
                story.reports(trial, &[value - f64::from(trial)]);
            }
        }
        let leader = story.sweep.curves.leader().unwrap().trial;
        assert_eq!(story.sweep.trials[leader as usize].stop, None, "{policy}");
        assert!(story.sweep.decide(&Command::CheckDeadlines { at: story.now }).unwrap().is_empty());
    }
}
