//! Several watched metrics: what counts as a trial's values, which trials are feasible, which are the best.

use super::*;
use crate::sweep::{CompletedReason, NamedValue, ObservationRecorded, Outcome, Status};

fn constrained(changes: Value) -> Story {
    let mut document = json!({"constraints": [{"metric": "latency", "op": "<=", "value": 10}]});
    if let (Value::Object(document), Value::Object(changes)) = (&mut document, changes) {
        document.extend(changes);
    }
    Story::of(spec(document))
}

fn several() -> Story {
    Story::of(spec(json!({
        "objective": null,
        "objectives": [
            {"primary_metric": "val_acc", "goal": "maximize"}, {"primary_metric": "latency", "goal": "minimize"},
        ],
        "limits": {"max_total_trials": 6, "max_concurrent_trials": 6},
    })))
}

impl Story {
    /// Reports of several metrics in one request.
    fn measures(&mut self, trial: u32, points: &[(&str, f64)]) -> Vec<SweepEvent> {
        let step = self.sweep.curves.next_step(trial);
        let points = points
            .iter()
            .map(|(name, value)| NamedPoint { name: (*name).into(), point: Point { step, value: *value } });
        let attempt = self.sweep.trials[trial as usize].attempt();
        let observation = Observation { trial, attempt, points: points.collect(), at: self.now };
        self.when(Command::Observe(observation)).unwrap()
    }

    fn best(&self) -> Option<(u32, f64)> {
        self.sweep.best().map(|best| (best.trial, best.value))
    }
}

#[test]
fn other_watched_metrics_are_kept_and_no_interval() {
    let mut story = constrained(json!({}));
    story.fill();
    let events = story.measures(0, &[("latency", 4.0), ("loss", 1.0)]);
    let others = vec![NamedValue { name: "latency".into(), step: 0, value: 4.0 }];
    let recorded = ObservationRecorded { trial: 0, attempt: 1, points: vec![], others, after_stop: false, tell: None };
    assert_eq!(events, [recorded.into()]);
    assert_eq!((story.sweep.curves.interval(0), story.sweep.reported), (0, false));
    story.measures(0, &[("val_acc", 0.5), ("latency", f64::NAN)]);
    assert_eq!((story.sweep.curves.interval(0), &story.sweep.trials[0].values), (1, &vec![Some(0.5), Some(4.0)]));
    assert!(story.measures(1, &[("loss", 1.0)]).is_empty(), "nobody watches that");
}

#[test]
fn the_best_trial_is_the_best_feasible_one() {
    let mut story = constrained(json!({}));
    story.fill();
    story.measures(0, &[("val_acc", 0.9), ("latency", 4.0)]);
    // The last latency counts, not the best one; the best accuracy counts, not the last one.
    story.measures(0, &[("val_acc", 0.4), ("latency", 11.0)]);
    assert_eq!(story.best(), None);
    story.ends(0, "completed");
    assert_eq!((story.best(), story.sweep.lacks_feasible()), (None, true));
    story.measures(1, &[("val_acc", 0.3), ("latency", 10.0)]);
    assert_eq!(story.best(), None, "it has not ended");
    story.ends(1, "completed");
    assert_eq!((story.best(), story.sweep.lacks_feasible()), (Some((1, 0.3)), false));
    story.fill();
    // One that failed is feasible and better, but its model is not finished.
    story.measures(2, &[("val_acc", 0.8), ("latency", 1.0)]);
    story.ends(2, "failed");
    let warned = story.measures(3, &[("val_acc", 0.7)]);
    assert_eq!(kinds_of(&warned), ["ObservationRecorded"]);
    let events = story.ends(3, "completed");
    let SweepEvent::SweepCompleted(completed) = events.last().unwrap() else { panic!("{events:?}") };
    assert_eq!(completed.closing.best.as_ref().map(|best| best.trial), Some(1), "no latency, not feasible");
    let feasible: Vec<Option<bool>> = story.sweep.trials.iter().map(|trial| story.sweep.feasibility(trial)).collect();
    assert_eq!(feasible, [Some(false), Some(true), Some(true), None]);
}

#[test]
fn a_trial_without_a_watched_metric_is_warned_of_once() {
    let mut story = constrained(json!({}));
    story.fill();
    story.measures(0, &[("val_acc", 0.9)]);
    let events = story.ends(0, "completed");
    let SweepEvent::SweepWarned(warned) = &events[1] else { panic!("{events:?}") };
    assert_eq!(warned.code, "MissingMetric");
    assert!(warned.message.contains("latency") && warned.message.contains("saw acc, loss"), "{}", warned.message);
    story.measures(1, &[("val_acc", 0.9)]);
    assert_eq!(kinds_of(&story.ends(1, "completed")), ["TrialEnded"]);
}

#[test]
fn limits_count_feasible_trials_only() {
    let mut story = constrained(json!({
        "objective": {"goal": "maximize", "primary_metric": "val_acc", "target": 0.8},
        "limits": {"max_total_trials": 9, "max_concurrent_trials": 1, "max_trials_without_improvement": 3},
    }));
    let run = |story: &mut Story, trial: u32, accuracy: f64, latency: f64| {
        story.fill();
        story.measures(trial, &[("val_acc", accuracy), ("latency", latency)]);
        story.ends(trial, "completed");
    };
    run(&mut story, 0, 0.9, 50.0);
    assert_eq!(story.sweep.status, Status::Running, "the target is reached, but not by a feasible trial");
    run(&mut story, 1, 0.3, 5.0);
    run(&mut story, 2, 0.7, 50.0);
    run(&mut story, 3, 0.2, 5.0);
    assert_eq!(story.sweep.status, Status::Running);
    let mut other = story.clone();
    run(&mut story, 4, 0.6, 50.0);
    assert_eq!(story.sweep.status, Status::Completed(CompletedReason::NoImprovement));
    run(&mut other, 4, 0.8, 5.0);
    assert_eq!(other.sweep.status, Status::Completed(CompletedReason::TargetReached));
    assert_eq!(other.best(), Some((4, 0.8)));
}

#[test]
fn several_objectives_have_a_front_and_no_best_trial() {
    let mut story = several();
    story.fill();
    for (trial, accuracy, latency) in [(0, 0.9, 50.0), (1, 0.5, 5.0), (2, 0.5, 5.0), (3, 0.4, 6.0), (4, 0.95, 1.0)] {
        // Of the first objective the last value counts here, too.
        story.measures(trial, &[("val_acc", 0.99)]);
        story.measures(trial, &[("val_acc", accuracy), ("latency", latency)]);
    }
    assert!(story.sweep.front().is_empty(), "nothing has completed");
    for trial in 0..4 {
        story.ends(trial, "completed");
    }
    story.ends(4, "failed");
    assert_eq!(story.sweep.front(), [0, 1], "2 equals 1, 3 is worse, 4 failed");
    story.measures(5, &[("val_acc", 1.0)]);
    let events = story.ends(5, "completed");
    let SweepEvent::SweepCompleted(completed) = events.last().unwrap() else { panic!("{events:?}") };
    assert_eq!((&completed.closing.best, story.best()), (&None, None));
    assert_eq!(story.sweep.front(), [0, 1], "5 lacks the latency");
}

#[test]
fn a_managed_trial_is_told_what_is_watched() {
    let mut story = several();
    let command = story.next_proposals().unwrap();
    let events = story.when(command).unwrap();
    let SweepEvent::TrialProposed(proposed) = &events[1] else { panic!("{events:?}") };
    let job = proposed.job.as_ref().unwrap();
    assert_eq!((job.primary_metric.as_str(), &job.watched_metrics), ("val_acc", &vec!["latency".to_owned()]));
}

#[test]
fn values_are_told_by_name_and_the_last_ones_end_the_trial() {
    use crate::sweep::{Ask, Tell, TellContent};
    let document = json!({
        "mode": "external", "cluster": null, "trial": null,
        "constraints": [{"metric": "latency", "op": "<=", "value": 10}],
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 1},
    });
    let mut story = Story::of(spec(document));
    let at = story.now;
    story
        .when(Command::Ask(Ask {
            workspace: "default".into(),
            worker: String::new(),
            lease_seconds: 60.0,
            run_ids: vec![RunId::new(Uuid::from_u128(7))],
            suggested: Vec::new(),
            exhausted: None,
            listening_since: jiff::Timestamp::MIN,
            at,
        }))
        .unwrap();
    let tell = |values: &[(&str, f64)], step, last| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let content = TellContent::Values { step, values, last };
        Command::Tell(Tell { workspace: "default".into(), trial: 0, attempt: 1, content, at })
    };
    let Err(Rejection::Refused(problem)) = story.when(tell(&[("val_acc", 0.1), ("speed", 1.0)], None, false)) else {
        panic!("speed is not watched")
    };
    assert_eq!((problem.code.as_str(), problem.errors[0].pointer.as_str()), ("UnknownMetric", "/values/speed"));
    let both = [("val_acc", 0.5), ("latency", 12.0)];
    assert_eq!(story.kinds(tell(&both, Some(0), false)), ["ObservationRecorded"]);
    assert_eq!(story.kinds(tell(&both, Some(0), false)), ["TrialLeaseRenewed"], "told before");
    assert_eq!(story.kinds(tell(&[("latency", 11.0)], None, false)), ["ObservationRecorded"]);
    assert_eq!((story.sweep.curves.interval(0), story.sweep.trials[0].values[1]), (1, Some(11.0)));
    let events = story.when(tell(&[("latency", 9.0)], None, true)).unwrap();
    assert_eq!(kinds_of(&events), ["ObservationRecorded", "TrialEnded", "SweepCompleting", "SweepCompleted"]);
    let Some(SweepEvent::SweepCompleted(completed)) = events.last() else { panic!("{events:?}") };
    assert_eq!(completed.closing.best.as_ref().map(|best| best.value), Some(0.5), "with the values of its last report");
    assert_eq!(story.best(), Some((0, 0.5)));
    let outcome = Outcome::Completed { reason: CompletedReason::MaxTotalTrials };
    assert!(events.iter().any(|event| matches!(event, SweepEvent::SweepCompleting(e) if e.outcome == outcome)));
}
