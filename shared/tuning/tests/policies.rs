//! What must hold for every history of reports: the leader lives, the clock follows the attempts, and it is cheap.

use proptest::prelude::*;
use trialog_tuning::{End, Goal, PolicySpec, Report, Reported, SkipReason, Trials, Variant, Verdict};

fn policy() -> impl Strategy<Value = PolicySpec> {
    let clock = (1_u32..4, 0_u32..5);
    prop_oneof![
        (prop_oneof![Just(0.0), 0.0..1.0_f64], any::<bool>(), clock.clone()).prop_map(
            |(slack, factor, (every, delay))| {
                PolicySpec::Bandit {
                    slack_factor: factor.then_some(slack),
                    slack_amount: (!factor).then_some(slack),
                    evaluation_interval: every,
                    delay_evaluation: delay,
                }
            }
        ),
        clock.clone().prop_map(|(every, delay)| PolicySpec::MedianStopping {
            evaluation_interval: every,
            delay_evaluation: delay,
        }),
        (1_u8..=99, any::<bool>(), clock).prop_map(|(percentage, exclude, (every, delay))| {
            PolicySpec::TruncationSelection {
                truncation_percentage: percentage,
                exclude_finished_jobs: exclude,
                evaluation_interval: every,
                delay_evaluation: delay,
            }
        }),
        (2_u32..4, 1_u32..3, 3_u32..20).prop_map(|(reduction_factor, min_resource, max_resource)| PolicySpec::Asha {
            reduction_factor,
            min_resource,
            max_resource,
            variant: Variant::Stopping,
            finish_seconds: 600.0,
        }),
        (2_u32..4, 1_u32..3, 3_u32..20).prop_map(|(reduction_factor, min_resource, max_resource)| {
            PolicySpec::Hyperband { reduction_factor, min_resource, max_resource, finish_seconds: 600.0 }
        }),
        (1_u32..3, 3_u32..40, 0.01..1.0_f64, 0.0..3.0_f64).prop_map(|(min_resource, max_resource, share, hope)| {
            PolicySpec::LearningCurve { min_resource, max_resource, share, hope, finish_seconds: 600.0 }
        }),
        (1_u32..4, 0.05..=0.5_f64, 0.0..=1.0_f64).prop_map(
            |(perturbation_interval, quantile, resample_probability)| {
                PolicySpec::Pbt { perturbation_interval, quantile, resample_probability }
            }
        ),
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -2.0..2.0_f64,
        3 => (-3_i32..3).prop_map(|value| f64::from(value) / 4.0),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1e308),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Report {
        trial: u32,
        value: f64,
    },
    /// A new attempt that reports from a step on.
    Restart {
        trial: u32,
        step: i64,
        value: f64,
    },
    End(u32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => (0_u32..6, value()).prop_map(|(trial, value)| Event::Report { trial, value }),
        1 => (0_u32..6, 0_i64..6, value()).prop_map(|(trial, step, value)| Event::Restart { trial, step, value }),
        1 => (0_u32..6).prop_map(Event::End),
    ]
}

/// The counted points of a trial by the definition alone: `(step, attempt, value)` in order of arrival.
#[derive(Clone, Debug, Default)]
struct Model {
    points: Vec<(i64, u32, f64)>,
    attempt: u32,
    stopped: bool,
}

impl Model {
    fn best(&self, goal: Goal, n: usize) -> Option<f64> {
        let finite = self.points.iter().take(n).map(|point| point.2).filter(|value| value.is_finite());
        finite.reduce(|best, value| if goal.worse(best, value) { value } else { best })
    }
}

proptest! {
    #![proptest_config(testkit::properties(400))]

    #[test]
    fn the_leader_is_never_stopped(
        policy in policy(), maximize: bool, events in prop::collection::vec(event(), 1..120),
    ) {
        let goal = if maximize { Goal::Maximize } else { Goal::Minimize };
        let is_population_based = policy.is_population_based();
        let mut trials = Trials::new(policy, goal);
        let mut model = vec![Model::default(); 6];
        for (at, event) in events.into_iter().enumerate() {
            let (trial, restart, step, value) = match event {
                Event::End(trial) => {
                    trials.end(trial, End::Failed);
                    continue;
                }
                Event::Report { trial, value } => (trial, false, None, value),
                Event::Restart { trial, step, value } => (trial, true, Some(step), value),
            };
            let step = step.unwrap_or_else(|| trials.next_step(trial));
            let own = &mut model[trial as usize];
            let attempt = own.attempt.max(1) + u32::from(restart);
            let report = Report { trial, attempt, step, value, position: at as u64 };
            let previewed = trials.preview(&report);
            let reported = trials.report(&report);
            if own.stopped {
                prop_assert_eq!(reported, Reported::AfterStop);
                prop_assert_eq!(trials.judge(trial), Verdict::Skip { reason: SkipReason::Stopping, interval: None });
                continue;
            }
            own.attempt = attempt;
            own.points.retain(|point| point.1 >= attempt || point.0 < step);
            own.points.push((step, attempt, value));
            let n = own.points.len();
            prop_assert_eq!(trials.interval(trial) as usize, n);
            let verdict = trials.judge(trial);
            prop_assert_eq!(&previewed, &verdict);
            prop_assert_eq!(trials.standing(trial).map(|standing| standing.value), model[trial as usize].best(goal, n));
            prop_assert_eq!(trials.leader(), trials.ranking().first().copied());
            if let Verdict::Stop(decision) = verdict {
                let bests = model.iter().filter_map(|model| model.best(goal, n));
                let leader = bests.reduce(|best, value| if goal.worse(best, value) { value } else { best });
                let (own, leader) = match is_population_based {
                    // A population compares what is, not what was: its leader is that of all intervals.
                    true => (trials.standing(trial).unwrap().value, trials.leader().unwrap().value),
                    false => (decision.value, leader.unwrap()),
                };
                prop_assert!(goal.worse(own, leader), "{:?}", decision);
                prop_assert!(!decision.inputs.is_empty());
                trials.stop(trial, decision.hint.is_some());
                model[trial as usize].stopped = true;
            }
        }
        let text = serde_json::to_string(&trials).unwrap();
        let restored: Trials = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(format!("{:?}", restored), format!("{:?}", trials));
    }
}

fn bandit(slack_factor: f64) -> PolicySpec {
    PolicySpec::Bandit {
        slack_factor: Some(slack_factor),
        slack_amount: None,
        evaluation_interval: 1,
        delay_evaluation: 0,
    }
}

fn report(trials: &mut Trials, trial: u32, attempt: u32, step: i64, value: f64) -> Verdict {
    trials.report(&Report { trial, attempt, step, value, position: 0 });
    trials.judge(trial)
}

#[test]
fn a_decided_interval_is_not_asked_again_after_a_restart() {
    let mut trials = Trials::new(bandit(0.2), Goal::Maximize);
    assert!(matches!(report(&mut trials, 0, 1, 0, f64::NAN), Verdict::Skip { reason: SkipReason::NoValue, .. }));
    assert!(matches!(report(&mut trials, 0, 1, 1, 0.5), Verdict::Keep(_)));
    // From scratch: the first interval had no value then and is asked now, the second was decided.
    assert!(matches!(report(&mut trials, 0, 2, 0, 0.4), Verdict::Keep(_)));
    assert_eq!(trials.interval(0), 1);
    let again = report(&mut trials, 0, 2, 1, 0.6);
    assert_eq!(again, Verdict::Skip { reason: SkipReason::AlreadyDecided, interval: Some(2) });
    assert!(matches!(report(&mut trials, 0, 2, 2, 0.6), Verdict::Keep(_)));
    let stale = trials.report(&Report { trial: 0, attempt: 1, step: 9, value: 1.0, position: 0 });
    assert_eq!(stale, Reported::StaleAttempt);
}

#[test]
fn a_factor_at_a_best_of_zero_gives_a_hint_once() {
    let mut trials = Trials::new(bandit(0.2), Goal::Minimize);
    report(&mut trials, 0, 1, 0, 0.0);
    for (trial, hinted) in [(1, true), (2, false)] {
        let Verdict::Stop(decision) = report(&mut trials, trial, 1, 0, 0.1) else { panic!("no slack is left") };
        assert_eq!(decision.hint.is_some(), hinted);
        assert_eq!(decision.inputs[0].trial, 0);
        trials.stop(trial, decision.hint.is_some());
    }
}

#[test]
fn a_failed_trial_leads_but_is_best_only_alone() {
    let mut trials = Trials::new(PolicySpec::None, Goal::Maximize);
    report(&mut trials, 0, 1, 0, 0.9);
    report(&mut trials, 1, 1, 0, 0.8);
    trials.end(0, End::Failed);
    assert_eq!(trials.best().map(|best| best.trial), Some(0));
    trials.end(1, End::Completed);
    assert_eq!(trials.best().map(|best| best.trial), Some(1));
    assert_eq!(trials.leader().map(|leader| leader.trial), Some(0));
}

#[test]
fn declarations_are_checked() {
    let codes = |text: &str, compat: bool| -> Vec<(&'static str, bool)> {
        let policy: PolicySpec = serde_json::from_str(text).unwrap();
        policy.check(compat).into_iter().map(|issue| (issue.code, issue.warning)).collect()
    };
    assert_eq!(codes(r#"{"type": "bandit"}"#, false), [("ExactlyOne", false)]);
    assert_eq!(codes(r#"{"type": "bandit", "slack_factor": 1, "slack_amount": 1}"#, false), [("ExactlyOne", false)]);
    assert_eq!(codes(r#"{"type": "bandit", "slack_factor": 0}"#, false), [("BadSlack", false)]);
    assert_eq!(codes(r#"{"type": "bandit", "slack_factor": 0}"#, true), [("SlackZero", true)]);
    assert_eq!(codes(r#"{"type": "bandit", "slack_amount": -1}"#, true), [("BadSlack", false)]);
    assert_eq!(codes(r#"{"type": "median_stopping", "evaluation_interval": 0}"#, false), [("BadInterval", false)]);
    assert_eq!(codes(r#"{"type": "median_stopping", "evaluation_interval": 0}"#, true), [("BadInterval", true)]);
    assert_eq!(
        codes(r#"{"type": "truncation_selection", "truncation_percentage": 100}"#, false),
        [("BadPercentage", false)]
    );
    assert_eq!(codes(r#"{"type": "none"}"#, false), []);
    assert_eq!(codes(r#"{"type": "pbt"}"#, false), []);
    assert_eq!(
        codes(r#"{"type": "pbt", "perturbation_interval": 0, "quantile": 0.6, "resample_probability": -1}"#, false),
        [("BadInterval", false), ("OutOfRange", false), ("OutOfRange", false)]
    );
    assert_eq!(codes(r#"{"type": "asha", "max_resource": 9}"#, false), []);
    assert_eq!(
        codes(r#"{"type": "asha", "reduction_factor": 1, "max_resource": 1}"#, false),
        [("OutOfRange", false), ("BadRange", false)]
    );
    assert_eq!(codes(r#"{"type": "hyperband", "min_resource": 0, "max_resource": 9}"#, false), [("OutOfRange", false)]);
    assert_eq!(
        codes(r#"{"type": "learning_curve", "max_resource": 9, "share": 0, "hope": -1}"#, false),
        [("OutOfRange", false), ("OutOfRange", false)]
    );
}
