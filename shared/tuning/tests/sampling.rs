//! What must hold for every proposal: inside the bounds, on the lattice, undisturbed by other parameters, never
//! repeated.

use std::collections::HashSet;

use proptest::prelude::*;
use trialog_tuning::{
    Bounds, Condition, Configuration, Distribution, Parameter, Proposal, Rule, SAMPLER_VERSION, SamplerSpec,
    SamplerVersion, SearchSpace, Value, fingerprint, finite_size, grid_size, propose, trial_seed,
};

const RANDOM: SamplerSpec = SamplerSpec::Random { rule: Rule::Random };
const SOBOL: SamplerSpec = SamplerSpec::Random { rule: Rule::Sobol };

/// More cells than any space of these tests has.
const CELLS_MAX: u64 = 7 * 7 * 7 * 7 + 1;

fn never(_: &Configuration) -> bool {
    false
}

/// Distributions with finitely many values that a grid can enumerate.
fn finite() -> impl Strategy<Value = Distribution> {
    prop_oneof![
        (1_usize..4).prop_map(|count| Distribution::Choice {
            values: ["sgd", "adam", "lamb"][..count].iter().map(|&text| Value::from(text)).collect(),
            weights: None,
            ordered: false,
        }),
        (1_u64..4).prop_map(|upper| Distribution::Randint { upper, grid_points: true }),
        (-2_i64..3, 1_i64..4, 1_u64..3).prop_map(|(min_value, width, step)| {
            let max_value = min_value + width.max(step as i64);
            Distribution::IntUniform { min_value, max_value, step, grid_points: true }
        }),
        (1_u32..4, 1_u32..4).prop_map(|(low, width)| Distribution::QLogUniformValues {
            min_value: f64::from(low),
            max_value: f64::from(low + width),
            q: 1.0,
            grid_points: true,
        }),
        (-3_i32..3, 1_i32..4).prop_map(|(low, steps)| Distribution::Quniform {
            min_value: f64::from(low),
            max_value: f64::from(low + steps),
            q: 0.5,
            grid_points: true,
        }),
    ]
}

/// Any valid distribution, with arguments that reach far.
fn any_distribution() -> impl Strategy<Value = Distribution> {
    let low = -1e3..1e3_f64;
    let width = 1e-3..1e3_f64;
    let q = prop_oneof![Just(0.1), Just(0.3), Just(1.0), Just(7.0), 1e-3..10.0_f64];
    (low, width, q, 0_u8..12).prop_map(|(low, width, q, kind)| {
        let (min_value, max_value) = (low, low + width);
        let (small_min, small_max) = (low / 1e2, (low + width) / 1e2);
        match kind {
            0 => Distribution::Uniform { min_value, max_value },
            1 => Distribution::Quniform { min_value, max_value, q, grid_points: false },
            2 => Distribution::Loguniform { min_value: small_min, max_value: small_max, bounds: Bounds::Exponents },
            3 => Distribution::Qloguniform { min_value: small_min, max_value: small_max, q, bounds: Bounds::Exponents },
            4 => Distribution::LogUniformValues { min_value: width, max_value: width * (1.0 + q) },
            5 => Distribution::Normal { mu: low, sigma: width },
            6 => Distribution::Qnormal { mu: low, sigma: width, q },
            7 => Distribution::Lognormal { mu: small_min, sigma: width / 1e2 },
            9 => {
                let (min_value, step) = (low as i64, q.ceil() as u64);
                Distribution::IntUniform { min_value, max_value: min_value + width as i64, step, grid_points: false }
            }
            10 => {
                let max_value = width * (1.0 + q);
                Distribution::QLogUniformValues { min_value: width, max_value, q, grid_points: false }
            }
            8 => Distribution::Qlognormal { mu: small_min, sigma: width / 1e2, q },
            _ => Distribution::Randint { upper: width as u64 + 1, grid_points: false },
        }
    })
}

/// A small finite space in which later parameters may depend on any other, also on ones written after them: four
/// parameters of at most seven values, so that all of its 2,401 cells can be walked.
fn conditional_space() -> impl Strategy<Value = SearchSpace> {
    let parameter = (finite(), any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (prop::collection::vec(parameter, 1..=4), any::<bool>()).prop_map(|(drafts, backwards)| {
        let mut parameters: Vec<Parameter> = Vec::new();
        for (at, (distribution, conditional, parent, value)) in drafts.into_iter().enumerate() {
            let mut when = Vec::new();
            if conditional && at > 0 {
                let parent = &parameters[parent.index(at)];
                let values = match &parent.distribution {
                    Distribution::Choice { values, .. } => vec![values[value.index(values.len())].clone()],
                    Distribution::Randint { upper, .. } => vec![Value::Number(value.index(*upper as usize) as f64)],
                    Distribution::IntUniform { .. } => vec![value.get(&values_of(&parent.distribution)).clone()],
                    _ => Vec::new(),
                };
                if !values.is_empty() {
                    when.push(Condition { parent: parent.name.clone(), values });
                }
            }
            parameters.push(Parameter { name: format!("p{at}"), distribution, when, default: None });
        }
        if backwards {
            parameters.reverse();
        }
        SearchSpace { parameters, ..SearchSpace::default() }
    })
}

/// Each parameter's values in order; the definition that grids and counts are compared with.
fn values_of(distribution: &Distribution) -> Vec<Value> {
    match distribution {
        Distribution::Choice { values, .. } => values.clone(),
        Distribution::Randint { upper, .. } => (0..*upper).map(|value| Value::Number(value as f64)).collect(),
        Distribution::IntUniform { min_value, max_value, step, .. } => {
            (*min_value..=*max_value).step_by(*step as usize).map(|value| Value::Number(value as f64)).collect()
        }
        Distribution::Quniform { min_value, max_value, q, .. }
        | Distribution::QLogUniformValues { min_value, max_value, q, .. } => {
            let steps = ((max_value - min_value) / q) as u64;
            (0..=steps).map(|step| Value::Number(min_value + step as f64 * q)).collect()
        }
        other => panic!("{} is not enumerated", other.kind()),
    }
}

fn active(space: &SearchSpace, all: &Configuration) -> Configuration {
    let mut kept = all.clone();
    loop {
        let before = kept.len();
        for parameter in &space.parameters {
            let holds = |condition: &Condition| {
                kept.get(&condition.parent).is_some_and(|value| condition.values.contains(value))
            };
            if !parameter.when.iter().all(holds) {
                kept.remove(&parameter.name);
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

/// The active combinations, each at the first place that it has in the row-major product.
fn enumerate(space: &SearchSpace) -> Vec<Configuration> {
    let mut product = vec![Configuration::new()];
    for parameter in &space.parameters {
        let values = values_of(&parameter.distribution);
        let longer = |configuration: &Configuration| {
            let with = |value: &Value| {
                let mut next = configuration.clone();
                next.insert(parameter.name.clone(), value.clone());
                next
            };
            values.iter().map(with).collect::<Vec<_>>()
        };
        product = product.iter().flat_map(longer).collect();
    }
    let mut seen = HashSet::new();
    product.iter().map(|all| active(space, all)).filter(|kept| seen.insert(kept.clone())).collect()
}

fn run(space: &SearchSpace, sampler: &SamplerSpec, most: u64) -> Vec<Proposal> {
    let (mut proposals, mut seen, mut next_index) = (Vec::new(), HashSet::new(), 0);
    for number in 0..most {
        let taken = |configuration: &Configuration| seen.contains(&fingerprint(configuration));
        let Some(proposal) = propose(space, sampler, 11, number, next_index, &taken) else { break };
        next_index = proposal.index + 1;
        assert!(seen.insert(fingerprint(&proposal.configuration())), "{proposal:?} is a repetition");
        proposals.push(proposal);
    }
    proposals
}

proptest! {
    #![proptest_config(testkit::properties(200))]

    #[test]
    fn a_grid_is_every_active_combination_once_in_order(space in conditional_space()) {
        prop_assert!(space.check().iter().all(|issue| issue.warning || issue.code == "DegenerateRange"));
        let want = enumerate(&space);
        let cells = run(&space, &SamplerSpec::Grid, CELLS_MAX);
        let got: Vec<Configuration> = cells.iter().map(Proposal::configuration).collect();
        prop_assert_eq!(grid_size(&space).unwrap(), Some(want.len() as u64));
        prop_assert_eq!(finite_size(&space), Some(want.len() as u128));
        let first = got.iter().zip(&want).position(|(got, want)| got != want);
        prop_assert_eq!((got.len(), first), (want.len(), None), "{:?}", first.map(|at| (&got[at], &want[at])));
    }

    #[test]
    fn finite_spaces_are_used_up_without_repetition(space in conditional_space()) {
        let size = finite_size(&space).unwrap() as usize;
        for sampler in [RANDOM, SOBOL] {
            // Points of a small share may stay undrawn; nothing is proposed twice and nothing is made up.
            let proposals = run(&space, &sampler, CELLS_MAX);
            prop_assert!(proposals.len() <= size);
            prop_assert!(size > 16 || proposals.len() >= size.div_ceil(2), "{} of {}", proposals.len(), size);
        }
    }

    #[test]
    fn values_are_finite_inside_the_bounds_and_on_the_lattice(
        distribution in any_distribution(), seed: u64, number: u64, extreme in 0_u8..3,
    ) {
        let space = one("x", distribution.clone());
        prop_assume!(space.check().iter().all(|issue| issue.warning));
        let u = match extreme {
            0 => f64::EPSILON / 2.0,
            1 => 1.0 - f64::EPSILON / 2.0,
            _ => propose(&space, &RANDOM, seed, number, 0, &never).unwrap().draws[0].u,
        };
        prop_assert!(0.0 < u && u < 1.0);
        let value = space.value_of(0, u).as_number().unwrap();
        prop_assert!(value.is_finite());
        let (bounds, q) = match distribution {
            Distribution::Uniform { min_value, max_value }
            | Distribution::LogUniformValues { min_value, max_value } => (Some((min_value, max_value)), None),
            Distribution::Quniform { min_value, max_value, q, .. }
            | Distribution::QLogUniformValues { min_value, max_value, q, .. } => {
                (Some((min_value, max_value)), Some(q))
            }
            Distribution::Loguniform { min_value, max_value, .. } => {
                (Some((libm::exp(min_value), libm::exp(max_value))), None)
            }
            // The last step is exact where the power of the bound is off by its rounding.
            Distribution::Qloguniform { min_value, max_value, q, .. } => {
                let (low, high) = (libm::exp(min_value), libm::exp(max_value));
                (Some((low - 1e-9 * low.max(q), high + 1e-9 * high.max(q))), Some(q))
            }
            Distribution::IntUniform { min_value, max_value, step, .. } => {
                let steps = (value - min_value as f64) / step as f64;
                prop_assert!(steps.fract() == 0.0, "{value} is no whole number of steps from {min_value}");
                (Some((min_value as f64, max_value as f64)), Some(1.0))
            }
            Distribution::Qnormal { q, .. } | Distribution::Qlognormal { q, .. } => (None, Some(q)),
            Distribution::Randint { upper, .. } => (Some((0.0, upper as f64 - 1.0)), Some(1.0)),
            _ => (None, None),
        };
        if let Some((low, high)) = bounds {
            prop_assert!(low <= value && value <= high, "{value} outside [{low}, {high}]");
        }
        if let Some(q) = q {
            let steps = value / q;
            prop_assert!((steps - steps.round()).abs() <= 1e-9 * steps.abs().max(1.0), "{value} is no multiple of {q}");
        }
    }

    #[test]
    fn an_added_parameter_or_condition_changes_no_other(
        first in any_distribution(), second in any_distribution(), seed: u64, number in 0_u64..1000,
    ) {
        let mut space = one("x", first);
        let gate =
            Distribution::Choice { values: vec![Value::from(true), Value::from(false)], weights: None, ordered: false };
        space.parameters.push(named("gate", gate, Vec::new()));
        prop_assume!(space.check().iter().all(|issue| issue.warning));
        for sampler in [RANDOM, SOBOL] {
            let small = propose(&space, &sampler, seed, number, number, &never).unwrap();
            let mut larger = space.clone();
            let when = vec![Condition { parent: "gate".to_owned(), values: vec![Value::from(true)] }];
            larger.parameters.push(named("y", second.clone(), when));
            let large = propose(&larger, &sampler, seed, number, number, &never).unwrap();
            prop_assert_eq!(&small.draws[..], &large.draws[..small.draws.len()]);
            let open = large.draws[1].value == Value::from(true);
            prop_assert_eq!(large.draws.len(), if open { 3 } else { 2 });
        }
        // With `random` not even the order counts.
        let mut reversed = space.clone();
        reversed.parameters.reverse();
        let ask = |space: &SearchSpace| propose(space, &RANDOM, seed, number, 0, &never).unwrap().configuration();
        prop_assert_eq!(ask(&space), ask(&reversed));
    }

    #[test]
    fn spaces_and_proposals_survive_json(space in conditional_space(), other in any_distribution(), seed: u64) {
        let mut space = space;
        space.parameters.push(named("other", other, Vec::new()));
        let text = serde_json::to_string(&space).unwrap();
        prop_assert_eq!(&serde_json::from_str::<SearchSpace>(&text).unwrap(), &space);
        let proposal = propose(&space, &RANDOM, seed, 3, 0, &never).unwrap();
        let text = serde_json::to_string(&proposal).unwrap();
        let read: Proposal = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(read.draws[0].u.to_bits(), proposal.draws[0].u.to_bits());
        prop_assert_eq!(read, proposal);
    }
}

fn named(name: &str, distribution: Distribution, when: Vec<Condition>) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when, default: None }
}

fn one(name: &str, distribution: Distribution) -> SearchSpace {
    let parameters = vec![Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }];
    SearchSpace { parameters, ..SearchSpace::default() }
}

/// Values that another implementation of the published rules gave, in Python with scipy: they may change only together
/// with `SAMPLER_VERSION`.
#[test]
fn the_first_proposals_are_these() {
    let mut space = one("lr", Distribution::Uniform { min_value: 0.0, max_value: 1.0 });
    space.parameters.push(one("units", Distribution::Randint { upper: 1000, grid_points: false }).parameters.remove(0));
    let numbers = |sampler: &SamplerSpec| -> Vec<String> {
        let values = |proposal: Proposal| proposal.draws.iter().map(|draw| draw.value.argv_text()).collect::<Vec<_>>();
        run(&space, sampler, 3).into_iter().map(|proposal| values(proposal).join(" ")).collect()
    };
    assert_eq!(SAMPLER_VERSION, 2);
    assert_eq!(numbers(&RANDOM), ["0.4554285050651822 705", "0.36196621026691045 828", "0.44011028609353475 437"]);
    assert_eq!(numbers(&SOBOL), ["0.5777026722852184 236", "0.0017292275124808354 672", "0.7875238355667838 945"]);
    assert_eq!(trial_seed(11, 3), 10369929062802234782);
}

/// A batch size of 63.99999999999998 breaks scripts. What an older version recorded is computed by its own rule, also
/// where a model made the number.
#[test]
fn a_lattice_of_powers_ends_exactly_since_version_2() {
    let (min_value, max_value) = (libm::log(32.0), libm::log(64.0));
    let sizes = Distribution::Qloguniform { min_value, max_value, q: 1.0, bounds: Bounds::default() };
    let space = one("size", sizes);
    let older = space.as_of(SamplerVersion::recorded(1).unwrap());
    let of = |space: &SearchSpace| {
        let mut values: Vec<f64> =
            run(space, &SOBOL, 33).iter().filter_map(|made| made.draws[0].value.as_number()).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let whole: Vec<f64> = (32..=64).map(f64::from).collect();
    assert_eq!(of(&space), whole);
    assert_eq!(of(&older)[..32], whole[..32]);
    assert_eq!(of(&older)[32], 63.99999999999998);
    let last = Proposal { draws: vec![space.draw_of(0, &Value::from(64.0)).unwrap()], index: 0, redraw: 0 };
    assert_eq!(last.draws[0].value, Value::from(64.0));
    assert_eq!(older.revalued(last).draws[0].value, Value::from(63.99999999999998));
    assert_eq!(SamplerVersion::recorded(SAMPLER_VERSION + 1), None);
    assert_eq!(SamplerVersion::recorded(0), None);
}

/// Integers as people write them: both ends included, steps from the first, and as many on each step of a log scale as
/// it is wide.
#[test]
fn integers_of_both_kinds_have_a_grid() {
    let odd = Distribution::IntUniform { min_value: 3, max_value: 10, step: 2, grid_points: true };
    let sizes = Distribution::QLogUniformValues { min_value: 1.0, max_value: 3.0, q: 1.0, grid_points: true };
    let mut space = one("odd", odd);
    space.parameters.push(one("size", sizes).parameters.remove(0));
    let cells = run(&space, &SamplerSpec::Grid, 20);
    let values = |cell: &Proposal| cell.draws.iter().map(|draw| draw.value.argv_text()).collect::<Vec<_>>().join(" ");
    let found: Vec<String> = cells.iter().map(values).collect();
    assert_eq!(found, ["3 1", "3 2", "3 3", "5 1", "5 2", "5 3", "7 1", "7 2", "7 3", "9 1", "9 2", "9 3"]);
    for cell in &cells {
        for (place, draw) in cell.draws.iter().enumerate() {
            assert_eq!(space.value_of(place, draw.u), draw.value, "the number of a cell gives its value");
        }
    }
}

/// 1,024 scrambled points put one point into each of 1,024 slices of every dimension, and 32 x 32 boxes of the first
/// two.
#[test]
fn sobol_points_are_even() {
    let mut space = SearchSpace::default();
    for at in 0..256 {
        let distribution = Distribution::Uniform { min_value: 0.0, max_value: 1.0 };
        space.parameters.push(Parameter { name: format!("p{at}"), distribution, when: Vec::new(), default: None });
    }
    assert_eq!(space.check(), []);
    let mut slices = vec![HashSet::new(); 256];
    let mut boxes = HashSet::new();
    for index in 0..1024 {
        let draws = propose(&space, &SOBOL, 5, index, index, &never).unwrap().draws;
        for (slices, draw) in slices.iter_mut().zip(&draws) {
            slices.insert((draw.u * 1024.0) as u32);
        }
        boxes.insert(((draws[0].u * 32.0) as u32, (draws[1].u * 32.0) as u32));
    }
    assert!(slices.iter().all(|slices| slices.len() == 1024));
    assert_eq!(boxes.len(), 1024);
}

#[test]
fn a_space_with_one_configuration_is_used_up_after_it() {
    let space = one("x", Distribution::Choice { values: vec![Value::from(0.5)], weights: None, ordered: false });
    for sampler in [RANDOM, SOBOL, SamplerSpec::Grid] {
        assert_eq!(run(&space, &sampler, 10).len(), 1, "{sampler:?}");
    }
}

#[test]
fn values_compare_and_are_written_as_documented() {
    let one: Value = serde_json::from_str("1").unwrap();
    assert_eq!(one, serde_json::from_str::<Value>("1.0").unwrap());
    assert_ne!(one, serde_json::from_str::<Value>("true").unwrap());
    assert_ne!(one, serde_json::from_str::<Value>("\"1\"").unwrap());
    assert_eq!(Value::from(0.0), Value::from(-0.0));
    assert_eq!(
        serde_json::to_string(&[Value::from(16.0), Value::from(0.1), Value::from(true)]).unwrap(),
        "[16,0.1,true]"
    );
    assert_eq!(Value::from(64.0).argv_text(), "64");
    assert_eq!(trialog_tuning::parameter_environment_name("lr-rate.max"), "TRIALOG_PARAM_LR_RATE_MAX");
}

#[test]
fn large_grids_start_at_once_and_resume_anywhere() {
    // The gate is written last, so every inactive child value has to be passed over.
    let mut space = SearchSpace::default();
    for at in 0..8 {
        let when = vec![Condition { parent: "gate".to_owned(), values: vec![Value::from(true)] }];
        let distribution = Distribution::Randint { upper: 100, grid_points: true };
        space.parameters.push(Parameter { name: format!("p{at}"), distribution, when, default: None });
    }
    let gate =
        Distribution::Choice { values: vec![Value::from(false), Value::from(true)], weights: None, ordered: false };
    space.parameters.push(named("gate", gate, Vec::new()));
    assert_eq!(grid_size(&space).unwrap(), Some(100_u64.pow(8) + 1));
    let proposals = run(&space, &SamplerSpec::Grid, 100);
    assert_eq!(proposals.len(), 100);
    assert_eq!(proposals[0].draws.len(), 1);
    let resumed = propose(&space, &SamplerSpec::Grid, 0, 0, proposals[98].index + 1, &never).unwrap();
    assert_eq!(resumed, proposals[99]);
}
