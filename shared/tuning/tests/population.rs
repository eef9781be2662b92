//! Population-based training: who is stopped, whom a child follows, and what it has from whom it follows.

use proptest::prelude::*;
use trialog_tuning::{
    Bounds, Change, Condition, Decision, Distribution, Draw, End, Explored, Goal, Parameter, PolicySpec, Report, Rule,
    SamplerSpec, SearchSpace, Trials, Value, Verdict, donor_of, explore, propose,
};

fn population(every: u32, quantile: f64) -> Trials {
    let policy = PolicySpec::Pbt { perturbation_interval: every, quantile, resample_probability: 0.25 };
    Trials::new(policy, Goal::Maximize)
}

fn report(trials: &mut Trials, trial: u32, value: f64) -> Verdict {
    let step = trials.next_step(trial);
    trials.report(&Report { trial, attempt: 1, step, value, position: u64::from(trial) + 1 });
    trials.judge(trial)
}

fn stopped(verdict: Verdict) -> Decision {
    match verdict {
        Verdict::Stop(decision) => decision,
        other => panic!("{other:?}"),
    }
}

fn donors(trials: &Trials) -> Vec<u32> {
    trials.donors().iter().map(|donor| donor.trial).collect()
}

#[test]
fn whoever_is_behind_at_a_perturbation_point_is_stopped() {
    let mut trials = population(2, 0.25);
    for trial in 0..4 {
        assert!(matches!(report(&mut trials, trial, 0.0), Verdict::Skip { .. }), "not a multiple of two");
    }
    // A quantile of three members is nobody.
    for (trial, value) in [(3, 0.1), (0, 0.4), (1, 0.3)] {
        let Verdict::Keep(decision) = report(&mut trials, trial, value) else { panic!("three are too few") };
        assert_eq!(decision.cut, Some(0));
    }
    assert!(matches!(report(&mut trials, 2, 0.2), Verdict::Keep(_)), "third of four");
    assert_eq!(donors(&trials), [0]);
    // Between the points the value of the last one counts.
    report(&mut trials, 0, -9.0);
    report(&mut trials, 1, 9.0);
    assert_eq!(donors(&trials), [0]);
    report(&mut trials, 3, 0.12);
    let decision = stopped(report(&mut trials, 3, 0.15));
    assert_eq!((decision.rank, decision.cut, decision.population), (Some(3), Some(1), 4));
    assert_eq!((decision.value, decision.threshold, decision.best, decision.interval), (0.15, Some(0.2), Some(0.4), 4));
    let made_by: Vec<u32> = decision.inputs.iter().map(|input| input.trial).collect();
    assert_eq!(made_by, [0, 2], "the best, and the worst survivor");
}

#[test]
fn the_leader_lives_though_its_latest_value_is_behind() {
    let mut trials = population(1, 0.5);
    report(&mut trials, 0, 0.9);
    report(&mut trials, 1, 0.2);
    assert!(matches!(report(&mut trials, 0, 0.1), Verdict::Keep(_)), "nobody has had more than 0.9");
    assert_eq!(donors(&trials), [1]);
    report(&mut trials, 1, 0.95);
    stopped(report(&mut trials, 0, 0.2));
}

#[test]
fn nobody_follows_what_has_ended_or_is_not_finite() {
    let mut trials = population(1, 0.5);
    for (trial, value) in [(0, 0.9), (1, 0.8), (2, 0.7), (3, 0.6)] {
        report(&mut trials, trial, value);
    }
    assert_eq!(donors(&trials), [0, 1]);
    report(&mut trials, 0, f64::NAN);
    assert_eq!(donors(&trials), [1, 2]);
    trials.end(1, End::Completed);
    assert_eq!(donors(&trials), [2]);
    trials.stop(2, false);
    assert_eq!(donors(&trials), [3]);
    // One that was good once and is not finite now is behind, and its decision has its best.
    report(&mut trials, 4, 1.0);
    report(&mut trials, 3, 0.65);
    let decision = stopped(report(&mut trials, 0, f64::INFINITY));
    assert_eq!((decision.value, decision.rank), (0.9, Some(2)));
    assert!(decision.hint.is_some());
}

fn parameter(name: &str, distribution: Distribution) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }
}

fn choice(name: &str, values: &[f64], ordered: bool) -> Parameter {
    let values = values.iter().map(|value| Value::from(*value)).collect();
    parameter(name, Distribution::Choice { values, weights: None, ordered })
}

/// A space with everything in it, and a parameter that only some configurations have.
fn space() -> SearchSpace {
    let mut deep = parameter("deep", Distribution::Uniform { min_value: 0.5, max_value: 1.0 });
    deep.when = vec![Condition { parent: "opt".to_owned(), values: vec!["adam".into()] }];
    let opt = Distribution::Choice { values: vec!["sgd".into(), "adam".into()], weights: None, ordered: false };
    let parameters = vec![
        deep,
        parameter("opt", opt),
        parameter("lr", Distribution::Loguniform { min_value: -9.0, max_value: -1.0, bounds: Bounds::default() }),
        parameter("batch", Distribution::Quniform { min_value: 8.0, max_value: 64.0, q: 8.0, grid_points: false }),
        parameter("depth", Distribution::Randint { upper: 5, grid_points: false }),
        parameter("shift", Distribution::Normal { mu: -1.0, sigma: 2.0 }),
        parameter("wide", Distribution::Qnormal { mu: 0.0, sigma: 3.0, q: 0.5 }),
        parameter("scale", Distribution::LogUniformValues { min_value: 0.01, max_value: 10.0 }),
        parameter(
            "quanta",
            Distribution::Qloguniform { min_value: 0.0, max_value: 4.0, q: 1.0, bounds: Bounds::default() },
        ),
        choice("width", &[16.0, 32.0, 64.0, 128.0], true),
        choice("falling", &[3.0, 2.0, 1.0], true),
    ];
    SearchSpace { parameters, ..SearchSpace::default() }
}

fn drawn(seed: u64, number: u64) -> Vec<Draw> {
    let sampler = SamplerSpec::Random { rule: Rule::Random };
    propose(&space(), &sampler, seed, number, 0, &|_| false).expect("the space is endless").draws
}

fn of<'a>(draws: &'a [Draw], name: &str) -> Option<&'a Value> {
    draws.iter().find(|draw| draw.name == name).map(|draw| &draw.value)
}

fn draws(explored: &[Explored]) -> Vec<Draw> {
    explored.iter().map(|explored| explored.draw.clone()).collect()
}

proptest! {
    #![proptest_config(testkit::properties(300))]

    /// Generation after generation: inside the space, active as its conditions say, and the same each time.
    #[test]
    fn children_stay_inside_the_space(seed: u64, resample in 0.0..=1.0_f64, generations in 1_u64..40) {
        let space = space();
        let mut parent = drawn(seed, 0);
        for number in 1..=generations {
            let explored = explore(&space, &parent, resample, seed, number);
            prop_assert_eq!(&explored, &explore(&space, &parent, resample, seed, number));
            let child = draws(&explored);
            let adam = of(&child, "opt") == Some(&"adam".into());
            prop_assert_eq!(of(&child, "deep").is_some(), adam);
            prop_assert_eq!(child.len(), space.parameters.len() - usize::from(!adam));
            for (place, parameter) in space.parameters.iter().enumerate() {
                let Some(draw) = child.iter().find(|draw| draw.name == parameter.name) else { continue };
                prop_assert!(draw.u > 0.0 && draw.u < 1.0);
                // It is a value of the space, exactly where values stand apart.
                let again = space.draw_of(place, &draw.value);
                prop_assert_eq!(again.map(|again| again.value), Ok(draw.value.clone()));
            }
            for explored in &explored {
                moved_as_said(explored, &parent)?;
            }
            parent = child;
        }
    }

    #[test]
    fn the_share_of_new_draws_is_as_asked(seed: u64) {
        let parent = drawn(seed, 0);
        let resampled = |probability: f64| {
            let all = (1..200).flat_map(|number| explore(&space(), &parent, probability, seed, number));
            all.filter(|explored| explored.draw.name != "deep" && explored.change == Change::Resampled).count()
        };
        prop_assert_eq!((resampled(0.0), resampled(1.0)), (0, 199 * 10));
        let some = resampled(0.25) as f64 / 1990.0;
        prop_assert!((0.2..0.3).contains(&some), "{}", some);
    }
}

fn moved_as_said(explored: &Explored, parent: &[Draw]) -> Result<(), TestCaseError> {
    let (name, now) = (&explored.draw.name, &explored.draw.value);
    let Some(before) = of(parent, name) else {
        prop_assert_eq!(explored.change, Change::Drawn);
        return Ok(());
    };
    let numbers = before.as_number().zip(now.as_number());
    match explored.change {
        Change::Kept => prop_assert_eq!(before, now),
        Change::Raised | Change::Lowered => {
            let (before, now) = numbers.expect("only numbers have a side");
            prop_assert_eq!(now > before, explored.change == Change::Raised, "{}: {} to {}", name, before, now);
            let most = match name.as_str() {
                "width" => before.max(now) / 2.0,
                "batch" => 8.0_f64.max(before * 0.2 + 4.0),
                "falling" | "depth" | "quanta" => 1.0_f64.max(before * 0.2 + 0.5),
                "wide" => 0.5_f64.max(before.abs() * 0.2 + 0.25),
                _ => before.abs() * 0.2 * (1.0 + 1e-12),
            };
            prop_assert!((now - before).abs() <= most, "{}: {} to {}", name, before, now);
        }
        Change::Resampled => {}
        Change::Drawn => prop_assert!(false, "{} was there", name),
    }
    Ok(())
}

#[test]
fn every_donor_is_followed_by_some() {
    let mut seen = [0; 3];
    for number in 0..300 {
        seen[donor_of(7, number, 3)] += 1;
    }
    assert!(seen.iter().all(|count| (70..130).contains(count)), "{seen:?}");
    assert_eq!(donor_of(7, 1, 1), 0);
    assert_ne!(
        (0..40).map(|number| donor_of(7, number, 2)).collect::<Vec<_>>(),
        (0..40).map(|number| donor_of(8, number, 2)).collect::<Vec<_>>()
    );
}

/// Recorded once: another machine or a later build must say the same.
#[test]
fn a_child_is_the_same_everywhere() {
    let parent = vec![
        Draw { name: "lr".to_owned(), u: 0.5, value: Value::from(0.01) },
        Draw { name: "batch".to_owned(), u: 0.5, value: Value::from(32.0) },
    ];
    let mut space = space();
    space.parameters.retain(|parameter| ["lr", "batch"].contains(&parameter.name.as_str()));
    let told: Vec<(Change, u64)> = (1..4)
        .flat_map(|number| explore(&space, &parent, 0.25, 42, number))
        .map(|explored| (explored.change, explored.draw.value.as_number().unwrap().to_bits()))
        .collect();
    assert_eq!(told, RECORDED);
}

const RECORDED: [(Change, u64); 6] = [
    (Change::Lowered, 4_575_765_307_799_480_828),
    (Change::Resampled, 4_629_700_416_936_869_888),
    (Change::Lowered, 4_575_765_307_799_480_828),
    (Change::Resampled, 4_627_448_617_123_184_640),
    (Change::Raised, 4_578_071_150_808_694_522),
    (Change::Resampled, 4_625_196_817_309_499_392),
];
