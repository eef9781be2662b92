//! A pause that gives the machines back.

use serde_json::json;
use vocabulary::Problem;

use super::{Story, kinds_of, spec};
use crate::sweep::{Command, PauseMode, SweepEvent, TrialState};

fn story(changes: serde_json::Value) -> Story {
    let mut document = json!({"trial": {"command": ["python", "train.py"], "checkpoint": true}});
    if let (serde_json::Value::Object(document), serde_json::Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    let mut story = Story::of(spec(document));
    story.fill();
    story
}

fn pause(story: &Story, mode: PauseMode) -> Command {
    Command::Pause { mode, at: story.now }
}

fn checkpoint(story: &mut Story) -> Vec<&'static str> {
    let command = pause(story, PauseMode::Checkpoint);
    story.kinds(command)
}

#[test]
fn live_trials_are_held_and_go_on_before_new_ones() {
    let mut story = story(json!({}));
    story.starts(0);
    story.reports(0, &[0.5]);
    assert_eq!(checkpoint(&mut story), ["SweepPaused", "TrialHeld", "TrialHeld"]);
    assert_eq!(checkpoint(&mut story), [""; 0]);
    let drain = pause(&story, PauseMode::Drain);
    assert_eq!(story.kinds(drain), [""; 0], "what is held stays so");
    // Its checkpoint has what it does until it is held, so that counts.
    story.reports(0, &[0.6]);
    assert_eq!((story.sweep.curves.interval(0), story.sweep.trials[0].state), (2, TrialState::Running));
    story.moves(0, 1, TrialState::Paused);
    assert_eq!((story.sweep.trials[0].state, story.sweep.trials[1].state), (TrialState::Paused, TrialState::Proposed));
    let before = story.sweep.trials[0].running_us(story.now);
    story.wait(1000);
    assert_eq!(story.sweep.trials[0].running_us(story.now), before, "it does not run");
    assert_eq!(story.fill(), 0);
    let resume = Command::Resume { at: story.now };
    assert_eq!(story.kinds(resume), ["SweepResumed", "TrialReleased", "TrialReleased"]);
    assert_eq!(story.fill(), 0, "they have their places");
    story.moves(0, 2, TrialState::Queued);
    assert_eq!((story.sweep.trials[0].state, story.sweep.trials[0].attempt()), (TrialState::Queued, 2));
    // A word from before means nothing now.
    assert_eq!(story.moves(0, 2, TrialState::Paused), []);
    story.reports(0, &[0.7]);
    story.ends(0, "completed");
    assert_eq!(story.fill(), 1);
}

#[test]
fn what_drains_may_be_held_after_all() {
    let mut story = story(json!({}));
    let drain = pause(&story, PauseMode::Drain);
    assert_eq!(story.kinds(drain), ["SweepPaused"]);
    story.ends(0, "completed");
    assert_eq!(checkpoint(&mut story), ["SweepPaused", "TrialHeld"]);
    // One that had ended well before it could be held has ended; the sweep goes on later.
    story.ends(1, "completed");
    assert_eq!(story.status(), ("Paused", String::new()));
    let resume = Command::Resume { at: story.now };
    assert_eq!(story.kinds(resume), ["SweepResumed"]);
    assert_eq!(story.fill(), 2);
}

#[test]
fn what_is_held_can_be_ended() {
    for how in ["cancel", "time", "target", "policy"] {
        let mut story = story(json!({
            "objective": {"goal": "maximize", "primary_metric": "val_acc", "target": 0.9},
            "early_termination": {"type": "bandit", "slack_amount": 0.1},
            "limits": {"max_total_trials": 4, "max_concurrent_trials": 2, "timeout_seconds": 100},
        }));
        story.reports(1, &[0.8]);
        checkpoint(&mut story);
        story.wait(100);
        let at = story.now;
        let events = match how {
            "cancel" => story.when(Command::Cancel { by: "user".into(), at }).unwrap(),
            "time" => story.when(Command::CheckDeadlines { at }).unwrap(),
            "target" => story.reports(0, &[0.95]),
            _ => story.reports(0, &[0.5]),
        };
        let stops = events.iter().filter(|event| matches!(event, SweepEvent::TrialStopRequested(_))).count();
        assert_eq!(
            (stops, story.sweep.held.len()),
            match how {
                "policy" => (1, 1),
                // The one that reached it goes on to its end.
                "target" => (1, 0),
                _ => (2, 0),
            },
            "{how}"
        );
        story.ends(0, "canceled");
        if how == "policy" {
            assert_eq!(story.status().0, "Paused");
            let resume = Command::Resume { at };
            assert_eq!(story.kinds(resume), ["SweepResumed", "TrialReleased"]);
            continue;
        }
        story.ends(1, "canceled");
        assert!(story.sweep.status.state().is_terminal(), "{how}");
    }
}

#[test]
fn a_trial_that_waits_at_a_rung_is_not_held() {
    let mut story = story(json!({
        "early_termination": {"type": "asha", "reduction_factor": 2, "max_resource": 4, "variant": "promotion"},
    }));
    story.reports(0, &[0.5]);
    assert_eq!(checkpoint(&mut story), ["SweepPaused", "TrialHeld"]);
    // The other one comes to the rung while it is held: then it waits there.
    assert_eq!(kinds_of(&story.reports(1, &[0.7])), ["ObservationRecorded", "TrialPaused"]);
    assert!(story.sweep.held.is_empty() && story.sweep.live.is_empty());
    let resume = Command::Resume { at: story.now };
    assert_eq!(story.kinds(resume), ["SweepResumed"]);
    story.fill();
    assert_eq!(story.sweep.trials[1].state, TrialState::Queued, "promoted: floor(2 / 2)");
}

#[test]
fn a_sweep_that_has_found_enough_waits_for_what_is_held() {
    let mut story = story(json!({
        "limits": {"max_total_trials": 9, "max_concurrent_trials": 2, "max_trials_without_improvement": 1},
    }));
    story.reports(0, &[0.9]);
    story.ends(0, "completed");
    story.fill();
    checkpoint(&mut story);
    story.reports(1, &[0.1]);
    story.ends(1, "completed");
    assert_eq!(story.status().0, "Paused", "the other one would wait for ever");
    story.when(Command::Resume { at: story.now }).unwrap();
    story.ends(2, "completed");
    assert_eq!(story.status(), ("Completed", "no_improvement".into()));
}

#[test]
fn work_that_cannot_be_kept_is_not_thrown_away() {
    let refused = |story: &mut Story| {
        let command = pause(story, PauseMode::Checkpoint);
        let problem = Problem::from(story.when(command).unwrap_err());
        assert_eq!((problem.status, problem.errors[0].pointer.as_str()), (422, "/mode"));
        (problem.code, problem.errors[0].message.clone())
    };
    let mut plain = Story::of(spec(json!({})));
    plain.fill();
    let (code, message) = refused(&mut plain);
    assert_eq!(code, "NeedsCheckpoint");
    assert!(message.contains("drain"), "{message}");
    let mut external = super::external::external(json!({}));
    external.asks(1);
    assert_eq!(refused(&mut external).0, "NotInExternal");
}
