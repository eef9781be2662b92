//! Population-based training: children take the places of those that fell behind.

use serde_json::{Value, json};
use tuning::Change;

use super::random::stored;
use super::{Story, kinds_of, spec};
use crate::audit::{Audit, explanation};
use crate::sweep::{Command, Rejection, SweepEvent, TellContent, TrialProposed};

fn settings(total: u32, live: u32) -> Value {
    json!({
        "early_termination": {"type": "pbt", "perturbation_interval": 1, "resample_probability": 0},
        "search_space": {
            "lr": {"type": "loguniform", "min_value": -9, "max_value": -1},
            "batch": {"type": "quniform", "min_value": 8, "max_value": 64, "q": 8},
        },
        "record_keeps": true,
        "limits": {"max_total_trials": total, "max_concurrent_trials": live},
        "trial": {"command": ["python", "train.py"], "checkpoint": true},
    })
}

/// Four founders of which the last is behind.
fn population(total: u32) -> Story {
    let mut story = Story::of(spec(settings(total, 4)));
    assert_eq!(story.fill(), 4);
    for (trial, value) in [(0, 0.9), (1, 0.5), (2, 0.4)] {
        assert_eq!(kinds_of(&story.reports(trial, &[value])), ["ObservationRecorded", "DecisionMade"]);
    }
    story
}

fn last_proposed(story: &Story) -> &TrialProposed {
    let SweepEvent::TrialProposed(proposed) = story.events.last().unwrap() else { panic!("{:?}", story.events.last()) };
    proposed
}

#[test]
fn a_child_goes_on_where_its_donor_is() {
    let mut story = population(9);
    assert_eq!(kinds_of(&story.reports(3, &[0.1])), ["ObservationRecorded", "TrialStopRequested"]);
    assert_eq!(story.fill(), 0, "its place is not free yet");
    story.ends(3, "canceled");
    assert_eq!(story.fill(), 1);
    let donor = story.sweep.trials[0].clone();
    let child = last_proposed(&story);
    let exploit = child.basis.exploit.clone().unwrap();
    assert_eq!((exploit.donor, exploit.stopped, exploit.interval, exploit.resource), (0, 3, 1, 1));
    assert_eq!(exploit.decision, story.sweep.trials[3].stop.unwrap().version);
    assert_eq!(child.job.as_ref().unwrap().checkpoint_from, donor.run_id.to_string());
    for ((draw, before), changed) in child.draws.iter().zip(&donor.draws).zip(&exploit.changes) {
        let (now, before) = (draw.value.as_number().unwrap(), before.value.as_number().unwrap());
        assert_eq!(now > before, changed.change == Change::Raised, "{changed:?}");
        assert_eq!(now == before, changed.change == Change::Kept, "{changed:?}");
    }
    // Its line goes on: what follows it has its reports and those of its ancestors behind it.
    story.reports(4, &[0.95, 0.96]);
    story.reports(2, &[0.41]);
    story.ends(2, "canceled");
    story.fill();
    let exploit = last_proposed(&story).basis.exploit.clone().unwrap();
    assert_eq!((exploit.donor, exploit.stopped, exploit.interval, exploit.resource), (4, 2, 2, 3));
    told_again(&story);
}

/// The log says so too, and tells it.
fn told_again(story: &Story) {
    let mut audit = Audit::new(Some(4));
    for recorded in stored(story) {
        audit.take(&recorded, &recorded.decode().unwrap());
    }
    audit.settle();
    assert_eq!(audit.differences, []);
    let why = explanation(&audit, 4).unwrap();
    assert_eq!((&why["proposal"]["algorithm"], &why["proposal"]["rule"]), (&json!("pbt"), &Value::Null));
    let exploit = &why["proposal"]["exploit"];
    assert_eq!((&exploit["donor"], &exploit["stopped"], &exploit["resource"]), (&json!(0), &json!(3), &json!(1)));
    assert_eq!(exploit["changes"].as_array().map(Vec::len), Some(2), "{exploit}");
    assert!(exploit["decision"].is_number() && exploit["changes"][0]["from"].is_number(), "{exploit}");
    // A child that somebody else made is found out.
    let mut forged = story.clone();
    for event in &mut forged.events {
        if let SweepEvent::TrialProposed(proposed) = event
            && let Some(exploit) = &mut proposed.basis.exploit
        {
            exploit.donor = 1;
        }
    }
    let mut audit = Audit::new(None);
    for recorded in stored(&forged) {
        audit.take(&recorded, &recorded.decode().unwrap());
    }
    assert!(audit.differences.iter().any(|found| found.what == "proposal.exploit"), "{:?}", audit.differences);
}

#[test]
fn who_has_ended_is_not_replaced() {
    let mut story = population(9);
    story.ends(1, "completed");
    story.ends(2, "failed");
    assert_eq!(story.fill(), 0, "the population gets smaller");
    story.ends(0, "completed");
    assert_eq!(story.status().0, "Running");
    story.ends(3, "completed");
    assert_eq!(story.status(), ("Completed", "population_ended".into()));
    let at = story.now;
    let extend = Command::Extend { max_total_trials: Some(20), timeout_seconds: None, at };
    assert!(matches!(story.when(extend), Err(Rejection::Refused(problem)) if problem.status == 409));
}

#[test]
fn nobody_is_stopped_for_a_child_that_cannot_come() {
    let mut story = population(4);
    let events = story.reports(3, &[0.1]);
    let [SweepEvent::ObservationRecorded(_), SweepEvent::DecisionMade(kept)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((kept.decision.rank, kept.decision.cut), (Some(3), Some(1)));
    assert!(kept.decision.hint.is_some());
    told_nothing_else(&story);
}

fn told_nothing_else(story: &Story) {
    let mut audit = Audit::new(None);
    for recorded in stored(story) {
        audit.take(&recorded, &recorded.decode().unwrap());
    }
    audit.settle();
    assert_eq!(audit.differences, []);
}

#[test]
fn a_command_from_before_makes_no_other_child() {
    let mut story = population(9);
    story.reports(3, &[0.1]);
    story.ends(3, "canceled");
    let command = story.next_proposals().unwrap();
    // Another one leads when it arrives: the child is that one's.
    story.reports(1, &[0.99]);
    story.when(command).unwrap();
    assert_eq!(last_proposed(&story).basis.exploit.as_ref().unwrap().donor, 1);
    // Nobody is left to follow when it arrives.
    let mut story = population(9);
    story.reports(3, &[0.1]);
    story.ends(3, "canceled");
    let command = story.next_proposals().unwrap();
    for trial in 0..3 {
        story.ends(trial, "completed");
    }
    assert_eq!(story.status(), ("Completed", "population_ended".into()));
    assert_eq!(story.when(command), Err(Rejection::NothingToPropose));
}

#[test]
fn a_child_that_has_nothing_left_to_do_is_no_silent_trial() {
    let mut story = population(9);
    story.reports(3, &[0.1]);
    story.ends(3, "canceled");
    story.fill();
    // It began where its donor's training has ended.
    assert_eq!(kinds_of(&story.ends(4, "completed")), ["TrialEnded"]);
    assert_eq!(story.sweep.unreported_in_a_row, 0);
}

#[test]
fn whoever_asks_is_told_whom_to_follow() {
    let mut changes = settings(9, 4);
    if let Value::Object(fields) = &mut changes {
        fields.remove("trial");
    }
    let mut story = super::external::external(changes);
    assert_eq!(story.asks(9).len(), 4);
    let value = |value| TellContent::Value { step: None, value, last: false };
    for (trial, told) in [(0, 0.9), (1, 0.5), (2, 0.4)] {
        story.says(trial, 1, value(told)).unwrap();
    }
    let events = story.says(3, 1, value(0.1)).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialStopRequested", "TrialEnded"]);
    assert_eq!(story.asks(9), [(4, 1)]);
    assert_eq!(story.sweep.trials[4].basis.exploit.as_ref().map(|exploit| exploit.donor), Some(0));
    told_nothing_else(&story);
}
