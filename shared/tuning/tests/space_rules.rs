//! Each rule on a search space with an example that breaks it.

use serde_json::json;
use trialog_tuning::{SamplerSpec, SearchSpace, Value};

fn space(parameters: &serde_json::Value) -> SearchSpace {
    serde_json::from_value(json!({ "parameters": parameters })).expect("the test's space is well formed")
}

/// Parameter, field, code, message of each issue; warnings with a `~` before the code.
fn issues(space: &SearchSpace) -> Vec<String> {
    let line = |issue: trialog_tuning::Issue| {
        let mark = if issue.warning { "~" } else { "" };
        format!("{}/{} {mark}{}: {}", issue.parameter, issue.field, issue.code, issue.message)
    };
    space.check().into_iter().map(line).collect()
}

fn check(parameters: serde_json::Value, want: &[&str]) {
    assert_eq!(issues(&space(&parameters)), want, "{parameters}");
}

#[test]
fn ranges() {
    let uniform = |min: f64, max: f64| json!([{"name": "lr", "type": "uniform", "min_value": min, "max_value": max}]);
    check(uniform(0.1, 0.2), &[]);
    check(uniform(0.1, 0.1), &["lr/min_value BadRange: lr: min_value 0.1 must be < max_value 0.1"]);
    check(
        uniform(-1.7e308, 1.7e308),
        &["lr/max_value Overflow: lr: max_value - min_value is not finite; narrow the range"],
    );
    let log = |min: f64, max: f64| json!([{"name": "lr", "type": "loguniform", "min_value": min, "max_value": max}]);
    check(log(-6.0, -1.0), &[]);
    check(log(-6.0, 800.0), &["lr/max_value Overflow: exp(800) is not finite; bounds are natural-log exponents"]);
    check(log(1.0, -1.0), &["lr/min_value BadRange: lr: min_value 1 must be <= max_value -1"]);
    check(log(2.0, 2.0), &["lr/min_value ~ZeroRange: lr: min_value = max_value 2 draws the same value each time"]);
    let warned = "lr/min_value ~LikelyRealBounds: lr: values will lie in [1.00,1.11]; the bounds are exponents, \
                  log_uniform_values takes real ones";
    check(log(0.0001, 0.1), &[warned]);
    check(
        json!([{"name": "lr", "type": "log_uniform_values", "min_value": 0, "max_value": 1}]),
        &["lr/min_value LogOfNonPositive: lr: min_value 0 must be > 0; its logarithm is taken"],
    );
}

#[test]
fn numbers_that_are_not_finite() {
    let mut space = space(&json!([{"name": "x", "type": "normal", "mu": 0, "sigma": 1}]));
    space.parameters[0].distribution = trialog_tuning::Distribution::Normal { mu: f64::NAN, sigma: f64::INFINITY };
    assert_eq!(
        issues(&space),
        [
            "x/mu NotFinite: x: mu NaN must be a finite number",
            "x/sigma NotFinite: x: sigma Infinity must be a finite number"
        ]
    );
}

#[test]
fn quanta() {
    let quniform = |min: i32, max: i32, q: f64| {
        let n = json!({"name": "n", "type": "quniform", "min_value": min, "max_value": max, "q": q});
        json!([n])
    };
    check(quniform(0, 8, 1.0), &[]);
    check(quniform(0, 8, 0.0), &["n/q BadQuantum: n: q 0 must be > 0"]);
    check(
        quniform(5, 7, 4.0),
        &["n/q EmptyAfterQuantisation: n: no multiple of 4 in [5, 7]; widen the range or lower q"],
    );
    check(quniform(5, 9, 4.0), &["n/q DegenerateRange: n: only 8; use choice"]);
    let mut published = space(&quniform(5, 7, 4.0));
    published.compat = true;
    assert_eq!(issues(&published), [""; 0]);
    check(quniform(0, 8, 1e-310), &["n/q BadQuantum: n: q 1e-310 is too small to divide by"]);
}

#[test]
fn normals() {
    let normal = |kind: &str, sigma: f64| json!([{"name": "x", "type": kind, "mu": 1, "sigma": sigma}]);
    check(normal("normal", -1.0), &["x/sigma BadSigma: x: sigma -1 must be >= 0"]);
    check(normal("normal", 0.0), &["x/sigma ~ZeroSigma: x: sigma 0 draws the same value each time"]);
    check(
        normal("lognormal", 100.0),
        &["x/mu Overflow: x: mu 1 with sigma 100 reaches values that are not finite; lower them"],
    );
}

#[test]
fn choices_and_randints() {
    let choice = |values: serde_json::Value| json!([{"name": "batch", "type": "choice", "values": values}]);
    check(choice(json!([])), &["batch/values EmptyChoice: batch: at least one value"]);
    check(choice(json!([16, 16.0])), &["batch/values/1 DuplicateValue: batch.values[1] repeats 16; use weights"]);
    check(choice(json!([1, true])), &[]);
    check(choice(json!(["a", 1])), &["batch/values MixedTypes: batch: either all or none may be strings; 1 of 2 are"]);
    let weights = |weights: serde_json::Value| {
        let batch = json!({"name": "batch", "type": "choice", "values": [16, 32], "weights": weights});
        json!([batch])
    };
    check(weights(json!([1, 2])), &[]);
    check(weights(json!([1])), &["batch/weights BadWeights: batch: 1 weights for 2 values; give one for each"]);
    check(weights(json!([1, 0])), &["batch/weights/1 BadWeights: batch: weights[1] 0 must be a finite number > 0"]);
    check(
        json!([{"name": "n", "type": "randint", "upper": 0}]),
        &["n/upper BadUpper: n: upper 0 must be in 1..=9007199254740992"],
    );
}

#[test]
fn names_and_counts() {
    check(json!([]), &["/ EmptySpace: search_space: at least one parameter"]);
    let randint = |name: &str| json!({"name": name, "type": "randint", "upper": 2});
    check(
        json!([randint("a b")]),
        &["a b/ BadName: \"a b\": a letter or '_', then up to 63 letters, digits, '_', '.' or '-'"],
    );
    check(
        json!([randint("lr-rate"), randint("lr_rate")]),
        &["lr_rate/ AmbiguousName: lr-rate, lr_rate: TRIALOG_PARAM_LR_RATE; rename one of them"],
    );
    let many: Vec<_> = (0..257).map(|at| randint(&format!("p{at}"))).collect();
    check(json!(many), &["/ TooLarge: search_space has 257 parameters, limit 256"]);
}

#[test]
fn conditions() {
    let when = |name: &str, parent: &str, values: serde_json::Value| {
        let when = json!([{"parent": parent, "values": values}]);
        json!({"name": name, "type": "randint", "upper": 2, "when": when})
    };
    let optimizer = json!({"name": "optimizer", "type": "choice", "values": ["sgd", "adam"]});
    let uniform = json!({"name": "lr", "type": "uniform", "min_value": 0, "max_value": 1});
    check(json!([optimizer, when("m", "optimizer", json!(["sgd"]))]), &[]);
    check(
        json!([when("m", "optimiser", json!(["sgd"]))]),
        &["m/when/optimiser UnknownParent: m.when: optimiser is not a parameter of search_space"],
    );
    check(
        json!([optimizer, when("m", "optimizer", json!(["lamb"]))]),
        &["m/when/optimizer ImpossibleCondition: m.when: optimizer is never lamb; use one of its values"],
    );
    check(
        json!([uniform, when("m", "lr", json!([0.5]))]),
        &["m/when/lr ImpossibleCondition: m.when: lr is uniform; only choice and randint can be conditions"],
    );
    check(
        json!([when("a", "b", json!([1])), when("b", "c", json!([1])), when("c", "a", json!([1]))]),
        &["a/when/b ConditionCycle: a -> b -> c -> a: these conditions form a cycle; remove one"],
    );
    check(
        json!([when("a", "a", json!([1]))]),
        &["a/when/a ConditionCycle: a -> a: these conditions form a cycle; remove one"],
    );
}

#[test]
fn compat_refuses_what_azure_does_not_have() {
    let mut space = space(&json!([
        {"name": "a", "type": "choice", "values": [1, 2], "weights": [1, 2]},
        {"name": "b", "type": "log_uniform_values", "min_value": 1, "max_value": 2},
        {"name": "c", "type": "randint", "upper": 3, "when": [{"parent": "a", "values": [1]}]},
    ]));
    space.compat = true;
    let codes: Vec<_> = space.check().into_iter().map(|issue| (issue.parameter, issue.field, issue.code)).collect();
    let want = [("a", "weights"), ("b", "type"), ("c", "when")];
    assert_eq!(codes, want.map(|(name, field)| (name.to_owned(), field.to_owned(), "NotInCompat")));
}

#[test]
fn bases() {
    for (base, good) in [(10.0, true), (0.5, true), (1.0, false), (0.0, false), (-2.0, false), (f64::NAN, false)] {
        let mut space = space(&json!([{"name": "x", "type": "loguniform", "min_value": -2, "max_value": 3}]));
        space.logbase = Some(base);
        assert_eq!(space.check().is_empty(), good, "{base}");
        if good {
            let value = space.value_of(0, 0.5).as_number().unwrap();
            assert!((value - base.sqrt()).abs() < 1e-12, "{value}");
        }
    }
}

#[test]
fn grids() {
    let grid = |parameters: serde_json::Value, trials: Option<u64>| -> Vec<String> {
        let issues = SamplerSpec::Grid.check(&space(&parameters), trials);
        issues.into_iter().map(|issue| format!("{} {}: {}", issue.parameter, issue.code, issue.message)).collect()
    };
    let thousand = json!({"name": "a", "type": "randint", "upper": 1000, "grid_points": true});
    let vast = json!({"name": "v", "type": "randint", "upper": 1_u64 << 53, "grid_points": true});
    let lr = json!({"name": "lr", "type": "uniform", "min_value": 0, "max_value": 1});
    assert_eq!(grid(json!([thousand]), Some(1000)), [""; 0]);
    assert_eq!(
        grid(json!([lr]), None),
        ["lr GridNeedsChoice: lr is uniform; grid accepts choice only; use quniform points or random"]
    );
    assert_eq!(grid(json!([thousand]), Some(10)), [" GridTruncated: 1,000 points, 10 will run"]);
    assert_eq!(grid(json!([vast, thousand, thousand]), None)[0].split(':').next(), Some(" GridTooLarge"));
    let weighted = json!({"name": "w", "type": "choice", "values": [1, 2], "weights": [1, 2]});
    assert_eq!(grid(json!([weighted]), None)[0].split(':').next(), Some("w BadWeights"));
}

#[test]
fn values_are_told_apart_by_type() {
    let values: Vec<Value> = serde_json::from_str(r#"["1", 1, true]"#).unwrap();
    assert!(matches!(values[..], [Value::Text(_), Value::Number(_), Value::Bool(true)]));
}
