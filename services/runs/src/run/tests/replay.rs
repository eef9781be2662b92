//! Replay = live: a run read from its events is the run that wrote them, after any history.

use proptest::prelude::*;
use vocabulary::StoredEvent;

use super::super::report::{SentKey, SentPoint};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Command(Command),
    Report(u32, Vec<SentKey>),
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-0.0),
        (0..4u8).prop_map(|few| f64::from(few) / 10.0)
    ]
}

fn keys() -> impl Strategy<Value = Vec<SentKey>> {
    let point = (proptest::option::of(-2..6i64), 0..3i64, value()).prop_map(|(step, timestamp_ms, value)| SentPoint {
        step,
        timestamp_ms,
        value,
    });
    // A name is there once: a request's points are gathered by key.
    let name = prop_oneof!["acc", "loss", "n[0-9]"];
    let keys = proptest::collection::btree_map(name, proptest::collection::vec(point, 1..5), 1..3);
    keys.prop_map(|keys| keys.into_iter().map(|(name, points)| SentKey { name, points }).collect())
}

fn step() -> impl Strategy<Value = Step> {
    let attempt = 1..4u32;
    let cause = prop_oneof![Just(RequeueCause::Preempted), Just(RequeueCause::Lost), Just(RequeueCause::Retry)];
    let outcomes = [Outcome::Completed, Outcome::Failed, Outcome::Canceled, Outcome::Lost];
    let outcome = proptest::sample::select(outcomes.to_vec());
    let state = prop_oneof![Just(RunState::Starting), Just(RunState::Running), Just(RunState::Finalizing)];
    let texts = proptest::collection::btree_map("[a-c]", "[x-z]", 0..3);
    prop_oneof![
        2 => prop_oneof![Just(with_job()), Just(created(None))].prop_map(Step::Command),
        6 => (attempt.clone(), keys()).prop_map(|(attempt, keys)| Step::Report(attempt, keys)),
        4 => (attempt.clone(), state).prop_map(|(attempt, state)| Step::Command(reached(attempt, state))),
        2 => (attempt.clone(), cause).prop_map(|(attempt, cause)| Step::Command(requeued(attempt, cause))),
        1 => (attempt, outcome).prop_map(|(attempt, outcome)| Step::Command(ended(attempt, outcome))),
        1 => prop_oneof![Just(StopBy::Policy), Just(StopBy::User)].prop_map(|by| Step::Command(stop(by))),
        1 => (texts.clone(), texts).prop_map(|(params, tags)| {
            let remove_tags = vec!["a".into(), "team".into()];
            Step::Command(update(Update { params, tags, remove_tags, ..Update::default() }))
        }),
    ]
}

fn events_of(run: &Run, step: &Step) -> Vec<RunEvent> {
    match step {
        Step::Command(command) => run.decide(command).unwrap_or_default(),
        Step::Report(attempt, keys) => match run.fence("default", "r", *attempt) {
            Ok(attempt) => run.report(attempt, keys).map(|report| report.events).unwrap_or_default(),
            Err(_) => Vec::new(),
        },
    }
}

/// The points that are live by the words of the rule, counted without any of the state's shortcuts.
fn live_by_the_rule(events: &[RunEvent]) -> Vec<(i64, u64)> {
    let mut all: Vec<(u32, i64, u64)> = Vec::new();
    for event in events {
        if let RunEvent::MetricReported(event) = event {
            let points = event.points.iter().filter(|point| point.name == "acc");
            all.extend(points.map(|point| (event.attempt, point.step, super::super::series::bits_of(point.value))));
        }
    }
    let is_live = |&&(attempt, step, _): &&(u32, i64, u64)| !all.iter().any(|&(by, at, _)| by > attempt && at <= step);
    let mut live: Vec<_> = all.iter().filter(is_live).map(|&(_, step, bits)| (step, bits)).collect();
    live.sort_unstable();
    live
}

proptest! {
    #![proptest_config(testkit::properties(400))]

    #[test]
    fn a_run_that_is_read_is_the_run_that_wrote(steps in proptest::collection::vec(step(), 1..40)) {
        let mut live = Run::default();
        let mut row = serde_json::to_string(&Run::default()).unwrap();
        let mut written = Vec::new();
        for step in &steps {
            for event in events_of(&live, step) {
                live.evolve(&event);
                // As a row is read, changed and written, by those events that change it.
                if !matches!(event, RunEvent::MetricReported(_) | RunEvent::MetricNameSeen(_)) {
                    let mut shown: Run = serde_json::from_str(&row).unwrap();
                    shown.take(&event);
                    row = serde_json::to_string(&shown).unwrap();
                }
                written.push(event);
            }
        }
        let mut read = Run::default();
        for event in &written {
            let text = event.encode().unwrap();
            read.evolve(&RunEvent::decode(event.kind(), event.schema(), &text).unwrap());
        }
        prop_assert_eq!(&read, &live);
        if live.state.is_some() {
            let row = Run { version: live.version, ..serde_json::from_str(&row).unwrap() };
            let [row, answer] = [&row, &live].map(|run| crate::api::to_wire::run(run_id(), run));
            prop_assert_eq!(row, answer, "the view's row and a call's answer");
        }
        prop_assert_eq!(live.version, written.len() as i64);
        if live.ended().is_none() {
            let points: Vec<_> = live.watched.get("acc").map(|series| series.live()).unwrap_or_default();
            prop_assert_eq!(points, live_by_the_rule(&written));
        }
    }
}
