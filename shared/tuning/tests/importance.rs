//! Importances are those of functions whose shares are known.

use trialog_tuning::{
    Condition, Distribution, Draw, Goal, Importance, Parameter, SearchSpace, Value, importance, propose,
};

fn parameter(name: &str, distribution: Distribution) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }
}

fn uniform() -> Distribution {
    Distribution::Uniform { min_value: 0.0, max_value: 1.0 }
}

fn choice(values: &[&str]) -> Distribution {
    let values = values.iter().map(|value| Value::from(*value)).collect();
    Distribution::Choice { values, weights: None, ordered: false }
}

fn space(parameters: Vec<Parameter>) -> SearchSpace {
    SearchSpace { parameters, ..SearchSpace::default() }
}

fn sample(space: &SearchSpace, count: u64) -> Vec<Vec<Draw>> {
    let sampler = serde_json::from_str(r#"{"type": "random", "rule": "random"}"#).expect("a sampler");
    let made = (0..count).map(|number| propose(space, &sampler, 11, number, number, &|_| false));
    made.map(|proposal| proposal.expect("the space is endless").draws).collect()
}

fn number(draws: &[Draw], name: &str) -> Option<f64> {
    draws.iter().find(|draw| draw.name == name)?.value.as_number()
}

fn text(draws: &[Draw], name: &str) -> String {
    draws.iter().find(|draw| draw.name == name).expect("it is always active").value.to_string()
}

fn of(space: &SearchSpace, trials: &[Vec<Draw>], f: impl Fn(&[Draw]) -> f64) -> Importance {
    let rows: Vec<(&[Draw], f64)> = trials.iter().map(|draws| (draws.as_slice(), f(draws))).collect();
    importance(space, &rows, Goal::Minimize, 3)
}

fn share(found: &Importance, name: &str) -> f64 {
    let share = found.parameters.iter().find(|share| share.parameter == name).expect("every parameter has one");
    let is_inside = share.low <= share.importance && share.importance <= share.high;
    assert!(0.0 <= share.low && is_inside && share.high <= 1.0, "{share:?}");
    share.importance
}

#[test]
fn shares_of_an_additive_function_are_found() {
    // Variances 9/12, 4/12 and 0 of the numbers; 2/3 of three values 0, 1, 2: 0.429, 0.190, 0, 0.381 of 1.75.
    let space = space(vec![
        parameter("a", uniform()),
        parameter("b", uniform()),
        parameter("idle", uniform()),
        parameter("kind", choice(&["x", "zz", "yyy"])),
    ]);
    let trials = sample(&space, 400);
    let f = |draws: &[Draw]| {
        let kind = text(draws, "kind").len() as f64 - 1.0;
        3.0 * number(draws, "a").unwrap() - 2.0 * number(draws, "b").unwrap() + kind
    };
    let found = of(&space, &trials, f);
    for (name, known) in [("a", 0.429), ("kind", 0.381), ("b", 0.190), ("idle", 0.0)] {
        let share = share(&found, name);
        assert!((share - known).abs() < 0.06, "{name}: {share} is not near {known}; {found:?}");
    }
    let order: Vec<&str> = found.parameters.iter().map(|share| share.parameter.as_str()).collect();
    assert_eq!(order, ["a", "kind", "b", "idle"]);
    assert!(found.interactions < 0.12, "{found:?}");
    assert_eq!((found.trials, found.clipped, found.trees), (400, 0, 64));
}

#[test]
fn a_product_is_an_interaction() {
    let space = space(vec![parameter("a", uniform()), parameter("b", uniform())]);
    let trials = sample(&space, 400);
    let f = |draws: &[Draw]| (number(draws, "a").unwrap() - 0.5) * (number(draws, "b").unwrap() - 0.5);
    let found = of(&space, &trials, f);
    assert!(found.interactions > 0.6, "{found:?}");
}

#[test]
fn an_inactive_parameter_takes_nothing_from_its_parent() {
    // The value jumps with the parent by 1 and does not depend on the child: only the parent matters.
    let mut child = parameter("child", uniform());
    child.when = vec![Condition { parent: "kind".to_owned(), values: vec![Value::from("on")] }];
    let space = space(vec![parameter("kind", choice(&["on", "off"])), child]);
    let trials = sample(&space, 200);
    let parent = of(&space, &trials, |draws| if text(draws, "kind") == "on" { 1.0 } else { 0.0 });
    assert!(share(&parent, "kind") > 0.95 && share(&parent, "child") < 0.02, "{parent:?}");
    // Only the child matters where it is active. Of f = x - 1/2 in one half, the child's main effect is (1/2)^2 / 12 of
    // 1 / 24 in all, which is a half, the parent's is 0, and the rest is their interaction.
    let f = |draws: &[Draw]| number(draws, "child").map_or(0.0, |x| x - 0.5);
    let child = of(&space, &trials, f);
    assert!((share(&child, "child") - 0.5).abs() < 0.15 && share(&child, "kind") < 0.08, "{child:?}");
}

/// What cannot be judged, in words.
fn unjudged(found: &Importance) -> Vec<String> {
    found.unjudged.iter().map(|unjudged| format!("{}: {}", unjudged.parameter, unjudged.reason)).collect()
}

#[test]
fn what_the_trials_do_not_differ_in_has_no_share() {
    let when = |value: &str| vec![Condition { parent: "model".to_owned(), values: vec![Value::from(value)] }];
    let (mut lr, mut depth) = (parameter("lr", uniform()), parameter("depth", uniform()));
    (lr.when, depth.when) = (when("a"), when("b"));
    let space = space(vec![parameter("model", choice(&["a", "b"])), lr, depth]);
    let mut trials = sample(&space, 40);
    trials.retain(|draws| text(draws, "model") == "a");
    let f = |draws: &[Draw]| number(draws, "lr").map_or(10.0, |lr| (lr - 0.3) * (lr - 0.3));
    let found = of(&space, &trials[..8], f);
    assert_eq!(found.parameters.iter().map(|share| share.parameter.as_str()).collect::<Vec<_>>(), ["lr"]);
    let expected = ["depth: no counted trial has it", "model: one value in all counted trials: a"];
    assert_eq!(unjudged(&found), expected);
    share(&found, "lr");
    let other = sample(&space, 40).into_iter().find(|draws| text(draws, "model") == "b").expect("both are drawn");
    let one = number(&other, "depth").expect("it is active");
    let mixed: Vec<Vec<Draw>> = trials[..8].iter().cloned().chain([other]).collect();
    let found = of(&space, &mixed, f);
    share(&found, "model");
    assert_eq!(unjudged(&found), [format!("depth: one value in all counted trials that have it: {one}")]);
    let single = of(&space, &trials[..1], f);
    assert!(single.parameters.is_empty() && single.unjudged.len() == 3, "{single:?}");
    assert_eq!(unjudged(&single)[2], "model: only one trial counts");
    let none = of(&space, &[], f);
    assert!(none.parameters.is_empty() && none.trials == 0, "{none:?}");
    assert_eq!(unjudged(&none), ["depth: no trial counts", "lr: no trial counts", "model: no trial counts"]);
}

#[test]
fn a_share_lies_in_its_own_interval() {
    // What matters little is used by few of the trees, whose mean was out of the percentiles of all.
    let space = space((0..6).map(|at| parameter(&format!("p{at}"), uniform())).collect());
    for count in 3..14 {
        let found = of(&space, &sample(&space, count), |draws| draws[0].u + 0.01 * draws[1].u);
        (0..6).for_each(|at| {
            share(&found, &format!("p{at}"));
        });
    }
}

#[test]
fn absence_without_a_condition_is_a_value_of_its_own() {
    let space = space(vec![parameter("a", uniform()), parameter("b", uniform())]);
    let mut trials = sample(&space, 200);
    trials.iter_mut().step_by(2).for_each(|draws| draws.retain(|draw| draw.name != "b"));
    let found = of(&space, &trials, |draws| if number(draws, "b").is_some() { 1.0 } else { 0.0 });
    assert!(share(&found, "b") > 0.95, "{found:?}");
}

#[test]
fn without_a_difference_nothing_matters() {
    let space = space(vec![parameter("a", uniform()), parameter("kind", choice(&["x", "y"]))]);
    let trials = sample(&space, 30);
    for value in [0.0, 0.1, -1e308, f64::MAX] {
        let found = of(&space, &trials, |_| value);
        assert!(found.parameters.iter().all(|share| share.importance == 0.0 && share.high == 0.0), "{found:?}");
        assert_eq!(found.interactions, 0.0);
    }
}

#[test]
fn a_diverged_trial_hides_nothing() {
    let space = space(vec![parameter("a", uniform()), parameter("idle", uniform())]);
    let trials = sample(&space, 100);
    let last = number(&trials[99], "a").unwrap();
    let f = |draws: &[Draw]| {
        let a = number(draws, "a").unwrap();
        if a == last { 1e12 } else { a }
    };
    let found = of(&space, &trials, f);
    assert!(found.clipped == 1 && share(&found, "a") > 0.6, "{found:?}");
}

#[test]
fn the_written_order_and_the_goal_do_not_matter_and_a_repeat_is_equal() {
    let mut child = parameter("child", uniform());
    child.when = vec![Condition { parent: "kind".to_owned(), values: vec![Value::from("x")] }];
    let whole = Distribution::Quniform { min_value: 0.0, max_value: 8.0, q: 2.0, grid_points: false };
    let ours =
        space(vec![parameter("a", uniform()), parameter("kind", choice(&["x", "y"])), child, parameter("q", whole)]);
    let mut theirs = ours.clone();
    theirs.parameters.reverse();
    let trials = sample(&ours, 60);
    let f = |draws: &[Draw]| draws.iter().fold(0.0, |sum, draw| sum + draw.u * draw.name.len() as f64);
    let rows: Vec<(&[Draw], f64)> = trials.iter().map(|draws| (draws.as_slice(), f(draws))).collect();
    let found = importance(&ours, &rows, Goal::Minimize, 5);
    assert_eq!(found, importance(&ours, &rows, Goal::Minimize, 5));
    assert_eq!(found, importance(&theirs, &rows, Goal::Minimize, 5));
    assert_ne!(found, importance(&ours, &rows, Goal::Minimize, 6));
    let turned: Vec<(&[Draw], f64)> = rows.iter().map(|(draws, value)| (*draws, -value)).collect();
    assert_eq!(found, importance(&ours, &turned, Goal::Maximize, 5));
}

#[test]
fn many_trials_and_parameters_are_bounded() {
    let parameters = (0..100).map(|at| parameter(&format!("p{at}"), uniform())).collect();
    let space = space(parameters);
    let trials = sample(&space, 1000);
    let found = of(&space, &trials, |draws| draws[7].u);
    assert_eq!((found.trials, found.parameters[0].parameter.as_str()), (334, "p7"));
}
