//! What is kept through better and worse values, attempts that go on from others, and restarts.

use super::*;

const MODEL: &str = "outputs/model";

fn order(attempt: u32, goal: &str, checkpoints: &Path) -> StartAttempt {
    let spec = JobSpec {
        primary_metric: "acc".into(),
        goal: goal.into(),
        keep_best: vec![MODEL.into(), CHECKPOINT.into()],
        checkpoint: true,
        ..JobSpec::default()
    };
    let checkpoint_folder = checkpoints.join("run_1").display().to_string();
    StartAttempt { attempt, spec: Some(spec), checkpoint_folder, ..StartAttempt::default() }
}

/// Writes the folders anew, reports, and copies; the value that is kept then.
fn goes_on(best: &Best, attempt: &Path, checkpoints: &Path, step: i64, value: f64) -> Option<f64> {
    for folder in [attempt.join(MODEL), checkpoints.join("run_1")] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("of"), value.to_string()).unwrap();
    }
    let point = |name: &str| MetricPoint { name: name.into(), value, step: Some(step), ..MetricPoint::default() };
    best.report(&point("loss"), false);
    best.report(&point("acc"), false);
    let seen = best.news().borrow().clone();
    if let Some(value) = seen.best.filter(|_| seen.is_latest) {
        assert!(best.copy(&value).unwrap());
    }
    best.kept_value().map(|kept| kept.value)
}

#[test]
fn what_is_kept_is_of_the_best_value_over_all_attempts_that_count() {
    // A model that was good once is lost with the next epoch, or with its node.
    let (node, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (node.path().join("1"), node.path().join("2"));
    let best = Best::of(&order(1, "maximize", checkpoints.path()), &first).unwrap();
    let values = [(1, f64::NAN, None), (2, 0.5, Some(0.5)), (3, 0.9, Some(0.9)), (4, 0.7, Some(0.9))];
    for (step, value, kept) in values {
        assert_eq!(goes_on(&best, &first, checkpoints.path(), step, value), kept, "{step}");
    }
    let kept = |best: &Best| fs::read_to_string(best.kept().unwrap().join(MODEL).join("of")).unwrap();
    assert_eq!(kept(&best), "0.9");
    // The next attempt goes on behind it, then one anew from before it.
    let later = Best::of(&order(2, "maximize", checkpoints.path()), &second).unwrap();
    assert_eq!(goes_on(&later, &second, checkpoints.path(), 5, 0.8), Some(0.9));
    let last = Best::of(&order(3, "maximize", checkpoints.path()), &second).unwrap();
    assert_eq!(goes_on(&last, &second, checkpoints.path(), 3, 0.6), Some(0.6), "a superseded value counts no more");
    assert!(last.unkept().is_none());
    // A zombie of the first attempt takes nothing of that away.
    let zombie = Best::of(&order(1, "maximize", checkpoints.path()), &first).unwrap();
    zombie.report(&MetricPoint { name: "acc".into(), value: 0.99, step: Some(6), ..MetricPoint::default() }, false);
    assert!(!zombie.news().borrow().is_latest);
    assert!(!best.copy(&Value { value: 0.99, step: 6, attempt: 1 }).unwrap());
    let reported = || fs::read_to_string(best.home.join(VALUES)).unwrap();
    let before = reported();
    best.report(&MetricPoint { name: "acc".into(), value: 0.98, step: Some(2), ..MetricPoint::default() }, false);
    assert_eq!((best.news().borrow().is_latest, reported()), (false, before), "nor does its agent, which lives");
    // At the end that of the best value remains, once, and nothing beside it.
    goes_on(&last, &second, checkpoints.path(), 7, 0.1);
    last.leave_checkpoint().unwrap();
    last.leave_checkpoint().unwrap();
    assert_eq!(fs::read_to_string(checkpoints.path().join("run_1/of")).unwrap(), "0.6");
    last.clean_up().unwrap();
    assert_eq!(fs::read_dir(checkpoints.path()).unwrap().count(), 1);
}

#[test]
fn what_is_uploaded_is_never_of_a_value_that_counts_no_more() {
    // The best value said 0.8, and the model was another one without a word; or one of 0.9 that nobody has.
    let (node, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (node.path().join("1"), node.path().join("2"));
    let best = Best::of(&order(1, "maximize", checkpoints.path()), &first).unwrap();
    for (step, value) in [(1, 0.5), (2, 0.8), (3, 0.9)] {
        assert_eq!(goes_on(&best, &first, checkpoints.path(), step, value), Some(value));
    }
    assert_eq!(best.unkept(), None);
    let later = Best::of(&order(2, "maximize", checkpoints.path()), &second).unwrap();
    for (step, value, kept) in [(3, f64::NAN, None), (4, 0.5, Some(0.5)), (5, 0.2, Some(0.5))] {
        assert_eq!(goes_on(&later, &second, checkpoints.path(), step, value), kept, "{step}");
    }
    let said = later.unkept().unwrap();
    assert!(said.contains("the best acc, 0.8, is not kept") && said.contains("that of 0.5"), "{said}");
    // The agent begins again, and knows the same.
    let again = Best::of(&order(2, "maximize", checkpoints.path()), &second).unwrap();
    assert_eq!(again.unkept().as_ref(), Some(&said));
    assert_eq!(goes_on(&again, &second, checkpoints.path(), 6, 0.85), Some(0.85));
    assert_eq!(again.unkept(), None);
}

#[test]
fn an_attempt_that_was_replaced_leaves_what_its_successor_has() {
    // Its end came late, and it put its own checkpoint under the hands of the one that went on.
    let (node, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (node.path().join("1"), node.path().join("2"));
    let best = Best::of(&order(1, "maximize", checkpoints.path()), &first).unwrap();
    best.begin().unwrap();
    assert_eq!(goes_on(&best, &first, checkpoints.path(), 1, 0.9), Some(0.9));
    let later = Best::of(&order(2, "maximize", checkpoints.path()), &second).unwrap();
    later.begin().unwrap();
    fs::write(checkpoints.path().join("run_1/of"), "of the second").unwrap();
    best.leave_checkpoint().unwrap();
    best.clean_up().unwrap();
    assert_eq!(fs::read_to_string(checkpoints.path().join("run_1/of")).unwrap(), "of the second");
    assert_eq!(later.kept_value().map(|kept| kept.value), Some(0.9), "what counts still is kept still");
}

#[test]
fn what_is_said_again_after_a_restart_is_not_taken_for_what_the_folders_hold_now() {
    let folder = tempfile::tempdir().unwrap();
    let best = Best::of(&order(1, "maximize", folder.path()), folder.path()).unwrap();
    let point = MetricPoint { name: "acc".into(), value: 0.9, step: Some(3), ..MetricPoint::default() };
    best.report(&point, true);
    assert!(!best.news().borrow().is_latest);
    assert!(best.unkept().is_some_and(|text| text.contains("the best acc, 0.9, is not kept")));
}

#[test]
fn what_lies_beyond_the_last_report_that_counts_replaces_nothing() {
    // The best of a trial was that of its third report, and its model that of a fourth which counted for nothing.
    let folder = tempfile::tempdir().unwrap();
    let limited = |attempt| {
        let mut order = order(attempt, "maximize", folder.path());
        let most = [("TRIALOG_MAX_RESOURCE".to_owned(), "3".to_owned())].into();
        order.spec = order.spec.map(|spec| JobSpec { contract_variables: most, ..spec });
        Best::of(&order, folder.path()).unwrap()
    };
    let best = limited(1);
    let goes_on = |best: &Best, step, value| goes_on(best, folder.path(), folder.path(), step, value);
    let kept = [(1, 0.5), (2, f64::NAN)].map(|(step, value)| goes_on(&best, step, value));
    assert_eq!(kept, [Some(0.5), Some(0.5)]);
    // The next attempt goes on from its first report: the second counts anew, and with the third it is at its end.
    let later = limited(2);
    let values = [(2, 0.6), (3, 0.7), (4, 0.9), (5, 0.95)];
    assert_eq!(values.map(|(step, value)| goes_on(&later, step, value)), [Some(0.6), Some(0.7), Some(0.7), Some(0.7)]);
    assert_eq!(later.unkept(), None);
    assert_eq!(goes_on(&limited(2), 4, 0.99), Some(0.7), "nor does another agent take it");
}

#[test]
fn why_a_copy_failed_is_said_of_the_value_that_it_was_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let best = Best::of(&order(1, "maximize", folder.path()), folder.path()).unwrap();
    let point = |step, value| MetricPoint { name: "acc".into(), value, step: Some(step), ..MetricPoint::default() };
    best.report(&point(1, 0.9), false);
    let value = best.news().borrow().best.clone().unwrap();
    best.fail(value, &io::Error::other("the disk is full"));
    assert!(
        best.unkept().is_some_and(|text| text.contains("0.9, is not kept: it could not be copied: the disk is full"))
    );
    best.report(&point(2, 0.95), false);
    assert!(best.unkept().is_some_and(|text| text.contains("0.95, is not kept: it had changed")));
}

#[test]
fn a_second_value_of_a_step_counts_no_more_here_than_with_runs() {
    // Runs refuses it, and what was uploaded was the model of a value that nobody has.
    let folder = tempfile::tempdir().unwrap();
    let best = Best::of(&order(1, "maximize", folder.path()), folder.path()).unwrap();
    let values = [(2, 0.5), (2, 0.9), (1, f64::NAN), (1, 0.9), (3, 0.6), (2, 0.9)];
    let kept = values.map(|(step, value)| goes_on(&best, folder.path(), folder.path(), step, value));
    assert_eq!(kept, [Some(0.5), Some(0.5), Some(0.5), Some(0.5), Some(0.6), Some(0.6)]);
    assert_eq!(best.unkept(), None);
}

#[test]
fn what_is_best_is_known_also_when_an_attempt_goes_back_in_its_steps() {
    // The best value was 0.4 and the model that of 0.3, without a word.
    let (node, checkpoints) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let best = Best::of(&order(1, "maximize", checkpoints.path()), node.path()).unwrap();
    for (step, value) in [(1, 0.5), (2, 0.9), (3, 0.6)] {
        goes_on(&best, node.path(), checkpoints.path(), step, value);
    }
    let later = Best::of(&order(2, "maximize", checkpoints.path()), node.path()).unwrap();
    assert_eq!(goes_on(&later, node.path(), checkpoints.path(), 4, 0.4), Some(0.9));
    assert_eq!(goes_on(&later, node.path(), checkpoints.path(), 1, 0.3), Some(0.3));
    let notice = later.unkept().unwrap_or_default();
    assert!(notice.contains("the best acc, 0.4, is not kept") && notice.contains("that of 0.3"), "{notice}");
}

#[test]
fn the_goal_says_what_is_better_and_without_a_wish_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let best = Best::of(&order(1, "minimize", folder.path()), folder.path()).unwrap();
    let values = [(1, 0.5), (2, 0.9), (3, 0.1), (4, 0.1)];
    let kept = values.map(|(step, value)| goes_on(&best, folder.path(), folder.path(), step, value));
    assert_eq!(kept, [Some(0.5), Some(0.5), Some(0.1), Some(0.1)]);
    let mut other = order(1, "minimize", folder.path());
    other.spec = other.spec.map(|spec| JobSpec { keep_best: Vec::new(), ..spec });
    assert!(Best::of(&other, folder.path()).is_none());
}
