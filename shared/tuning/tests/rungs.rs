//! Successive halving, Hyperband and the learning-curve rule, against readings of their definitions that look at
//! everything anew each time.

use proptest::prelude::*;
use trialog_tuning::{End, Goal, PolicySpec, Report, Trials, Variant, Verdict};

fn asha(variant: Variant) -> PolicySpec {
    PolicySpec::Asha { reduction_factor: 4, min_resource: 1, max_resource: 64, variant, finish_seconds: 600.0 }
}

fn learning_curve(max_resource: u32) -> PolicySpec {
    serde_json::from_value(serde_json::json!({"type": "learning_curve", "max_resource": max_resource}))
        .expect("a policy document")
}

fn report(trials: &mut Trials, trial: u32, value: f64) -> Verdict {
    let step = trials.next_step(trial);
    let report = Report { trial, attempt: 1, step, value, position: u64::from(trial) };
    let previewed = trials.preview(&report);
    trials.report(&report);
    assert_eq!(previewed, trials.judge(trial));
    previewed
}

/// Best first; of equals the oldest.
fn rung(values: &[(u32, f64)], goal: Goal) -> Vec<(u32, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| {
        let by_value = if goal == Goal::Maximize { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) };
        by_value.then(a.0.cmp(&b.0))
    });
    sorted
}

proptest! {
    #![proptest_config(testkit::properties(200))]

    #[test]
    fn halving_is_its_definition(
        maximize: bool, factor in 2_u32..5, first in 1_u32..4,
        reports in prop::collection::vec((0_u32..12, -4_i32..5), 1..200),
    ) {
        let goal = if maximize { Goal::Maximize } else { Goal::Minimize };
        let policy = PolicySpec::Asha {
            reduction_factor: factor, min_resource: first, max_resource: 40, variant: Variant::Stopping,
            finish_seconds: 600.0,
        };
        let mut trials = Trials::new(policy, goal);
        let mut curves = vec![Vec::<f64>::new(); 12];
        let mut stopped = [false; 12];
        for (trial, value) in reports {
            let verdict = report(&mut trials, trial, f64::from(value));
            let place = trial as usize;
            if stopped[place] {
                continue;
            }
            curves[place].push(f64::from(value));
            let n = curves[place].len();
            let mut rungs = std::iter::successors(Some(first as usize), |rung| Some(rung * factor as usize));
            let is_rung = n < 40 && rungs.any(|rung| if rung > n { true } else { rung == n }) && {
                let mut rung = first as usize;
                while rung < n {
                    rung *= factor as usize;
                }
                rung == n
            };
            if !is_rung {
                prop_assert!(matches!(verdict, Verdict::Skip { .. }), "{verdict:?}");
                continue;
            }
            let best = |curve: &Vec<f64>| {
                let better = |a: f64, b: f64| if goal.worse(a, b) { b } else { a };
                curve.iter().take(n).copied().reduce(better).unwrap()
            };
            let entries: Vec<(u32, f64)> =
                (0_u32..).zip(&curves).filter(|(_, curve)| curve.len() >= n).map(|(t, c)| (t, best(c))).collect();
            let table = rung(&entries, goal);
            let own = table.iter().position(|entry| entry.0 == trial).unwrap();
            let kept = (table.len() / factor as usize).max(1);
            let keep = own < kept || table[own].1 == table[0].1;
            let (kept_it, decision) = match &verdict {
                Verdict::Keep(decision) => (true, decision),
                Verdict::Stop(decision) => (false, decision),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(kept_it, keep);
            prop_assert_eq!(decision.rank, Some(own as u32));
            prop_assert_eq!(decision.kept, Some(kept as u32));
            prop_assert_eq!(decision.population as usize, table.len());
            prop_assert_eq!(decision.threshold, Some(table[kept - 1].1));
            prop_assert_eq!(decision.inputs[0].trial, table[kept - 1].0);
            if !keep {
                stopped[place] = true;
                trials.stop(trial, false);
            }
        }
    }
}

#[test]
fn a_new_attempt_takes_its_old_place_out_of_the_rungs() {
    let mut trials = Trials::new(asha(Variant::Stopping), Goal::Maximize);
    for value in [0.9, 0.9, 0.9, 0.9] {
        report(&mut trials, 0, value);
    }
    assert_eq!(trials.rung_tables(9)[1].entries, 1);
    trials.report(&Report { trial: 0, attempt: 2, step: 0, value: 0.1, position: 9 });
    let tables = trials.rung_tables(9);
    assert_eq!((tables[0].entries, tables[0].best[0].value, tables[1].entries), (1, 0.1, 0));
    // What it had counts for nothing any more, so nobody is stopped for it.
    assert!(matches!(report(&mut trials, 1, 0.5), Verdict::Keep(_)));
}

#[test]
fn promotion_takes_the_best_of_the_highest_rung_that_has_one() {
    let mut trials = Trials::new(asha(Variant::Promotion), Goal::Minimize);
    for trial in 0..8 {
        let Verdict::Pause(decision) = report(&mut trials, trial, f64::from(7 - trial)) else { panic!("a rung") };
        assert_eq!((decision.rung, decision.rank), (Some(0), Some(0)));
        trials.pause(trial, 0);
    }
    // floor(8 / 4) = 2 go on: 7 and 6.
    for expected in [7, 6] {
        let promotion = trials.promotable().expect("two may go on");
        assert_eq!((promotion.trial, promotion.rung, promotion.decision.kept), (expected, 0, Some(2)));
        trials.promote(expected);
        assert_eq!(trials.paused_at(expected), None);
    }
    assert_eq!(trials.promotable(), None);
    for trial in [6, 7] {
        for _ in 0..2 {
            assert!(matches!(report(&mut trials, trial, 3.0), Verdict::Skip { .. }));
        }
        assert!(matches!(report(&mut trials, trial, 3.0), Verdict::Pause(_)));
        trials.pause(trial, 1);
    }
    // Two in the second rung are too few; two more in the first let nobody else go on.
    assert_eq!(trials.promotable(), None);
    for trial in 8..12 {
        report(&mut trials, trial, 9.0);
        trials.pause(trial, 0);
    }
    let promotion = trials.promotable().expect("floor(12 / 4) = 3");
    assert_eq!((promotion.trial, promotion.decision.rank), (5, Some(2)));
    // One that has ended is passed over, and nothing else is among the first three.
    trials.end(5, End::Canceled);
    assert_eq!(trials.promotable(), None);
    let restored: Trials = serde_json::from_str(&serde_json::to_string(&trials).unwrap()).unwrap();
    assert_eq!(restored, trials);
}

#[test]
fn hyperband_does_not_mix_brackets() {
    let policy = PolicySpec::Hyperband { reduction_factor: 3, min_resource: 1, max_resource: 9, finish_seconds: 600.0 };
    let mut trials = Trials::new(policy, Goal::Maximize);
    // Weights 9, 5, 3: 1/9, 1/5, 2/9, 1/3 (equal to 3/9, which has the larger number), ..
    let brackets: Vec<Option<u32>> = (0..17).map(|trial| trials.bracket(trial)).collect();
    assert_eq!(&brackets[..5], [Some(2), Some(1), Some(2), Some(2), Some(0)]);
    assert_eq!(brackets.iter().filter(|bracket| **bracket == Some(0)).count(), 3);
    assert!(matches!(report(&mut trials, 0, 0.9), Verdict::Keep(_)));
    // Far worse, but in another bracket, whose first rung is at interval 3.
    assert!(matches!(report(&mut trials, 1, 0.1), Verdict::Skip { .. }));
    let Verdict::Stop(decision) = report(&mut trials, 2, 0.5) else { panic!("worse in the same bracket") };
    assert_eq!((decision.bracket, decision.rung, decision.population), (Some(2), Some(0), 2));
    assert!(matches!(report(&mut trials, 1, 0.1), Verdict::Skip { .. }));
    assert!(matches!(report(&mut trials, 1, 0.1), Verdict::Keep(_)));
}

#[test]
fn the_learning_curve_rule_counts_everybody() {
    let mut trials = Trials::new(learning_curve(52), Goal::Maximize);
    for trial in 0..10 {
        let value = f64::from(trial + 1) / 10.0;
        assert!(matches!(report(&mut trials, trial, value), Verdict::Keep(_)), "the best so far");
    }
    // A quarter of the trials go on at the first interval, at least two.
    let Verdict::Keep(decision) = report(&mut trials, 10, 0.95) else { panic!("the second of eleven") };
    assert_eq!((decision.rank, decision.kept, decision.population), (Some(1), Some(2), 11));
    let Verdict::Stop(decision) = report(&mut trials, 11, 0.65) else { panic!("the sixth of twelve") };
    assert_eq!((decision.rank, decision.kept, decision.threshold), (Some(5), Some(3), Some(0.9)));
    // At the second rung two, and those behind it are compared with as well.
    for _ in 0..2 {
        assert!(matches!(report(&mut trials, 0, 0.2), Verdict::Skip { .. }));
    }
    let Verdict::Stop(decision) = report(&mut trials, 0, 0.93) else { panic!("two are ahead after one interval") };
    assert_eq!((decision.interval, decision.rung, decision.population), (4, Some(1), 12));
    assert_eq!((decision.kept, decision.rank, decision.threshold), (Some(2), Some(2), Some(0.95)));
}

#[test]
fn a_trial_that_cannot_reach_the_leader_is_stopped() {
    let mut trials = Trials::new(learning_curve(24), Goal::Maximize);
    // The rule looks at the values through 3, 6 and 12 intervals.
    let curves = [[0.7, 0.8, 0.9], [0.8, 0.8, 0.8]];
    let mut verdicts = Vec::new();
    for (trial, curve) in (0_u32..).zip(curves) {
        let all: Vec<Verdict> =
            (1..=12).map(|n| report(&mut trials, trial, curve[usize::from(n > 3) + usize::from(n > 6)])).collect();
        verdicts.extend(all.last().cloned());
    }
    assert!(matches!(&verdicts[0], Verdict::Keep(decision) if decision.rank == Some(0)));
    // The second of the two that go on by their place has stood still since its third interval.
    let Verdict::Stop(decision) = &verdicts[1] else { panic!("{verdicts:?}") };
    assert_eq!((decision.rank, decision.kept), (Some(1), Some(2)));
    assert_eq!((decision.best, decision.optimistic), (Some(0.9), Some(0.8)));
}

#[test]
fn a_trial_that_gains_may_still_reach_the_leader() {
    let mut trials = Trials::new(learning_curve(24), Goal::Minimize);
    for _ in 0..12 {
        report(&mut trials, 0, 0.1);
    }
    let all: Vec<Verdict> =
        (1..=12).map(|n| report(&mut trials, 1, [0.9, 0.7, 0.5][usize::from(n > 3) + usize::from(n > 6)])).collect();
    let Some(Verdict::Keep(decision)) = all.last() else { panic!("0.5 - 2 * 0.2 * log2(24 / 12) is 0.1") };
    assert!(decision.optimistic.is_some_and(|hoped| (hoped - 0.1).abs() < 1e-12 && hoped <= 0.1), "{decision:?}");
}

#[test]
fn rungs_cost_no_look_at_every_trial() {
    // 200,000 trials with two reports each: a look at all of them at every report would be 10^11 steps.
    for policy in [asha(Variant::Stopping), learning_curve(64)] {
        let mut trials = Trials::new(policy, Goal::Maximize);
        let mut stopped = 0_u32;
        for trial in 0..200_000_u32 {
            let value = f64::from(trial.wrapping_mul(2_654_435_761) >> 8);
            trials.report(&Report { trial, attempt: 1, step: 0, value, position: 0 });
            if let Verdict::Stop(_) = trials.judge(trial) {
                stopped += 1;
                trials.stop(trial, false);
            }
        }
        assert!((100_000..160_000).contains(&stopped), "{stopped}");
    }
}
