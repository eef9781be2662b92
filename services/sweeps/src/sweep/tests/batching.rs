//! How lines are cut into requests is an accident of timing: whatever the cut, a trial, its sweep and the best value
//! come out the same. What is told line by line comes to the same too.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::external::external;
use super::{Story, spec};
use crate::sweep::{Command, NamedPoint, Observation, Point, StopBy, TellContent, TrialEnd};

/// What a program prints.
#[derive(Clone, Debug)]
enum Line {
    Watched(f64),
    Other(f64),
}

fn line() -> impl Strategy<Value = Line> {
    let value = prop_oneof![12 => (0_i32..=10).prop_map(|tenths| f64::from(tenths) / 10.0), 1 => Just(f64::NAN)];
    prop_oneof![3 => value.clone().prop_map(Line::Watched), 1 => value.prop_map(Line::Other)]
}

fn policy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"type": "none"})),
        Just(json!({"type": "bandit", "slack_amount": 0.2})),
        Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 2})),
        Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 3})),
        Just(json!({"type": "asha", "reduction_factor": 2, "max_resource": 3, "variant": "promotion"})),
        Just(json!({"type": "hyperband", "reduction_factor": 2, "max_resource": 4})),
        Just(json!({"type": "learning_curve", "max_resource": 4})),
    ]
}

fn setting() -> impl Strategy<Value = Value> {
    let target = prop_oneof![Just(Value::Null), Just(json!(0.1)), Just(json!(0.4))];
    (policy(), target, any::<[bool; 3]>()).prop_map(|(policy, target, [fails, constrained, keeps])| {
        let mut document = json!({
            "early_termination": policy,
            "objective": {
                "goal": "minimize", "primary_metric": "val_acc",
                "on_non_finite": if fails { "fail" } else { "ignore" },
            },
            "record_keeps": keeps,
            "trial": {"command": ["python", "train.py"], "checkpoint": true},
        });
        if !target.is_null() {
            document["objective"]["target"] = target;
        }
        if constrained {
            document["constraints"] = json!([{"metric": "size", "op": "<=", "value": 0.5}]);
        }
        document
    })
}

/// The points of all lines, each metric with steps of its own.
fn points(lines: &[Line]) -> Vec<NamedPoint> {
    let (mut watched, mut other) = (0..i64::MAX, 0..i64::MAX);
    let point = |line: &Line| {
        let (name, step, value) = match line {
            Line::Watched(value) => ("val_acc", watched.next(), *value),
            Line::Other(value) => ("size", other.next(), *value),
        };
        NamedPoint { name: name.into(), point: Point { step: step.unwrap(), value } }
    };
    lines.iter().map(point).collect()
}

/// What the lines of the first trial come to when so many of them, over and over, are one request.
fn managed(setting: &Value, lines: &[Line], sizes: &[usize]) -> Story {
    let mut story = Story::of(spec(setting.clone()));
    story.fill();
    story.starts(0);
    story.starts(1);
    story.reports(1, &[0.6]);
    let points = points(lines);
    let (mut rest, mut sizes) = (points.as_slice(), sizes.iter().cycle());
    while !rest.is_empty() {
        let (batch, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        let observation = Observation { trial: 0, attempt: 1, points: batch.to_vec(), at: story.now };
        story.when(Command::Observe(observation)).unwrap();
        rest = later;
    }
    story
}

/// Ends the trials as their programs and nodes would.
fn ended(mut story: Story) -> Story {
    for trial in 0..2 {
        let now = &story.sweep.trials[trial as usize];
        if now.stop.is_some() || (trial == 0 && now.paused.is_none()) {
            let outcome = if now.stop.is_some() { "canceled" } else { "completed" };
            story.ends(trial, outcome);
        }
    }
    story
}

/// What is to be the same; numbers of events are not, and neither are the times of what came together.
fn outcome(story: &Story) -> String {
    let sweep = &story.sweep;
    let trials: Vec<String> = (0_u32..)
        .zip(&sweep.trials)
        .map(|(index, trial)| {
            let standing = sweep.curves.standing(index).map(|standing| standing.value);
            let (stop, paused) = (trial.stop.map(|stop| stop.by), trial.paused.is_some());
            let counted = (sweep.curves.interval(index), standing, trial.last_value, trial.non_finite, &trial.values);
            let end = trial.end.as_ref().map(TrialEnd::reason);
            format!("{} {end:?} {stop:?} {paused} {:?} {counted:?}", trial.state, trial.finishing)
        })
        .collect();
    let best = sweep.best().map(|best| (best.trial, best.value));
    format!("{trials:#?} {:?} {:?} {best:?}", sweep.live, sweep.status)
}

/// The same lines told one by one, and the end of whoever has not ended then.
fn told(setting: &Value, lines: &[Line]) -> Story {
    let mut story = external({
        let mut setting = setting.clone();
        setting.as_object_mut().unwrap().remove("trial");
        setting
    });
    story.asks(2);
    story.tells(1, 0.6);
    let mut last = None;
    for NamedPoint { point: Point { step, value }, .. } in points(lines) {
        // Who has ended, or waits, is told so.
        if story.says(0, 1, TellContent::Value { step: Some(step), value, last: false }).is_ok() {
            last = Some(TellContent::Value { step: Some(step), value, last: true });
        }
    }
    let runs_on = story.sweep.live.contains(&0);
    if let Some(last) = last.filter(|_| runs_on) {
        story.says(0, 1, last).unwrap();
    }
    story
}

/// What both forms have in common.
fn result(story: &Story) -> String {
    let (sweep, trial) = (&story.sweep, &story.sweep.trials[0]);
    let counted = (sweep.curves.interval(0), sweep.curves.standing(0).map(|standing| standing.value), trial.last_value);
    let best = sweep.best().map(|best| (best.trial, best.value));
    format!("{} {} {counted:?} {best:?} {:?}", trial.state, sweep.trials[1].state, story.status())
}

proptest! {
    #![proptest_config(testkit::properties(512))]

    #[test]
    fn the_same_lines_come_to_the_same_however_they_are_cut(
        setting in setting(),
        lines in vec(line(), 1..9),
        sizes in vec(1_usize..6, 1..4),
    ) {
        let (cut, single) = (managed(&setting, &lines, &sizes), managed(&setting, &lines, &[1]));
        // Of a policy's stop what other metrics gave in the same request counts, and in a later one not: they were
        // measured before it.
        let first = &single.sweep.trials[0];
        let is_judged = first.paused.is_some() || first.stop.is_some_and(|stop| stop.by != StopBy::MaxResource);
        prop_assume!(!is_judged || setting.get("constraints").is_none());
        prop_assert_eq!(outcome(&cut), outcome(&single));
        prop_assert_eq!(outcome(&ended(cut)), outcome(&ended(single)));
    }

    #[test]
    fn what_is_told_comes_to_what_is_reported(
        policy in policy(),
        target in prop_oneof![Just(0.1), Just(0.4), Just(-1.0)],
        values in vec((0_i32..=10).prop_map(|tenths| f64::from(tenths) / 10.0), 1..9),
    ) {
        let setting = json!({
            "early_termination": policy,
            "objective": {"goal": "minimize", "primary_metric": "val_acc", "target": target},
            "trial": {"command": ["python", "train.py"], "checkpoint": true},
        });
        let lines: Vec<Line> = values.into_iter().map(Line::Watched).collect();
        let reported = ended(managed(&setting, &lines, &[lines.len()]));
        prop_assert_eq!(result(&told(&setting, &lines)), result(&reported));
    }
}
