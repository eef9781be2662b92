//! Replays of policies on recorded curves.

use trialog_tuning::{Clock, Fate, Goal, PolicySpec, RecordedTrial, replay, what_if};

fn policy(text: &str) -> PolicySpec {
    serde_json::from_str(text).expect("a policy document")
}

fn curve(id: &str, values: &[f64], completed: bool) -> RecordedTrial {
    RecordedTrial { id: id.to_owned(), values: values.to_vec(), completed, ..RecordedTrial::default() }
}

const BANDIT: &str = r#"{"type": "bandit", "slack_amount": 0.1}"#;

#[test]
fn workers_report_in_turn_and_a_freed_one_starts_the_next_trial() {
    let curves =
        [curve("a", &[0.5, 0.6, 0.7], true), curve("b", &[0.3, 0.9, 0.9], true), curve("c", &[0.6, 0.65], true)];
    let clock = Clock::Workers { workers: 2, max_reports: 100 };
    // a1, b1 (0.2 behind: stopped), a2, c1, a3, c2.
    let replayed = replay(&policy(BANDIT), Goal::Maximize, &curves, clock);
    let fates: Vec<(&str, u32, Fate)> =
        replayed.trials.iter().map(|trial| (trial.id.as_str(), trial.last_step, trial.outcome)).collect();
    assert_eq!(fates, [("a", 3, Fate::Completed), ("b", 1, Fate::Stopped), ("c", 2, Fate::Completed)]);
    assert_eq!(replayed.reports_used, 6);
    assert_eq!(replayed.trace, [(1, 0.5), (3, 0.6), (5, 0.7)]);
    let cut = replay(&policy(BANDIT), Goal::Maximize, &curves, Clock::Workers { workers: 2, max_reports: 4 });
    assert_eq!((cut.reports_used, cut.trials[0].outcome, cut.trials[2].outcome), (4, Fate::CutOff, Fate::CutOff));
}

#[test]
fn the_recorded_order_is_that_of_the_positions() {
    let mut late = curve("late", &[0.2], true);
    let mut early = curve("early", &[0.9, 0.9], true);
    (late.positions, early.positions) = (vec![7], vec![3, 9]);
    let replayed = replay(&policy(BANDIT), Goal::Maximize, &[late, early], Clock::Recorded);
    // It ends with its report, before it could be stopped.
    assert_eq!(replayed.trace, [(1, 0.9)]);
    assert_eq!(replayed.trials[0].outcome, Fate::Completed);
}

#[test]
fn what_a_policy_saves_and_costs() {
    let mut curves = [
        curve("good", &[0.5, 0.6, 0.6, 0.6], true),
        curve("bad", &[0.1, 0.1, 0.1, 0.1], true),
        // Slow, and the best of all in the end.
        curve("slow", &[0.3, 0.3, 0.3, 0.9], true),
    ];
    for (place, trial) in (0_u64..).zip(&mut curves) {
        trial.positions = (0..4).map(|report| report * 10 + place).collect();
        trial.seconds = vec![10.0, 20.0, 30.0, 40.0];
    }
    let policies =
        [policy(r#"{"type": "none"}"#), policy(BANDIT), policy(r#"{"type": "bandit", "slack_amount": 0.3}"#)];
    let answers = what_if(&policies, Goal::Maximize, &curves, Clock::Recorded);
    let facts: Vec<_> = answers
        .iter()
        .map(|answer| (answer.reports_saved, answer.stopped, answer.winner_survives, answer.node_seconds_saved))
        .collect();
    assert_eq!(facts[0], (0, 0, true, Some(0.0)));
    assert_eq!(facts[1], (6, 2, false, Some(60.0)), "both are stopped at their first report");
    // bad at its first, slow at its second, where it is 0.3 behind, which is not beyond the slack: it goes on.
    assert_eq!(facts[2], (3, 1, true, Some(30.0)));
    assert!((answers[1].regret_at_most.unwrap() - 0.3).abs() < 1e-12);
    // The first saves less than the last at no less regret.
    assert_eq!(answers.iter().map(|answer| answer.is_pareto).collect::<Vec<_>>(), [false, true, true]);
    assert!(
        answers
            .iter()
            .all(|answer| answer.unknown == 0 && answer.reports_saved_at_least == answer.reports_saved as i64)
    );
}

#[test]
fn nothing_is_made_up_beyond_a_recorded_end() {
    // What stopped it then would not stop it now: what it would have become is not recorded.
    let curves =
        [curve("whole", &[0.5, 0.5, 0.5, 0.5], true), curve("cut", &[0.4], false), curve("bad", &[0.0], false)];
    let answers = what_if(&[policy(BANDIT)], Goal::Maximize, &curves, Clock::Recorded);
    let fates: Vec<Fate> = answers[0].replay.trials.iter().map(|trial| trial.outcome).collect();
    assert_eq!(fates, [Fate::Completed, Fate::Unknown, Fate::Stopped]);
    // It might have reported three times more.
    assert_eq!((answers[0].unknown, answers[0].reports_saved, answers[0].reports_saved_at_least), (1, 0, -3));
    assert_eq!(answers[0].node_seconds_saved, None);
}
