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
    check(
        json!([{"name": "lr", "type": "log_uniform_values", "min_value": 0, "max_value": 1}]),
        &["lr/min_value LogOfNonPositive: lr: min_value 0 must be > 0; its logarithm is taken"],
    );
}

/// Somebody who writes real bounds to a type that takes exponents would tune between 1.00 and 1.11.
#[test]
fn exponents_that_look_like_values() {
    let log = |kind: &str, min: f64, max: f64, bounds: Option<&str>| {
        let mut lr = json!({"name": "lr", "type": kind, "min_value": min, "max_value": max, "q": 1e-3});
        if let Some(bounds) = bounds {
            lr["bounds"] = json!(bounds);
        }
        json!([lr])
    };
    for (kind, meant) in [("loguniform", "log_uniform_values"), ("qloguniform", "q_log_uniform_values")] {
        for (min, max, values) in
            [(0.0001, 0.1, "[1.00,1.11]"), (0.5, 1.0, "[1.65,2.72]"), (1.0, 64.0, "[2.72,6.24e27]")]
        {
            let refused = format!(
                "lr/min_value LikelyRealBounds: lr: values will lie in {values}; write {meant}, or bounds: exponents"
            );
            check(log(kind, min, max, None), &[&refused]);
            check(log(kind, min, max, Some("exponents")), &[]);
            let mut published = space(&log(kind, min, max, None));
            published.compat = true;
            assert_eq!(issues(&published), [""; 0], "{kind}");
        }
        check(log(kind, 0.0, 0.1, None), &[]);
        check(log(kind, -6.0, 0.1, None), &[]);
        check(log(kind, 1.0, 5.0, None), &[]);
    }
    // What is said about bounds is stored, so that a stored space can be written again, and makes no other space.
    let said = space(&log("loguniform", 0.1, 0.2, Some("exponents")));
    let stored = serde_json::to_value(&said).unwrap();
    assert_eq!(stored["parameters"][0]["bounds"], "exponents");
    assert_eq!(said, space(&log("loguniform", 0.1, 0.2, None)));
}

#[test]
fn integers() {
    let int = |min: i64, max: i64, step: i64| {
        let n = json!({"name": "n", "type": "int_uniform", "min_value": min, "max_value": max, "step": step});
        json!([n])
    };
    check(int(3, 9, 2), &[]);
    check(int(-(1 << 53), -1, 1), &[]);
    check(int(4, 4, 1), &["n/min_value ~ZeroRange: n: min_value = max_value 4 draws the same value each time"]);
    check(int(9, 3, 1), &["n/min_value BadRange: n: min_value 9 must be <= max_value 3"]);
    check(int(3, 9, 0), &["n/step BadQuantum: n: step 0 must be an integer >= 1"]);
    check(int(3, 9, 7), &["n/step DegenerateRange: n: only 3, a step of 7 leads out of the range; use choice"]);
    check(int(-2, (1 << 53) - 1, 1), &["n/max_value Overflow: n: more than 2^53 integers; narrow the range"]);
    let far = ((1_i64 << 53) + 1).to_string();
    check(int(3, (1 << 53) + 1, 1), &[&format!("n/max_value BadRange: n: max_value {far} must be in -2^53..=2^53")]);
    let log = json!([{"name": "n", "type": "q_log_uniform_values", "min_value": 0, "max_value": 8, "q": 1}]);
    check(log, &["n/min_value LogOfNonPositive: n: min_value 0 must be > 0; its logarithm is taken"]);
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
    check(choice(json!(["sqrt", 1, 0.5, "1", true, "true"])), &[]);
    let twice = [
        "batch/values/2 DuplicateValue: batch.values[2] repeats \"a\"; use weights",
        "batch/values/3 DuplicateValue: batch.values[3] repeats 1; use weights",
    ];
    check(choice(json!(["a", 1, "a", 1.0])), &twice);
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
        &["m/when/lr ImpossibleCondition: m.when: lr is uniform; only choice, randint and int_uniform can be \
             conditions"],
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
        {"name": "d", "type": "int_uniform", "min_value": 1, "max_value": 2},
        {"name": "e", "type": "q_log_uniform_values", "min_value": 1, "max_value": 2, "q": 1},
    ]));
    space.compat = true;
    let codes: Vec<_> = space.check().into_iter().map(|issue| (issue.parameter, issue.field, issue.code)).collect();
    let want = [("a", "weights"), ("b", "type"), ("c", "when"), ("d", "type"), ("e", "type")];
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
    let odd = json!({"name": "n", "type": "int_uniform", "min_value": 3, "max_value": 9});
    assert_eq!(
        grid(json!([odd]), None),
        ["n GridNeedsChoice: n is int_uniform; grid accepts choice only; set grid_points: true or use random"]
    );
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
