//! How trials end, and what follows for the sweep.

use serde_json::json;

use super::{Story, kinds_of, spec};
use crate::sweep::{Command, SweepEvent, TrialEnd, TrialState};

fn failed(story: &Story) -> (String, String) {
    let Some(SweepEvent::SweepFailed(failed)) = story.events.last() else { panic!("{:?}", story.events.last()) };
    (failed.code.clone(), failed.detail.clone())
}

#[test]
fn a_policys_stop_wins_over_whatever_the_program_did() {
    // The decision is in the log; a replay that saw Completed would disagree with it.
    for outcome in ["completed", "canceled", "failed"] {
        let mut story = Story::of(spec(json!({"early_termination": {"type": "bandit", "slack_amount": 0.1}})));
        story.fill();
        story.reports(0, &[0.9]);
        story.reports(1, &[0.5]);
        story.ends(1, outcome);
        assert!(
            matches!(&story.sweep.trials[1].end, Some(TrialEnd::EarlyStopped { decision }) if decision == "s@7"),
            "{outcome}"
        );
        // The end came first: it stands.
        story.ends(0, outcome);
        assert_ne!(story.sweep.trials[0].state, TrialState::EarlyStopped);
    }
}

#[test]
fn each_end_is_told_apart() {
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 10, "max_concurrent_trials": 10}})));
    story.fill();
    story.reports(0, &[0.9]);
    for (trial, outcome) in [(0, "completed"), (1, "completed"), (2, "failed"), (3, "canceled"), (4, "lost")] {
        story.ends(trial, outcome);
    }
    let said: Vec<String> = story.sweep.trials[..5]
        .iter()
        .map(|trial| format!("{} {}", trial.state, trial.end.as_ref().unwrap().reason()))
        .collect();
    let expected =
        ["Completed ", "Completed no_objective", "Failed run: exit code 1", "Canceled user", "Failed run: lost"];
    assert_eq!(said, expected);
    assert_eq!(story.ends(0, "failed"), [], "an end is final");
}

#[test]
fn trials_that_all_fail_fail_the_sweep_with_what_the_first_one_said() {
    // R7: else a typing error in the script costs a thousand trials.
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 1}})));
    for trial in 0..3 {
        story.fill();
        story.ends(trial, "failed");
    }
    let (code, detail) = failed(&story);
    assert_eq!(code, "TrialsKeepFailing");
    assert!(detail.contains("3 trials in a row failed") && detail.ends_with("trial 0 broke"), "{detail}");
    assert_eq!(story.fill(), 0);
}

#[test]
fn one_success_lets_failures_be() {
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 1}})));
    for (trial, outcome) in
        [(0, "failed"), (1, "failed"), (2, "completed"), (3, "failed"), (4, "failed"), (5, "failed")]
    {
        story.fill();
        story.reports(trial, &[0.1]);
        story.ends(trial, outcome);
    }
    assert_eq!(story.status().0, "Running");
}

#[test]
fn a_failing_sweep_stops_what_runs_and_ends_with_it() {
    let mut story =
        Story::of(spec(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 4, "max_failed_trials": 1}})));
    story.fill();
    let kinds = kinds_of(&story.ends(0, "failed"));
    assert_eq!(
        kinds,
        ["TrialEnded", "SweepCompleting", "TrialStopRequested", "TrialStopRequested", "TrialStopRequested"]
    );
    assert_eq!(story.status().0, "Completing");
    story.ends(1, "canceled");
    story.ends(2, "canceled");
    story.ends(3, "completed");
    let (code, _) = failed(&story);
    assert_eq!((code.as_str(), story.status().0), ("TrialsKeepFailing", "Failed"));
    assert!(matches!(&story.sweep.trials[1].end, Some(TrialEnd::Canceled { by }) if by == "sweep"));
}

#[test]
fn a_metric_that_nobody_reports_fails_the_sweep_and_says_what_was_seen() {
    // R2: three trials that end well without the key mean that its name is wrong.
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 1}})));
    story.fill();
    let events = story.ends(0, "completed");
    assert_eq!(kinds_of(&events), ["TrialEnded", "SweepWarned"]);
    assert!(matches!(&events[1], SweepEvent::SweepWarned(warned) if warned.code == "NoObjective"), "{events:?}");
    for trial in 1..3 {
        story.fill();
        story.ends(trial, "completed");
    }
    assert_eq!(failed(&story), ("ObjectiveNeverReported".into(), "saw acc, loss; expected val_acc".into()));
    // A NaN is a report.
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 9, "max_concurrent_trials": 1}})));
    for trial in 0..4 {
        story.fill();
        story.reports(trial, &[f64::NAN]);
        story.ends(trial, "completed");
    }
    assert_eq!(story.status().0, "Running");
}

#[test]
fn a_preemption_is_no_end_and_no_failure() {
    // R8: the trial holds its place, the budget is unchanged, the attempt counts up.
    let mut story = Story::of(spec(json!({})));
    story.fill();
    for attempt in 1..=5 {
        story.moves(0, attempt, TrialState::Running);
        let kinds = kinds_of(&story.moves(0, attempt, TrialState::Preempted));
        let expected: &[&str] =
            if attempt == 5 { &["TrialStateChanged", "SweepStalled"] } else { &["TrialStateChanged"] };
        assert_eq!(kinds, expected, "attempt {attempt}");
        story.moves(0, attempt + 1, TrialState::Queued);
    }
    assert_eq!(story.fill(), 0);
    assert_eq!((story.sweep.preemptions, story.sweep.trials[0].attempt()), (5, 6));
    // R10: the storm is shown until the trial gets somewhere.
    assert!(story.sweep.stalled[&0].contains("preempted 5 times"));
    let kinds = kinds_of(&story.reports(0, &[0.5]));
    assert_eq!(kinds, ["ObservationRecorded", "SweepUnstalled"]);
    assert!(story.sweep.stalled.is_empty());
}

#[test]
fn what_an_old_attempt_says_changes_nothing() {
    // I6: there is one live attempt, and only it speaks for the trial.
    let mut story = Story::of(spec(json!({})));
    story.fill();
    story.moves(0, 1, TrialState::Running);
    story.moves(0, 2, TrialState::Queued);
    assert_eq!(story.moves(0, 1, TrialState::Finalizing), []);
    assert_eq!(story.moves(0, 2, TrialState::Queued), [], "known already");
    let end = crate::sweep::AttemptEnd { outcome: "failed".into(), ..Default::default() };
    let (decision, metric_names, at) = (String::new(), Vec::new(), story.now);
    let old = crate::sweep::RunEnd { trial: 0, attempt: 1, end, decision, metric_names, outputs: None, at };
    assert_eq!(story.when(Command::End(old)), Ok(vec![]));
}

#[test]
fn a_failed_trial_is_best_only_if_no_completed_one_has_a_value() {
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 2}})));
    story.fill();
    story.reports(0, &[0.9]);
    story.reports(1, &[0.5]);
    story.ends(0, "failed");
    assert_eq!(story.sweep.best().map(|best| best.trial), Some(0));
    story.ends(1, "completed");
    let Some(SweepEvent::SweepCompleted(completed)) = story.events.last() else { panic!() };
    assert_eq!(completed.closing.best.as_ref().map(|best| best.trial), Some(1));
    assert_eq!(completed.closing.trial_counts, [("Completed".to_owned(), 1), ("Failed".to_owned(), 1)].into());
}
