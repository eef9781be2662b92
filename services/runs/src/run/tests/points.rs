//! The fence of attempts and the identity of watched points.

use super::super::report::{SentKey, SentPoint};
use super::*;

fn key(name: &str, points: &[(Option<i64>, f64)]) -> SentKey {
    let point = |&(step, value)| SentPoint { step, timestamp_ms: 1, value };
    SentKey { name: name.into(), points: points.iter().map(point).collect() }
}

/// Reports and takes the events; answers the points that the event holds.
fn report(run: &mut Run, attempt: u32, keys: &[SentKey]) -> Result<Vec<(i64, f64)>, Rejection> {
    let report = run.report(attempt, keys)?;
    let mut points = Vec::new();
    for event in &report.events {
        if let RunEvent::MetricReported(event) = event {
            points.extend(event.points.iter().map(|point| (point.step, point.value)));
        }
        run.evolve(event);
    }
    Ok(points)
}

fn second_attempt() -> Run {
    let mut run = given(&[with_job(), reached(1, RunState::Running)]);
    let steps: Vec<_> = (0..5).map(|step| (Some(step), step as f64)).collect();
    report(&mut run, 1, &[key("acc", &steps)]).unwrap();
    for event in run.decide(&requeued(1, RequeueCause::Preempted)).unwrap() {
        run.evolve(&event);
    }
    run
}

#[test]
fn only_the_current_attempt_writes() {
    // A fenced attempt that wakes up must not mix its points with those of the one that lives.
    let run = second_attempt();
    let fence = |attempt| run.fence("default", "r", attempt);
    assert_eq!(fence(2), Ok(2));
    assert_eq!(fence(1), Err(Rejection::StaleAttempt { attempt: 1, current: 2 }));
    assert_eq!(fence(3), Err(Rejection::EarlyAttempt { attempt: 3, current: 2 }));
    assert_eq!(fence(0), Err(Rejection::AttemptRequired));
    let ended = given(&[with_job(), ended(1, Outcome::Completed)]);
    assert_eq!(ended.fence("default", "r", 1), Err(Rejection::Terminal { state: RunState::Completed }));
    assert!(matches!(run.fence("other", "r", 2), Err(Rejection::NotFound { .. })));
    let own = given(&[created(None)]);
    assert_eq!((own.fence("default", "r", 0), own.fence("default", "r", 1)), (Ok(1), Ok(1)));
    assert_eq!(own.fence("default", "r", 2), Err(Rejection::StaleAttempt { attempt: 2, current: 1 }));
}

#[test]
fn the_same_point_again_is_nothing_and_another_value_a_conflict() {
    // R4: a retried report must not tick the clock twice, and a step has one value.
    let mut run = given(&[with_job()]);
    assert_eq!(report(&mut run, 1, &[key("acc", &[(Some(0), 0.5), (Some(1), 0.6)])]).unwrap().len(), 2);
    assert_eq!(report(&mut run, 1, &[key("acc", &[(Some(1), 0.6), (Some(2), 0.7)])]).unwrap(), [(2, 0.7)]);
    let before = run.clone();
    let conflict = report(&mut run, 1, &[key("acc", &[(Some(3), 0.8), (Some(1), 0.61)])]).unwrap_err();
    let expected = Rejection::ConflictingPoint { metric: "acc".into(), step: 1, recorded: 0.6, received: 0.61 };
    assert_eq!(conflict, expected);
    assert_eq!(run, before);
    assert!(report(&mut run, 1, &[key("acc", &[(Some(4), 1.0), (Some(4), 2.0)])]).is_err(), "within a batch too");
    let nan = [key("acc", &[(Some(5), f64::NAN)])];
    assert_eq!(report(&mut run, 1, &nan).unwrap().len(), 1);
    assert_eq!(report(&mut run, 1, &nan).unwrap().len(), 0);
}

#[test]
fn a_point_without_a_step_comes_after_the_last_one() {
    // Scripts that only print a value must get a curve.
    let mut run = given(&[with_job()]);
    assert_eq!(report(&mut run, 1, &[key("acc", &[(None, 0.1), (None, 0.2)])]).unwrap(), [(0, 0.1), (1, 0.2)]);
    let mixed = [key("acc", &[(None, 0.3), (Some(9), 0.4), (None, 0.5)])];
    assert_eq!(report(&mut run, 1, &mixed).unwrap(), [(2, 0.3), (9, 0.4), (10, 0.5)]);
    let lower = [key("acc", &[(Some(5), 0.6), (None, 0.7)])];
    assert_eq!(report(&mut run, 1, &lower).unwrap(), [(5, 0.6), (11, 0.7)]);
}

#[test]
fn a_new_attempt_supersedes_from_its_step_on() {
    // A trial that resumed at step 3 has measured 3 and 4 anew; 0 to 2 stand.
    let mut run = second_attempt();
    assert_eq!(report(&mut run, 2, &[key("acc", &[(Some(3), 30.0)])]).unwrap(), [(3, 30.0)]);
    assert_eq!(run.watched["acc"].last_step(), Some(3), "step 4 of the first attempt is gone");
    assert_eq!(report(&mut run, 2, &[key("acc", &[(None, 40.0)])]).unwrap(), [(4, 40.0)]);
    assert!(report(&mut run, 2, &[key("acc", &[(Some(3), 31.0)])]).is_err());
    let mut anew = second_attempt();
    let batch = [key("acc", &[(Some(0), 9.0), (None, 8.0), (None, 7.0)])];
    assert_eq!(report(&mut anew, 2, &batch).unwrap(), [(0, 9.0), (1, 8.0), (2, 7.0)]);
    let mut on = second_attempt();
    assert_eq!(report(&mut on, 2, &[key("acc", &[(None, 5.0)])]).unwrap(), [(5, 5.0)], "from a checkpoint it goes on");
}

#[test]
fn other_names_are_told_once_and_at_most_twenty() {
    // R3: the sweep can say "did you mean val_acc?", and a run with a thousand keys does not flood its log.
    let mut run = given(&[with_job()]);
    let names: Vec<_> = (0..30).map(|n| key(&format!("loss_{n}"), &[(Some(0), 1.0)])).collect();
    let seen = |run: &Run, keys: &[SentKey]| run.report(1, keys).unwrap().events.len();
    assert_eq!(seen(&run, &names[..2]), 2);
    report(&mut run, 1, &names[..2]).unwrap();
    assert_eq!(seen(&run, &names[..2]), 0);
    report(&mut run, 1, &names).unwrap();
    assert_eq!(run.names.len(), 20);
    assert_eq!(seen(&run, &names), 0);
    report(&mut run, 1, &[key("acc", &[(None, 1.0)])]).unwrap();
    assert_eq!((run.metric_names().len(), run.metric_names()[0].as_str()), (20, "acc"));
    assert_eq!(given(&[created(None)]).report(1, &names).unwrap().events, [], "nobody watches");
}
