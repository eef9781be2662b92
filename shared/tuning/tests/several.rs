//! Several objectives and constraints: suggestions follow from the notes alone, and find what random does not.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use trialog_tuning::bayes::{Fit, Inherited, Outcome, Output, Sought, Suggestion, Tuner, TunerSetup};
use trialog_tuning::{
    Configuration, Distribution, Goal, Method, Parameter, Rule, SamplerSpec, SearchSpace, TunerVersion, Value,
    fingerprint, front, propose,
};

fn parameter(name: &str, distribution: Distribution) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }
}

fn uniform(name: &str, min_value: f64, max_value: f64) -> Parameter {
    parameter(name, Distribution::Uniform { min_value, max_value })
}

fn output(name: &str, sought: Sought) -> Output {
    Output { name: name.to_owned(), sought }
}

fn setup(parameters: Vec<Parameter>, outputs: Vec<Output>, method: Method, seed: u64) -> TunerSetup {
    TunerSetup {
        space: SearchSpace { parameters, ..SearchSpace::default() },
        method,
        goal: Goal::Minimize,
        outputs,
        seed,
        noisy: false,
        max_total_trials: 100,
        max_concurrent_trials: 4,
        version: TunerVersion::default(),
    }
}

fn numbers(suggestion: &Suggestion) -> Vec<f64> {
    suggestion.proposal.draws.iter().filter_map(|draw| draw.value.as_number()).collect()
}

/// Everything that happened, as a log would have it.
enum Noted {
    Proposed { known: u32, fit: Option<u32>, suggestion: Box<Suggestion> },
    Ended(u32, Outcome, Vec<Option<f64>>),
    Fitted(u32, Option<u32>, Fit),
}

type Results = (Outcome, Vec<Option<f64>>);

/// Runs a sweep with so many trials under way.
fn run(setup: &TunerSetup, total: u32, holds: &[usize], results: impl Fn(u32, &[f64]) -> Results) -> Vec<Noted> {
    let (mut tuner, mut log) = (Tuner::new(setup.clone()), Vec::new());
    let (mut live, mut fitted): (Vec<(u32, Vec<f64>)>, _) = (Vec::new(), None);
    for number in 0..total {
        while live.len() > holds[number as usize % holds.len()] {
            let (trial, at) = live.remove(live.len() / 2);
            let (outcome, others) = results(trial, &at);
            tuner.ended_with(trial, outcome, &others);
            log.push(Noted::Ended(trial, outcome, others));
        }
        if let Some(task) = tuner.fit_due() {
            let fit = task.run();
            assert!(fit.parameters.iter().chain(fit.outputs.iter().flatten()).all(|x| x.is_finite()), "{fit:?}");
            log.push(Noted::Fitted(fit.known, fitted, fit.clone()));
            fitted = Some(fit.known);
            tuner.use_fit(fit);
        }
        let known = tuner.known();
        let suggestion = tuner.suggest(number, known).expect("the space is infinite");
        tuner.proposed(number, &suggestion.proposal.draws, Some(known));
        live.push((number, numbers(&suggestion)));
        log.push(Noted::Proposed { known, fit: fitted, suggestion: Box::new(suggestion) });
    }
    log
}

fn suggestions(log: &[Noted]) -> impl Iterator<Item = &Suggestion> {
    log.iter().filter_map(|noted| match noted {
        Noted::Proposed { suggestion, .. } => Some(&**suggestion),
        _ => None,
    })
}

/// What verify does. Suggestions are asked for late, when more has ended than they may know.
fn check_replay(setup: &TunerSetup, log: &[Noted], late: usize) {
    let (mut tuner, mut fits) = (Tuner::new(setup.clone()), HashMap::<u32, Fit>::new());
    for noted in log {
        if let Noted::Fitted(known, _, fit) = noted {
            fits.insert(*known, fit.clone());
        }
    }
    let mut number = 0;
    for noted in log {
        match noted {
            Noted::Ended(trial, outcome, others) => tuner.ended_with(*trial, *outcome, others),
            Noted::Fitted(known, previous, fit) => {
                let previous = previous.and_then(|at| fits.get(&at));
                let again = tuner.fit_task(*known, previous).run();
                assert_eq!(again, *fit);
                let text = serde_json::to_string(&again).expect("numbers have a JSON form");
                assert_eq!(serde_json::from_str::<Fit>(&text).expect("it was written"), *fit);
            }
            Noted::Proposed { known, fit, suggestion } => {
                if let Some(fit) = fit {
                    tuner.use_fit(fits[fit].clone());
                }
                assert_eq!(tuner.suggest(number, *known).as_ref(), Some(&**suggestion), "proposal {number}");
                tuner.proposed(number, &suggestion.proposal.draws, Some(*known));
                number += 1;
            }
        }
    }
    // Everything is known now: each of the last suggestions is still the same.
    let proposed: Vec<_> = log
        .iter()
        .filter_map(|noted| match noted {
            Noted::Proposed { known, fit, suggestion } => Some((*known, *fit, suggestion)),
            _ => None,
        })
        .collect();
    for (number, (known, fit, suggestion)) in proposed.iter().enumerate().rev().take(late) {
        if let Some(fit) = fit {
            tuner.use_fit(fits[fit].clone());
        }
        let number = u32::try_from(number).expect("few");
        assert_eq!(tuner.suggest(number, *known).as_ref(), Some(&***suggestion), "late proposal {number}");
    }
}

fn outputs() -> impl Strategy<Value = Vec<Output>> {
    let objective = |goal| output("b", Sought::Objective(goal));
    prop_oneof![
        Just(vec![output("c", Sought::AtMost(0.8))]),
        Just(vec![output("c", Sought::AtMost(-9.0)), output("d", Sought::AtLeast(0.1))]),
        Just(vec![objective(Goal::Maximize)]),
        Just(vec![objective(Goal::Minimize), output("c", Sought::AtMost(0.8))]),
        Just(vec![
            objective(Goal::Minimize),
            output("e", Sought::Objective(Goal::Maximize)),
            output("d", Sought::AtLeast(0.1))
        ]),
    ]
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Auto), Just(Method::Gp), Just(Method::Tpe)]
}

proptest! {
    #![proptest_config(testkit::properties(24))]

    #[test]
    fn suggestions_are_inside_and_follow_from_the_log(
        outputs in outputs(),
        method in methods(),
        seed in any::<u64>(),
        holds in prop::collection::vec(0_usize..5, 1..6),
        fate in prop::collection::vec(0_u8..14, 5..20),
    ) {
        let choice = Distribution::Choice {
            values: ["p", "q"].map(Value::from).to_vec(), weights: None, ordered: false,
        };
        let parameters = vec![uniform("x", 0.0, 1.0), uniform("y", -1.0, 1.0), parameter("z", choice)];
        let setup = setup(parameters, outputs, method, seed);
        let results = |trial: u32, at: &[f64]| {
            let value = (at[0] - 0.3).powi(2) + at[1];
            let told: Vec<Option<f64>> =
                (0..setup.outputs.len()).map(|place| Some(at[0] + place as f64 * at[1])).collect();
            let mut missing = told.clone();
            missing[0] = None;
            match fate[trial as usize % fate.len()] {
                0 => (Outcome::Failed, told),
                1 => (Outcome::Value(value), missing),
                2 => (Outcome::Value(1e12 * value), told.iter().map(|_| Some(f64::NAN)).collect()),
                3 => (Outcome::Nothing, told),
                4 => (Outcome::Censored { value, reports: 3 }, vec![None; told.len()]),
                5 => (Outcome::Value(1e9 * value), told.iter().map(|_| Some(-1e300)).collect()),
                6 => (Outcome::Value(0.5), vec![Some(0.5); told.len()]),
                _ => (Outcome::Value(value), told),
            }
        };
        let log = run(&setup, 30, &holds, results);
        for suggestion in suggestions(&log) {
            for (place, draw) in suggestion.proposal.draws.iter().enumerate() {
                prop_assert!(draw.u > 0.0 && draw.u < 1.0);
                prop_assert_eq!(&setup.space.value_of(place, draw.u), &draw.value);
            }
            let explained = &suggestion.explained;
            let total: f64 = explained.weights.iter().sum();
            prop_assert!(explained.weights.is_empty() || (total - 1.0).abs() < 1e-9);
            prop_assert!(explained.feasible.is_none_or(|chance| (0.0..=1.0).contains(&chance)));
        }
        let distinct: HashSet<u128> =
            suggestions(&log).map(|suggestion| fingerprint(&suggestion.proposal.configuration())).collect();
        prop_assert_eq!(distinct.len(), 30);
        check_replay(&setup, &log, 6);
    }
}

/// What the points of a two-dimensional front cover up to a corner, all minimised.
fn hypervolume(points: &[Vec<f64>], corner: [f64; 2]) -> f64 {
    let mut order: Vec<&Vec<f64>> = front(points).into_iter().map(|at| &points[at]).collect();
    order.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let (mut covered, mut height) = (0.0, corner[1]);
    for point in order.into_iter().filter(|point| point[0] < corner[0] && point[1] < corner[1]) {
        covered += (corner[0] - point[0]) * (height - point[1]).max(0.0);
        height = height.min(point[1]);
    }
    covered
}

/// ZDT1 (Zitzler, Deb and Thiele 2000) with three numbers.
fn zdt1(at: &[f64]) -> Vec<f64> {
    let g = 1.0 + 9.0 * (at[1] + at[2]) / 2.0;
    vec![at[0], g * (1.0 - (at[0] / g).sqrt())]
}

fn random(parameters: &[Parameter], seed: u64, total: u64) -> Vec<Vec<f64>> {
    let space = SearchSpace { parameters: parameters.to_vec(), ..SearchSpace::default() };
    let sampler = SamplerSpec::Random { rule: Rule::Random };
    let drawn = (0..total).map(|number| {
        let proposal = propose(&space, &sampler, seed, number, 0, &|_: &Configuration| false);
        proposal.expect("infinite").draws.iter().filter_map(|draw| draw.value.as_number()).collect()
    });
    drawn.collect()
}

#[test]
fn the_front_of_two_objectives_is_found_where_random_does_not() {
    const CORNER: [f64; 2] = [1.1, 3.0];
    let parameters = ["x", "y", "z"].map(|name| uniform(name, 0.0, 1.0)).to_vec();
    let outputs = vec![output("f2", Sought::Objective(Goal::Minimize))];
    let mean = |of: &dyn Fn(u64) -> f64| (1..=3).map(of).sum::<f64>() / 3.0;
    let by = |method| {
        mean(&|seed| {
            let setup = setup(parameters.clone(), outputs.clone(), method, seed);
            let log = run(&setup, 60, &[0], |_, at| {
                let values = zdt1(at);
                (Outcome::Value(values[0]), vec![Some(values[1])])
            });
            let points: Vec<Vec<f64>> = suggestions(&log).map(|made| zdt1(&numbers(made))).collect();
            hypervolume(&points, CORNER)
        })
    };
    let by_random = mean(&|seed| {
        let points: Vec<Vec<f64>> = random(&parameters, seed, 60).iter().map(|at| zdt1(at)).collect();
        hypervolume(&points, CORNER)
    });
    let (gp, tpe) = (by(Method::Auto), by(Method::Tpe));
    println!("hypervolume: gp {gp:.4}, tpe {tpe:.4}, random {by_random:.4}");
    assert!(gp > 2.85 && by_random < 2.0, "gp {gp}, random {by_random}");
    assert!(tpe > by_random + 0.1, "tpe {tpe}, random {by_random}");
}

/// Branin's function, and the square of the distance from a point: within 20 of it lies none of the three minima.
fn branin(at: &[f64]) -> (f64, f64) {
    let (x, y) = (at[0], at[1]);
    let (b, c) = (5.1 / (4.0 * std::f64::consts::PI.powi(2)), 5.0 / std::f64::consts::PI);
    let value =
        (y - b * x * x + c * x - 6.0).powi(2) + 10.0 * (1.0 - 1.0 / (8.0 * std::f64::consts::PI)) * x.cos() + 10.0;
    (value, (x - 2.5).powi(2) + (y - 7.5).powi(2))
}

#[test]
fn the_best_feasible_value_is_found_where_random_does_not() {
    let parameters = vec![uniform("x", -5.0, 10.0), uniform("y", 0.0, 15.0)];
    let outputs = vec![output("disk", Sought::AtMost(20.0))];
    let best = |points: &mut dyn Iterator<Item = Vec<f64>>| {
        let feasible = points.map(|at| branin(&at)).filter(|(_, disk)| *disk <= 20.0).map(|(value, _)| value);
        feasible.fold(f64::INFINITY, f64::min)
    };
    let (mut sums, mut feasible) = ([0.0; 3], 0);
    for seed in 1..=5 {
        for (place, method) in [Method::Auto, Method::Tpe].into_iter().enumerate() {
            let setup = setup(parameters.clone(), outputs.clone(), method, seed);
            let log = run(&setup, 40, &[0], |_, at| {
                let (value, disk) = branin(at);
                (Outcome::Value(value), vec![Some(disk)])
            });
            sums[place] += best(&mut suggestions(&log).map(numbers)) / 5.0;
            let held = |made: &&Suggestion| branin(&numbers(made)).1 <= 20.0;
            feasible += if place == 0 { suggestions(&log).skip(20).filter(held).count() } else { 0 };
        }
        sums[2] += best(&mut random(&parameters, seed, 40).into_iter()) / 5.0;
    }
    let [gp, tpe, by_random] = sums;
    println!("best feasible: gp {gp:.4}, tpe {tpe:.4}, random {by_random:.4}; {feasible} of 100 feasible");
    assert!(gp < 0.5 * by_random && tpe < by_random, "gp {gp}, tpe {tpe}, random {by_random}");
    assert!(feasible >= 40, "{feasible} of the last 100 were feasible, the disk is 28 % of the space");
}

#[test]
fn a_suggestion_names_weights_and_what_is_expected_of_each_output() {
    let parameters = vec![uniform("x", 0.0, 1.0), uniform("y", 0.0, 1.0)];
    let outputs = vec![output("far", Sought::Objective(Goal::Maximize)), output("cost", Sought::AtMost(1.2))];
    let setup = setup(parameters, outputs, Method::Gp, 5);
    let results = |_, at: &[f64]| (Outcome::Value(at[0]), vec![Some(at[1] - at[0]), Some(at[0] + at[1])]);
    let log = run(&setup, 24, &[0], results);
    let explained = &suggestions(&log).last().expect("some").explained;
    assert_eq!((explained.by.as_str(), explained.weights.len(), explained.incumbent), ("gp", 2, None));
    let named: Vec<&str> = explained.outputs.iter().map(|expected| expected.name.as_str()).collect();
    assert_eq!(named, ["far", "cost"]);
    let at = numbers(suggestions(&log).last().expect("some"));
    for (expected, value) in explained.outputs.iter().zip([at[1] - at[0], at[0] + at[1]]) {
        let (low, high) = expected.interval;
        assert!(low <= expected.mean && expected.mean <= high, "{expected:?}");
        assert!((expected.mean - value).abs() < 0.2, "in the metric's own units: {expected:?}, it is {value}");
    }
    assert!(explained.feasible.is_some_and(|chance| chance > 0.3), "{explained:?}");
}

#[test]
fn earlier_trials_warm_the_models_of_all_outputs() {
    let parameters = vec![uniform("x", -5.0, 10.0), uniform("y", 0.0, 15.0)];
    let outputs = vec![output("disk", Sought::AtMost(20.0))];
    let setup = setup(parameters, outputs, Method::Gp, 7);
    let results = |_, at: &[f64]| {
        let (value, disk) = branin(at);
        (Outcome::Value(value), vec![Some(disk)])
    };
    let log = run(&setup, 40, &[0], results);
    let inherited = |others: &dyn Fn(f64) -> Vec<Option<f64>>| -> Vec<Inherited> {
        let earlier = suggestions(&log).map(|suggestion| {
            let (value, disk) = branin(&numbers(suggestion));
            let draws = suggestion.proposal.draws.clone();
            Inherited { draws, outcome: Outcome::Value(value), others: others(disk), weight: 0.5 }
        });
        earlier.collect()
    };
    let mut warm = Tuner::new(setup.clone());
    warm.inherit(&inherited(&|disk| vec![Some(disk)]));
    let first = warm.suggest(0, 0).expect("one");
    let is_tried = suggestions(&log).any(|made| made.proposal.draws == first.proposal.draws);
    assert!(!is_tried, "what is inherited is not tried again: {first:?}");
    // It has learned both outputs before its first trial.
    let fit = warm.fit_due().expect("due").run();
    assert!(fit.outputs.len() == 1 && !fit.outputs[0].is_empty(), "{fit:?}");
    warm.use_fit(fit);
    for number in 0..3 {
        let suggestion = warm.suggest(number, 0).expect("one");
        warm.proposed(number, &suggestion.proposal.draws, Some(0));
    }
    let learned = warm.suggest(3, 0).expect("one");
    assert_eq!(learned.explained.by, "gp");
    let (expected, is) = (&learned.explained.outputs[0], branin(&numbers(&learned)).1);
    let (low, high) = expected.interval;
    assert!(expected.name == "disk" && low <= is && is <= high, "{is}: {:?}", learned.explained);

    // Where the constraint was not measured, the objective is learned all the same.
    let mut half = Tuner::new(setup);
    half.inherit(&inherited(&|_| Vec::new()));
    let fit = half.fit_due().expect("due").run();
    assert!(!fit.parameters.is_empty() && fit.outputs == [Vec::<f64>::new()], "{fit:?}");
}
