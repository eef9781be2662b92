//! Model-based suggestions stay inside the space, never repeat, never break, and follow from their notes alone.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use trialog_tuning::bayes::{Fit, Inherited, Outcome, Suggestion, Tuner, TunerSetup};
use trialog_tuning::{
    Condition, Configuration, Distribution, Goal, Method, Parameter, SearchSpace, TunerVersion, Value, fingerprint,
};

fn parameter(name: &str, distribution: Distribution) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }
}

fn choice(values: &[&str]) -> Distribution {
    let values = values.iter().map(|value| Value::from(*value)).collect();
    Distribution::Choice { values, weights: None, ordered: false }
}

fn uniform(min_value: f64, max_value: f64) -> Distribution {
    Distribution::Uniform { min_value, max_value }
}

/// Floats, integers, choices and a parameter that exists with one choice only.
fn mixed() -> SearchSpace {
    let mut momentum = parameter("momentum", uniform(0.0, 0.99));
    momentum.when = vec![Condition { parent: "optimizer".to_owned(), values: vec![Value::from("sgd")] }];
    let parameters = vec![
        parameter("lr", Distribution::LogUniformValues { min_value: 1e-5, max_value: 1.0 }),
        parameter("optimizer", choice(&["adam", "sgd", "lion"])),
        momentum,
        parameter("units", Distribution::Quniform { min_value: 4.0, max_value: 64.0, q: 4.0, grid_points: false }),
        parameter("seeded", Distribution::Randint { upper: 5, grid_points: false }),
    ];
    SearchSpace { parameters, ..SearchSpace::default() }
}

/// 3 x 4 x 2 configurations, of which the 8 of `flag` exist with one of the three only: 4 + 4 + 8.
fn finite() -> SearchSpace {
    let mut flag = parameter("flag", choice(&["on", "off"]));
    flag.when = vec![Condition { parent: "kind".to_owned(), values: vec![Value::from("c")] }];
    let whole = Distribution::Quniform { min_value: 1.0, max_value: 4.0, q: 1.0, grid_points: false };
    SearchSpace {
        parameters: vec![parameter("kind", choice(&["a", "b", "c"])), parameter("size", whole), flag],
        ..SearchSpace::default()
    }
}

fn setup(space: SearchSpace, method: Method, seed: u64) -> TunerSetup {
    let (max_total_trials, max_concurrent_trials) = (100, 8);
    TunerSetup {
        space,
        method,
        goal: Goal::Minimize,
        outputs: Vec::new(),
        seed,
        noisy: false,
        max_total_trials,
        max_concurrent_trials,
        version: TunerVersion::default(),
    }
}

fn value(configuration: &Configuration) -> f64 {
    let parts = configuration.values().map(|value| match value {
        Value::Number(number) => (libm::log1p(number.abs()) - 1.0).powi(2),
        Value::Text(text) => text.len() as f64 / 10.0,
        Value::Bool(_) => 0.0,
    });
    parts.sum()
}

/// Everything that happened in a run, as a log would have it.
#[derive(Clone, Debug)]
enum Noted {
    Proposed { known: u32, fit: Option<u32>, suggestion: Box<Suggestion> },
    Ended(u32, Outcome),
    Fitted(u32, Option<u32>, Fit),
}

/// Runs a sweep: `holds` says how many trials are under way before each ending, `fate` what becomes of each.
fn run(setup: &TunerSetup, total: u32, holds: &[usize], fate: &[u8]) -> (Vec<Noted>, bool) {
    let (mut tuner, mut log) = (Tuner::new(setup.clone()), Vec::new());
    let (mut live, mut number, mut fitted) = (Vec::new(), 0, None);
    while number < total {
        let hold = holds[number as usize % holds.len()];
        if live.len() > hold {
            suggest_ahead(&mut tuner, number);
        }
        while live.len() > hold {
            let (trial, configuration): (u32, Configuration) = live.remove(live.len() / 2);
            if fate[number as usize % fate.len()] > 8 {
                let reached = Outcome::Reached { value: 2.0 * value(&configuration), reports: 1 };
                tuner.ended(trial, reached);
                log.push(Noted::Ended(trial, reached));
            }
            let outcome = match fate[trial as usize % fate.len()] {
                0 => Outcome::Failed,
                1 => Outcome::Value(f64::NAN),
                2 => Outcome::Value(1e12 * value(&configuration)),
                3 => Outcome::Nothing,
                4 => Outcome::Censored { value: value(&configuration), reports: 1 + trial % 5 },
                _ => Outcome::Value(value(&configuration)),
            };
            tuner.ended(trial, outcome);
            log.push(Noted::Ended(trial, outcome));
        }
        if let Some(task) = tuner.fit_due() {
            let fit = task.run();
            assert!(fit.parameters.iter().all(|parameter| parameter.is_finite()), "{fit:?}");
            log.push(Noted::Fitted(fit.known, fitted, fit.clone()));
            fitted = Some(fit.known);
            tuner.use_fit(fit);
        }
        let known = tuner.known();
        let Some(suggestion) = tuner.suggest(number, known) else { return (log, true) };
        tuner.proposed(number, &suggestion.proposal.draws, Some(known));
        live.push((number, suggestion.proposal.configuration()));
        log.push(Noted::Proposed { known, fit: fitted, suggestion: Box::new(suggestion) });
        number += 1;
    }
    (log, false)
}

/// What a process does that suggests before it is asked, when something ends meanwhile.
fn suggest_ahead(tuner: &mut Tuner, number: u32) {
    let known = tuner.known();
    for ahead in [number, number + 1] {
        let Some(suggestion) = tuner.suggest(ahead, known) else { break };
        tuner.proposed(ahead, &suggestion.proposal.draws, Some(known));
    }
    tuner.withdraw_from(number);
}

fn suggestions(log: &[Noted]) -> impl Iterator<Item = &Suggestion> {
    log.iter().filter_map(|noted| match noted {
        Noted::Proposed { suggestion, .. } => Some(&**suggestion),
        _ => None,
    })
}

fn check_inside(space: &SearchSpace, suggestion: &Suggestion) {
    let configuration = suggestion.proposal.configuration();
    for (place, parameter) in space.parameters.iter().enumerate() {
        let holds = |condition: &Condition| {
            configuration.get(&condition.parent).is_some_and(|value| condition.values.contains(value))
        };
        let active = parameter.when.iter().all(holds);
        let draw = suggestion.proposal.draws.iter().find(|draw| draw.name == parameter.name);
        assert_eq!(draw.is_some(), active, "{}: {configuration:?}", parameter.name);
        if let Some(draw) = draw {
            assert!(draw.u > 0.0 && draw.u < 1.0, "{draw:?}");
            assert_eq!(space.value_of(place, draw.u), draw.value);
        }
    }
}

/// What a process does that is started again: it is told the log, and its next suggestion is the recorded one.
fn check_restarts(setup: &TunerSetup, log: &[Noted]) {
    for (at, noted) in log.iter().enumerate().rev().step_by(5) {
        let Noted::Proposed { known, fit, suggestion } = noted else { continue };
        let (mut tuner, mut number) = (Tuner::new(setup.clone()), 0);
        for earlier in &log[..at] {
            match earlier {
                Noted::Ended(trial, outcome) => tuner.ended(*trial, *outcome),
                Noted::Proposed { known, suggestion, .. } => {
                    tuner.proposed(number, &suggestion.proposal.draws, Some(*known));
                    number += 1;
                }
                Noted::Fitted(known, _, found) if Some(*known) == *fit => tuner.use_fit(found.clone()),
                Noted::Fitted(..) => {}
            }
        }
        assert_eq!(tuner.suggest(number, *known).as_ref(), Some(&**suggestion), "proposal {number}, restarted");
    }
}

/// What verify does: every fit from its predecessor, every suggestion from what it knew.
fn check_replay(setup: &TunerSetup, log: &[Noted]) {
    let (mut tuner, mut number) = (Tuner::new(setup.clone()), 0);
    let mut fits: HashMap<u32, Fit> = HashMap::new();
    for noted in log {
        match noted {
            Noted::Ended(trial, outcome) => tuner.ended(*trial, *outcome),
            Noted::Fitted(known, previous, fit) => {
                let previous = previous.and_then(|at| fits.get(&at));
                assert_eq!(tuner.fit_task(*known, previous).run(), *fit);
                fits.insert(*known, fit.clone());
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
}

fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![Just(Method::Auto), Just(Method::Gp), Just(Method::Tpe), Just(Method::CmaEs)]
}

proptest! {
    #![proptest_config(testkit::properties(24))]

    #[test]
    fn suggestions_are_inside_active_and_follow_from_the_log(
        method in methods(),
        seed in any::<u64>(),
        holds in prop::collection::vec(0_usize..6, 1..8),
        fate in prop::collection::vec(0_u8..12, 5..20),
    ) {
        let setup = setup(mixed(), method, seed);
        let (log, _) = run(&setup, 32, &holds, &fate);
        suggestions(&log).for_each(|suggestion| check_inside(&setup.space, suggestion));
        let distinct: HashSet<u128> =
            suggestions(&log).map(|suggestion| fingerprint(&suggestion.proposal.configuration())).collect();
        prop_assert_eq!(distinct.len(), 32);
        check_replay(&setup, &log);
    }

    #[test]
    fn a_finite_space_is_tried_once_each_and_then_used_up(
        method in methods(),
        seed in any::<u64>(),
        holds in prop::collection::vec(0_usize..9, 1..4),
        fate in prop::collection::vec(0_u8..12, 5..20),
    ) {
        let setup = setup(finite(), method, seed);
        let (log, used_up) = run(&setup, 40, &holds, &fate);
        let tried: Vec<u128> =
            suggestions(&log).map(|suggestion| fingerprint(&suggestion.proposal.configuration())).collect();
        prop_assert!(used_up);
        prop_assert_eq!(tried.len(), 16);
        prop_assert_eq!(tried.iter().collect::<HashSet<_>>().len(), 16);
    }
}

/// Integers of both kinds and choices of mixed types: a model tries every value that there is, and no other.
#[test]
fn integers_and_mixed_choices_are_used_up() {
    let odd = Distribution::IntUniform { min_value: 3, max_value: 10, step: 2, grid_points: false };
    let sizes = Distribution::QLogUniformValues { min_value: 30.0, max_value: 32.0, q: 1.0, grid_points: false };
    let values = vec![Value::from("1"), Value::from(1.0), Value::from(true)];
    let rules = Distribution::Choice { values: values.clone(), weights: None, ordered: false };
    let parameters = vec![parameter("odd", odd), parameter("size", sizes), parameter("rule", rules)];
    let space = SearchSpace { parameters, ..SearchSpace::default() };
    let mut all = HashSet::new();
    for odd in [3.0, 5.0, 7.0, 9.0] {
        for size in [30.0, 31.0, 32.0] {
            for rule in &values {
                let named = [("odd", Value::from(odd)), ("size", Value::from(size)), ("rule", rule.clone())];
                let named = named.map(|(name, value)| (name.to_owned(), value));
                all.insert(fingerprint(&Configuration::from(named)));
            }
        }
    }
    for method in [Method::Gp, Method::Tpe, Method::CmaEs] {
        let setup = setup(space.clone(), method, 7);
        let (log, used_up) = run(&setup, 60, &[2], &[9]);
        let tried: Vec<u128> =
            suggestions(&log).map(|suggestion| fingerprint(&suggestion.proposal.configuration())).collect();
        assert!(used_up && tried.len() == 36, "{method:?}: {} tried", tried.len());
        assert_eq!(tried.into_iter().collect::<HashSet<_>>(), all, "{method:?}");
        check_replay(&setup, &log);
    }
}

#[test]
fn neither_suggestions_taken_back_nor_a_restart_leave_a_trace() {
    // Several ask at once, so the first suggestions after the design know less than the design.
    for method in [Method::Gp, Method::Tpe, Method::CmaEs] {
        for seed in 0..3 {
            let setup = setup(mixed(), method, seed);
            let (log, _) = run(&setup, 40, &[3], &[9]);
            check_replay(&setup, &log);
            check_restarts(&setup, &log);
        }
    }
}

#[test]
fn every_suggestion_of_a_batch_is_another() {
    for method in [Method::Gp, Method::Tpe, Method::CmaEs] {
        let setup = setup(mixed(), method, 3);
        let (log, _) = run(&setup, 60, &[31, 31, 31, 0], &[9]);
        let distinct: HashSet<u128> =
            suggestions(&log).map(|suggestion| fingerprint(&suggestion.proposal.configuration())).collect();
        assert_eq!(distinct.len(), 60, "{method:?}");
    }
}

#[test]
fn it_learns_where_random_does_not() {
    let best = |method: Option<Method>| {
        let setup = setup(mixed(), method.unwrap_or_default(), 11);
        let total = 60;
        match method {
            Some(_) => {
                let (log, _) = run(&setup, total, &[0], &[9]);
                suggestions(&log).map(|s| value(&s.proposal.configuration())).fold(f64::INFINITY, f64::min)
            }
            None => {
                let tuner = &mut Tuner::new(setup);
                let even = (0..total).map(|number| tuner.suggest(number, 0).unwrap());
                even.map(|s| value(&s.proposal.configuration())).fold(f64::INFINITY, f64::min)
            }
        }
    };
    let even = best(None);
    for method in [Method::Gp, Method::Tpe, Method::CmaEs] {
        let learned = best(Some(method));
        assert!(learned < even, "{method:?}: {learned}, the design alone {even}");
    }
}

#[test]
fn defaults_and_the_best_of_earlier_sweeps_come_first() {
    let mut space = mixed();
    space.parameters[0].default = Some(Value::Number(0.01));
    space.parameters[1].default = Some(Value::from("lion"));
    let setup = setup(space, Method::Gp, 5);
    let (log, _) = run(&setup, 20, &[0], &[9]);
    let first = suggestions(&log).next().unwrap();
    assert_eq!(first.explained.by, "default");
    let configuration = first.proposal.configuration();
    assert_eq!(configuration["optimizer"], Value::from("lion"));
    assert!((configuration["lr"].as_number().unwrap() - 0.01).abs() < 1e-12);

    let inherited: Vec<Inherited> = suggestions(&log)
        .map(|suggestion| Inherited {
            draws: suggestion.proposal.draws.clone(),
            outcome: Outcome::Value(value(&suggestion.proposal.configuration())),
            others: Vec::new(),
            weight: 0.5,
        })
        .collect();
    let best = suggestions(&log)
        .min_by(|a, b| value(&a.proposal.configuration()).total_cmp(&value(&b.proposal.configuration())))
        .unwrap();
    let setup = TunerSetup { space: mixed(), ..setup };
    // By the rules of today none of them is proposed again.
    let mut warm = Tuner::new(setup.clone());
    warm.inherit(&inherited);
    warm.use_fit(warm.fit_due().unwrap().run());
    for number in 0..20 {
        let suggestion = warm.suggest(number, 0).unwrap();
        assert_eq!(suggestion.explained.by, "gp", "{}", suggestion.explained.why);
        assert!(inherited.iter().all(|earlier| earlier.draws != suggestion.proposal.draws), "{number}");
        warm.proposed(number, &suggestion.proposal.draws, Some(0));
    }
    // By those of older sweeps the best of them come first.
    let mut warm = Tuner::new(TunerSetup { version: TunerVersion::recorded(1).unwrap(), ..setup });
    warm.inherit(&inherited);
    let suggestion = warm.suggest(0, 0).unwrap();
    assert_eq!(suggestion.explained.by, "inherited");
    assert_eq!(suggestion.proposal.draws, best.proposal.draws);
    // It has learned before its first trial.
    warm.use_fit(warm.fit_due().unwrap().run());
    (0..3).for_each(|number| {
        let suggestion = warm.suggest(number, 0).unwrap();
        warm.proposed(number, &suggestion.proposal.draws, Some(0));
    });
    assert_eq!(warm.suggest(3, 0).unwrap().explained.by, "gp");
}

#[test]
fn a_suggestion_says_what_the_model_expects() {
    let setup = TunerSetup { goal: Goal::Maximize, ..setup(mixed(), Method::Gp, 5) };
    let (log, _) = run(&setup, 30, &[0], &[9]);
    let last = suggestions(&log).last().unwrap();
    let explained = &last.explained;
    let (low, high) = explained.interval.unwrap();
    let mean = explained.mean.unwrap();
    assert!(low <= mean && mean <= high, "{explained:?}");
    assert_eq!(explained.nearest.len(), 3);
    assert!(explained.nearest[0].correlation >= explained.nearest[2].correlation);
    let near = explained.nearest[0].trial.unwrap() as usize;
    let told = value(&suggestions(&log).nth(near).unwrap().proposal.configuration());
    assert_eq!(explained.nearest[0].value, told, "in the metric's own sign");
}

#[test]
fn what_was_stopped_early_is_not_compared_with_what_went_further() {
    // Below the middle everything looks well after one report, and was stopped then; above it trials ran to their ends.
    let parameters = vec![parameter("x", uniform(0.0, 1.0))];
    let space = SearchSpace { parameters, ..SearchSpace::default() };
    let mut tuner = Tuner::new(setup(space, Method::Tpe, 3));
    let mut above = 0;
    for number in 0..60 {
        let suggestion = tuner.suggest(number, tuner.known()).unwrap();
        let Value::Number(x) = suggestion.proposal.configuration()["x"] else { panic!("a number") };
        above += u32::from(number >= 20 && x > 0.5);
        tuner.proposed(number, &suggestion.proposal.draws, Some(number));
        let outcome =
            if x > 0.5 { Outcome::Value(1.0 + (x - 0.75).abs()) } else { Outcome::Censored { value: 0.1, reports: 1 } };
        tuner.ended(number, outcome);
    }
    assert!(above > 30, "{above} of 40");
}
