//! Cancel, change, extend, and time that runs out.

use serde_json::json;
use vocabulary::{Decider, Problem};

use super::{Story, kinds_of, spec};
use crate::document::Limits;
use crate::sweep::{Changes, Command, PauseMode, StopBy, SweepEvent, TrialEnd, TrialState};

fn limits(story: &Story, change: impl FnOnce(&mut Limits)) -> Command {
    let mut limits = story.sweep.submitted.as_ref().unwrap().limits.clone();
    change(&mut limits);
    Command::Change { changes: Changes { limits: Some(limits), ..Changes::default() }, at: story.now }
}

fn refusal(story: &Story, command: &Command) -> Problem {
    Problem::from(story.sweep.decide(command).unwrap_err())
}

#[test]
fn an_id_makes_one_sweep() {
    // A submission that comes again with the id of another one must not write over what runs.
    let story = Story::of(spec(json!({})));
    let [SweepEvent::SweepSubmitted(submitted), ..] = &story.events[..] else { panic!("{:?}", story.events) };
    let refused = refusal(&story, &Command::Submit(Box::new(submitted.clone())));
    assert_eq!((refused.status, refused.code.as_str()), (409, "SweepExists"));
}

#[test]
fn canceling_stops_what_runs_and_happens_once() {
    // R9: a second wish changes nothing and is no error.
    let mut story = Story::of(spec(json!({})));
    story.fill();
    let cancel = Command::Cancel { by: "token:ab".into(), at: story.now };
    assert_eq!(story.kinds(cancel.clone()), ["SweepCanceling", "TrialStopRequested", "TrialStopRequested"]);
    assert_eq!(story.kinds(cancel.clone()), [""; 0]);
    story.ends(0, "canceled");
    story.ends(1, "canceled");
    assert_eq!(story.status(), ("Canceled", "token:ab".into()));
    assert_eq!(story.kinds(cancel), [""; 0]);
    assert!(matches!(&story.sweep.trials[0].end, Some(TrialEnd::Canceled { by }) if by == "sweep"));
    // Nothing runs: it is over at once.
    let mut story = Story::of(spec(json!({})));
    let at = story.now;
    assert_eq!(story.kinds(Command::Cancel { by: "user".into(), at }), ["SweepCanceling", "SweepCanceled"]);
}

#[test]
fn a_paused_sweep_completes_when_a_limit_is_reached() {
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 1}})));
    story.fill();
    let at = story.now;
    story.when(Command::Pause { mode: PauseMode::Drain, at }).unwrap();
    story.ends(0, "completed");
    assert_eq!(story.status(), ("Completed", "max_total_trials".into()));
    assert_eq!(refusal(&story, &Command::Pause { mode: PauseMode::Drain, at }).status, 409);
}

#[test]
fn the_sweeps_time_includes_pauses() {
    let mut story =
        Story::of(spec(json!({"limits": {"max_total_trials": 4, "max_concurrent_trials": 2, "timeout_seconds": 100}})));
    assert_eq!(story.sweep.next_deadline_us(), None, "it runs from the start, not from the submission");
    story.wait(1000);
    story.fill();
    story.reports(0, &[0.5]);
    let at = story.now;
    story.when(Command::Pause { mode: PauseMode::Drain, at }).unwrap();
    story.wait(99);
    let at = story.now;
    assert_eq!(story.kinds(Command::CheckDeadlines { at }), [""; 0]);
    story.wait(1);
    let at = story.now;
    assert_eq!(
        story.kinds(Command::CheckDeadlines { at }),
        ["SweepCompleting", "TrialStopRequested", "TrialStopRequested"]
    );
    assert_eq!(story.kinds(Command::CheckDeadlines { at }), [""; 0]);
    assert_eq!(story.sweep.next_deadline_us(), None);
    story.ends(0, "canceled");
    story.ends(1, "canceled");
    assert_eq!(story.status(), ("Completed", "timeout".into()));
    assert!(matches!(&story.sweep.trials[0].end, Some(TrialEnd::Canceled { by }) if by == "sweep_timeout"));
    assert_eq!(story.sweep.best().map(|best| best.value), Some(0.5), "values are kept");
}

#[test]
fn a_trials_time_is_its_running_time_over_all_attempts() {
    let limits = json!({"max_total_trials": 4, "max_concurrent_trials": 2, "trial_timeout_seconds": 60});
    let mut story = Story::of(spec(json!({"limits": limits})));
    story.fill();
    story.wait(1000);
    story.starts(0);
    story.wait(40);
    story.moves(0, 1, TrialState::Preempted);
    story.moves(0, 2, TrialState::Queued);
    story.wait(1000);
    story.moves(0, 2, TrialState::Running);
    story.wait(19);
    let at = story.now;
    assert_eq!(story.kinds(Command::CheckDeadlines { at }), [""; 0]);
    assert_eq!(story.sweep.next_deadline_us(), Some(at.as_microsecond() + 1_000_000));
    story.wait(1);
    let at = story.now;
    let events = story.when(Command::CheckDeadlines { at }).unwrap();
    assert!(matches!(&events[..], [SweepEvent::TrialStopRequested(stop)] if stop.by == StopBy::TrialTimeout));
    story.ends(0, "canceled");
    assert!(matches!(&story.sweep.trials[0].end, Some(TrialEnd::Canceled { by }) if by == "trial_timeout"));
    assert_eq!(story.fill(), 1, "the sweep goes on");
}

#[test]
fn limits_change_while_it_runs_and_lowering_stops_nothing() {
    let mut story = Story::of(spec(json!({})));
    story.fill();
    let lower = limits(&story, |limits| (limits.max_total_trials, limits.max_concurrent_trials) = (1, 1));
    assert_eq!(story.kinds(lower), ["LimitsChanged"]);
    assert_eq!((story.sweep.live.len(), story.fill()), (2, 0));
    let raise = limits(&story, |limits| (limits.max_total_trials, limits.max_concurrent_trials) = (9, 3));
    story.when(raise).unwrap();
    assert_eq!(story.fill(), 1);
    // With nothing left to do it completes at once.
    for trial in 0..3 {
        story.ends(trial, "canceled");
    }
    let lower = limits(&story, |limits| (limits.max_total_trials, limits.max_concurrent_trials) = (3, 1));
    assert_eq!(story.kinds(lower), ["LimitsChanged", "SweepCompleting", "SweepCompleted"]);
    let late = limits(&story, |limits| limits.max_total_trials = 50);
    assert_eq!(refusal(&story, &late).code, "WrongState");
    let texts = Changes { description: Some("best one".into()), ..Changes::default() };
    let at = story.now;
    assert_eq!(story.kinds(Command::Change { changes: texts, at }), ["SweepDescribed"]);
}

#[test]
fn a_completed_sweep_is_taken_up_again_by_extend_only() {
    let mut story = Story::of(spec(json!({"limits": {"max_total_trials": 1, "timeout_seconds": 100}})));
    story.fill();
    let extend = |total, timeout, at| Command::Extend { max_total_trials: total, timeout_seconds: timeout, at };
    let at = story.now;
    assert_eq!(story.kinds(extend(Some(2), None, at)), ["SweepExtended"], "a live one is given more room");
    assert_eq!(refusal(&story, &extend(Some(1), None, at)).status, 422);
    assert_eq!(refusal(&story, &extend(None, None, at)).code, "Required");
    story.reports(0, &[0.5]);
    story.ends(0, "completed");
    story.fill();
    story.ends(1, "completed");
    assert_eq!(story.status(), ("Completed", "max_total_trials".into()));
    assert_eq!(refusal(&story, &extend(Some(2), None, at)).status, 422, "no more than were proposed");
    story.wait(200);
    let at = story.now;
    assert_eq!(refusal(&story, &extend(Some(3), None, at)).code, "BadTimeout", "its time is up");
    assert_eq!(kinds_of(&story.when(extend(Some(3), Some(500.0), at)).unwrap()), ["SweepExtended"]);
    assert_eq!(story.status(), ("Running", String::new()));
    assert_eq!(story.fill(), 1);
    story.ends(2, "completed");
    assert_eq!(story.status(), ("Completed", "max_total_trials".into()));
    let mut canceled = Story::of(spec(json!({})));
    canceled.when(Command::Cancel { by: "user".into(), at }).unwrap();
    assert_eq!(refusal(&canceled, &extend(Some(9), None, at)).status, 409);
}

#[test]
fn commands_on_an_absent_sweep_are_refused() {
    let absent = crate::sweep::Sweep::default();
    let at = "2026-11-01T10:00:00Z".parse().unwrap();
    for command in [
        Command::Pause { mode: PauseMode::Drain, at },
        Command::CheckDeadlines { at },
        Command::Exhaust { from: 0, at },
    ] {
        assert_eq!(Problem::from(absent.decide(&command).unwrap_err()).status, 404);
    }
}
