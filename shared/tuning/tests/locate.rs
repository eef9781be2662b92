//! Value to uniform number and back, for every distribution; and the first proposal with the defaults.

use proptest::prelude::*;
use trialog_tuning::{Bounds, Distribution, Method, Parameter, Rule, SamplerSpec, SearchSpace, Value, propose};

/// Exponents, bounds and steps of sizes that people use.
fn any_distribution() -> impl Strategy<Value = Distribution> {
    let bounds = (-50.0..50.0_f64, 0.5..80.0_f64).prop_map(|(low, width)| (low, low + width));
    let exponents = (-12.0..2.0_f64, 0.2..8.0_f64).prop_map(|(low, width)| (low, low + width));
    let step = prop_oneof![Just(0.1), Just(0.25), Just(0.03), Just(1.0), 0.01..2.0_f64];
    let weights = proptest::collection::vec(0.01..10.0_f64, 1..9);
    let moments = (-5.0..5.0_f64, 0.1..3.0_f64);
    prop_oneof![
        weights.prop_map(|weights| Distribution::Choice {
            values: (0..weights.len()).map(|at| Value::from(at as f64 * 1.5)).collect(),
            weights: Some(weights),
            ordered: false,
        }),
        (1_usize..5).prop_map(|count| Distribution::Choice {
            values: ["a", "b", "c", "d"][..count].iter().map(|text| Value::from(*text)).collect(),
            weights: None,
            ordered: true,
        }),
        prop_oneof![1_u64..9, 1_u64..=1 << 53].prop_map(|upper| Distribution::Randint { upper, grid_points: false }),
        bounds.clone().prop_map(|(min_value, max_value)| Distribution::Uniform { min_value, max_value }),
        (bounds, step.clone()).prop_map(|((min_value, max_value), q)| Distribution::Quniform {
            min_value,
            max_value,
            q,
            grid_points: false
        }),
        exponents.clone().prop_map(|(min_value, max_value)| Distribution::Loguniform {
            min_value,
            max_value,
            bounds: Bounds::Exponents
        }),
        (-50_i64..50, 0_i64..90, 1_u64..9).prop_map(|(min_value, width, step)| Distribution::IntUniform {
            min_value,
            max_value: min_value + width,
            step,
            grid_points: false
        }),
        (exponents.clone(), step.clone()).prop_map(|((low, high), q)| Distribution::QLogUniformValues {
            min_value: low.exp(),
            max_value: high.exp(),
            q,
            grid_points: false
        }),
        (exponents.clone(), step.clone()).prop_map(|((min_value, max_value), q)| Distribution::Qloguniform {
            min_value,
            max_value,
            q,
            bounds: Bounds::Exponents
        }),
        exponents
            .prop_map(|(low, high)| Distribution::LogUniformValues { min_value: low.exp(), max_value: high.exp() }),
        moments.clone().prop_map(|(mu, sigma)| Distribution::Normal { mu, sigma }),
        (moments.clone(), step.clone()).prop_map(|((mu, sigma), q)| Distribution::Qnormal { mu, sigma, q }),
        moments.clone().prop_map(|(mu, sigma)| Distribution::Lognormal { mu, sigma }),
        (moments, step).prop_map(|((mu, sigma), q)| Distribution::Qlognormal { mu, sigma, q }),
    ]
}

fn one(distribution: Distribution, logbase: Option<f64>, compat: bool) -> SearchSpace {
    let parameters = vec![Parameter { name: "x".to_owned(), distribution, when: Vec::new(), default: None }];
    SearchSpace { parameters, logbase, compat, ..SearchSpace::default() }
}

fn has_a_step(distribution: &Distribution) -> bool {
    distribution.kind().starts_with('q') || matches!(distribution.kind(), "choice" | "randint" | "int_uniform")
}

/// Far out in the upper tail the doubles below 1 are so few that a value is known to fewer digits.
fn tolerance(distribution: &Distribution, u: f64, value: f64) -> f64 {
    let scale = match *distribution {
        Distribution::Uniform { min_value, max_value } => min_value.abs().max(max_value.abs()),
        Distribution::Normal { mu, sigma } => mu.abs() + sigma,
        _ => value.abs(),
    };
    1e-13_f64.max(4e-15 / (1.0 - u)) * scale * 8.0
}

proptest! {
    #![proptest_config(testkit::properties(4000))]

    #[test]
    fn mapping_back_gives_the_value_again(
        distribution in any_distribution(),
        base in prop_oneof![Just(None), Just(Some(10.0)), Just(Some(2.0)), Just(Some(0.5))],
        compat: bool,
        k in 0_u64..(1 << 52),
    ) {
        let space = one(distribution.clone(), base, compat);
        // Compat refuses some of these; what they mean is the same.
        prop_assume!(space.check().iter().all(|issue| issue.warning || issue.code == "NotInCompat"));
        let u = (k as f64 + 0.5) * f64::EPSILON;
        let value = space.value_of(0, u);
        let back = space.u_of(0, &value);
        prop_assert!(back.is_ok(), "{distribution:?} {u} {value:?}: {back:?}");
        let back = back.unwrap();
        prop_assert!(0.0 < back && back < 1.0);
        let again = space.value_of(0, back);
        if has_a_step(&distribution) {
            prop_assert_eq!(&again, &value, "{:?} {} {}", distribution, u, back);
            prop_assert_eq!(space.draw_of(0, &value).unwrap().value, value);
        } else {
            let (value, again) = (value.as_number().unwrap(), again.as_number().unwrap());
            let off = (value - again).abs();
            prop_assert!(off <= tolerance(&distribution, u, value), "{distribution:?}: {value} {again} at {u} {back}");
        }
    }
}

#[test]
fn centres_of_intervals() {
    let choice = |weights: Option<Vec<f64>>| Distribution::Choice {
        values: vec![Value::from("a"), Value::from("b")],
        weights,
        ordered: false,
    };
    let quniform = Distribution::Quniform { min_value: 0.0, max_value: 4.0, q: 1.0, grid_points: false };
    for (distribution, value, u) in [
        (choice(None), Value::from("b"), 0.75),
        (choice(Some(vec![1.0, 3.0])), Value::from("b"), 0.625),
        (Distribution::Randint { upper: 4, grid_points: false }, Value::from(1.0), 0.375),
        (Distribution::IntUniform { min_value: 3, max_value: 9, step: 2, grid_points: false }, Value::from(7.0), 0.625),
        (Distribution::Uniform { min_value: -1.0, max_value: 1.0 }, Value::from(0.5), 0.75),
        (quniform.clone(), Value::from(0.0), 0.0625),
        (quniform.clone(), Value::from(1.0), 0.25),
        (quniform, Value::from(4.0), 0.9375),
        (Distribution::LogUniformValues { min_value: 0.01, max_value: 1.0 }, Value::from(0.1), 0.5),
        (Distribution::Normal { mu: 3.0, sigma: 2.0 }, Value::from(3.0), 0.5),
    ] {
        let found = one(distribution.clone(), None, false).u_of(0, &value).unwrap();
        assert!((found - u).abs() < 1e-12, "{distribution:?} {value}: {found}, not {u}");
    }
}

#[test]
fn what_is_outside_is_refused_in_words() {
    let quniform = Distribution::Quniform { min_value: 0.0, max_value: 1.0, q: 0.25, grid_points: false };
    for (distribution, value, said) in [
        (Distribution::Uniform { min_value: 0.0, max_value: 1.0 }, Value::from(1.5), "x: 1.5 is outside [0, 1]"),
        (Distribution::Uniform { min_value: 0.0, max_value: 1.0 }, Value::from("a"), "x: a is not a number"),
        (quniform.clone(), Value::from(0.3), "x: 0.3 is not a multiple of 0.25"),
        (quniform, Value::from(1.25), "x: 1.25 is outside [0, 1]"),
        (Distribution::Randint { upper: 3, grid_points: false }, Value::from(3.0), "x: 3 is not an integer in 0..3"),
        (
            Distribution::IntUniform { min_value: 3, max_value: 10, step: 2, grid_points: false },
            Value::from(10.0),
            "x: 10 is not one of 3 to 9 in steps of 2",
        ),
        (
            Distribution::IntUniform { min_value: -1, max_value: 1, step: 1, grid_points: false },
            Value::from(0.5),
            "x: 0.5 is not an integer in -1..=1",
        ),
        (Distribution::Normal { mu: 0.0, sigma: 1.0 }, Value::from(9.0), "x: 9 is farther from the mean than any draw"),
        (
            Distribution::Lognormal { mu: 0.0, sigma: 1.0 },
            Value::from(-1.0),
            "x: -1 is farther from the mean than any draw",
        ),
    ] {
        assert_eq!(one(distribution, None, false).u_of(0, &value).unwrap_err(), said);
    }
    // A bound that went through decimal text is on the bound.
    let space = one(
        Distribution::Loguniform { min_value: -11.512925464970229, max_value: 0.0, bounds: Bounds::default() },
        None,
        false,
    );
    assert!(space.u_of(0, &Value::from(0.00001)).is_ok());
    let space = one(Distribution::Quniform { min_value: 0.1, max_value: 0.9, q: 0.1, grid_points: false }, None, false);
    assert_eq!(space.draw_of(0, &Value::from(0.1 + 0.2)).unwrap().value, Value::from(0.3));
}

#[test]
fn the_first_proposal_has_the_defaults() {
    let parameter = |name: &str, distribution, default| Parameter {
        name: name.to_owned(),
        distribution,
        when: Vec::new(),
        default,
    };
    let uniform = Distribution::Uniform { min_value: 0.0, max_value: 1.0 };
    let choice =
        Distribution::Choice { values: vec![Value::from("a"), Value::from("b")], weights: None, ordered: false };
    let space = SearchSpace {
        parameters: vec![
            parameter("lr", uniform.clone(), Some(Value::from(0.3))),
            parameter("free", uniform, None),
            parameter("kind", choice, Some(Value::from("b"))),
        ],
        ..SearchSpace::default()
    };
    assert_eq!(space.check(), []);
    let mut plain = space.clone();
    plain.parameters.iter_mut().for_each(|parameter| parameter.default = None);
    let samplers = [Rule::Random, Rule::Sobol]
        .map(|rule| SamplerSpec::Random { rule })
        .into_iter()
        .chain([SamplerSpec::Bayesian { method: Method::Auto }]);
    for sampler in samplers {
        let of = |space: &SearchSpace, number| propose(space, &sampler, 5, number, number, &|_| false).unwrap();
        let first = of(&space, 0).configuration();
        assert_eq!((&first["lr"], &first["kind"]), (&Value::from(0.3), &Value::from("b")), "{sampler:?}");
        // What has no default, and what comes after, is as without them.
        assert_eq!(first["free"], of(&plain, 0).configuration()["free"]);
        assert_eq!(of(&space, 1), of(&plain, 1));
        // Defaults that were tried before are not tried again.
        let again = propose(&space, &sampler, 5, 0, 0, &|known| known["lr"] == Value::from(0.3)).unwrap();
        assert_ne!(again.configuration()["lr"], Value::from(0.3));
    }
    assert_eq!(SamplerSpec::Grid.check(&space, None).iter().filter(|issue| issue.code == "BadDefault").count(), 2);
}
