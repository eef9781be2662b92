//! What suggestions, fits and verdicts cost: `make bench-tuning`.
//!
//! The space is 10-dimensional and mixed: four floats (two of them logarithmic), four integers, two nominal choices.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use trialog_tuning::bayes::{Outcome, Tuner, TunerSetup};
use trialog_tuning::{
    Configuration, Distribution, Draw, Goal, Method, Parameter, PolicySpec, Report, Rule, SamplerSpec, SearchSpace,
    Trials, TunerVersion, Value, propose,
};

fn parameter(name: String, distribution: Distribution) -> Parameter {
    Parameter { name, distribution, when: Vec::new(), default: None }
}

fn space() -> SearchSpace {
    let mut parameters = Vec::new();
    for i in 0..2 {
        parameters.push(parameter(format!("x{i}"), Distribution::Uniform { min_value: -5.0, max_value: 5.0 }));
        let log = Distribution::LogUniformValues { min_value: 1e-4, max_value: 1.0 };
        parameters.push(parameter(format!("l{i}"), log));
        let whole = Distribution::Quniform { min_value: 1.0, max_value: 64.0, q: 1.0, grid_points: false };
        parameters.push(parameter(format!("i{i}"), whole));
        parameters.push(parameter(format!("r{i}"), Distribution::Randint { upper: 12, grid_points: false }));
        let values = ["a", "b", "c", "d"].map(Value::from).to_vec();
        parameters.push(parameter(format!("c{i}"), Distribution::Choice { values, weights: None, ordered: false }));
    }
    SearchSpace { parameters, ..SearchSpace::default() }
}

/// Smooth in the numbers, with a bonus for some categories.
fn value(draws: &[Draw]) -> f64 {
    draws
        .iter()
        .map(|draw| match &draw.value {
            Value::Text(text) if text == "b" => -0.2,
            Value::Text(_) => 0.1,
            _ => (draw.u - 0.3) * (draw.u - 0.3),
        })
        .sum()
}

/// A tuner with that many finished trials, from random proposals, and a fit.
fn tuner(method: Method, finished: u32) -> Tuner {
    let mut tuner = Tuner::new(TunerSetup {
        space: space(),
        method,
        goal: Goal::Minimize,
        outputs: Vec::new(),
        seed: 7,
        noisy: false,
        max_total_trials: 2_000,
        max_concurrent_trials: 8,
        version: TunerVersion::default(),
    });
    let sampler = SamplerSpec::Random { rule: Rule::Random };
    for trial in 0..finished {
        let taken = |_: &Configuration| false;
        let proposal = propose(&space(), &sampler, 7, u64::from(trial), 0, &taken).expect("the space is infinite");
        tuner.proposed(trial, &proposal.draws, None);
        tuner.ended(trial, Outcome::Value(value(&proposal.draws)));
    }
    if let Some(task) = tuner.fit_due() {
        tuner.use_fit(task.run());
    }
    tuner
}

fn suggestions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("suggest");
    group.sample_size(20);
    for (name, method, sizes) in [
        ("gp", Method::Gp, &[25, 100, 400, 1_000][..]),
        ("tpe", Method::Tpe, &[100, 1_000, 10_000][..]),
        ("cma_es", Method::CmaEs, &[100, 1_000][..]),
    ] {
        for &finished in sizes {
            let mut tuner = tuner(method, finished);
            group.bench_function(BenchmarkId::new(name, finished), |bencher| {
                bencher.iter(|| black_box(tuner.suggest(finished, finished)));
            });
        }
    }
    group.finish();
}

/// What one tell and the ask after it cost the model, fits left out.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tell_and_suggest");
    group.sample_size(20);
    for finished in [100, 1_000] {
        let mut tuner = tuner(Method::Gp, finished);
        let mut next = finished;
        group.bench_function(BenchmarkId::new("gp", finished), |bencher| {
            bencher.iter(|| {
                let suggestion = tuner.suggest(next, next).expect("the space is infinite");
                tuner.proposed(next, &suggestion.proposal.draws, Some(next));
                tuner.ended(next, Outcome::Value(value(&suggestion.proposal.draws)));
                next += 1;
            });
        });
    }
    group.finish();
}

fn fits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fit");
    group.sample_size(10);
    for finished in [25, 100, 400, 1_000] {
        let tuner = tuner(Method::Gp, finished);
        group.bench_function(BenchmarkId::new("from the prior", finished), |bencher| {
            bencher.iter(|| black_box(tuner.fit_task(finished, None).run()));
        });
    }
    group.finish();
}

fn model_free(criterion: &mut Criterion) {
    let (space, taken) = (space(), |_: &Configuration| false);
    for (name, rule) in [("random", Rule::Random), ("sobol", Rule::Sobol)] {
        let sampler = SamplerSpec::Random { rule };
        criterion.bench_function(&format!("propose/{name}"), |bencher| {
            bencher.iter(|| black_box(propose(&space, &sampler, 7, 500, 500, &taken)));
        });
    }
}

fn verdicts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("report_and_judge");
    let every = (1, 0);
    for (name, policy) in [
        (
            "bandit",
            PolicySpec::Bandit {
                slack_factor: None,
                slack_amount: Some(0.1),
                evaluation_interval: every.0,
                delay_evaluation: every.1,
            },
        ),
        ("median_stopping", PolicySpec::MedianStopping { evaluation_interval: every.0, delay_evaluation: every.1 }),
    ] {
        let mut trials = Trials::new(policy, Goal::Maximize);
        for trial in 0..1_000_u32 {
            let report =
                Report { trial, attempt: 1, step: 0, value: f64::from(trial % 97), position: u64::from(trial) };
            trials.report(&report);
        }
        let mut step = 0;
        group.bench_function(BenchmarkId::new(name, 1_000), |bencher| {
            bencher.iter(|| {
                step += 1;
                let report = Report { trial: 500, attempt: 1, step, value: 50.0, position: 5_000 };
                trials.report(&report);
                black_box(trials.judge(500))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, suggestions, pairs, fits, model_free, verdicts);
criterion_main!(benches);
