//! What a model does with trials that are stopped early, that have not ended, and that fail.

use trialog_tuning::bayes::{Outcome, Suggestion, Tuner, TunerSetup};
use trialog_tuning::{
    Condition, Configuration, Distribution, End, Goal, Method, Parameter, PolicySpec, Report, Rule, SamplerSpec,
    SearchSpace, Trials, TunerVersion, Value, Variant, Verdict, propose, rung_intervals,
};

fn parameter(name: &str, distribution: Distribution) -> Parameter {
    Parameter { name: name.to_owned(), distribution, when: Vec::new(), default: None }
}

fn uniform(min_value: f64, max_value: f64) -> Distribution {
    Distribution::Uniform { min_value, max_value }
}

fn choice(values: &[&str]) -> Distribution {
    let values = values.iter().map(|value| Value::from(*value)).collect();
    Distribution::Choice { values, weights: None, ordered: false }
}

fn when(parameter: Parameter, model: &str) -> Parameter {
    let condition = Condition { parent: "model".to_owned(), values: vec![Value::from(model)] };
    Parameter { when: vec![condition], ..parameter }
}

/// The newcomer's space: seven parameters, five of which exist with one model only.
fn conditional() -> SearchSpace {
    let log = |low, high| Distribution::LogUniformValues { min_value: low, max_value: high };
    let whole = |low, high| Distribution::IntUniform { min_value: low, max_value: high, step: 1, grid_points: false };
    let parameters = vec![
        parameter("model", choice(&["forest", "boosting", "ridge"])),
        parameter("scale", choice(&["standard", "none"])),
        when(parameter("depth", whole(2, 20)), "forest"),
        when(parameter("leaf", whole(1, 20)), "forest"),
        when(parameter("rate", log(1e-3, 1.0)), "boosting"),
        when(parameter("stages", whole(10, 200)), "boosting"),
        when(parameter("alpha", log(1e-4, 100.0)), "ridge"),
    ];
    SearchSpace { parameters, ..SearchSpace::default() }
}

fn setup(space: SearchSpace, at_once: u64, seed: u64, version: u32) -> TunerSetup {
    TunerSetup {
        space,
        method: Method::Auto,
        goal: Goal::Minimize,
        outputs: Vec::new(),
        seed,
        noisy: false,
        max_total_trials: 100,
        max_concurrent_trials: at_once,
        version: TunerVersion::recorded(version).expect("as it should"),
    }
}

fn number(configuration: &Configuration, name: &str) -> f64 {
    configuration.get(name).and_then(Value::as_number).unwrap_or(0.0)
}

/// The loss after some reports; `None` where the configuration fails, NaN where it never has a value.
fn loss(configuration: &Configuration, reports: u32) -> Option<f64> {
    let at = |name| number(configuration, name);
    let floor = match &configuration["model"] {
        Value::Text(model) if model == "forest" => {
            if at("depth") > 16.0 {
                return None;
            }
            0.2 + (at("depth") - 9.0).abs() / 30.0 + at("leaf") / 100.0
        }
        Value::Text(model) if model == "boosting" => {
            if at("rate") > 0.5 {
                return Some(f64::NAN);
            }
            0.1 + (libm::log10(at("rate")) + 1.2).abs() / 4.0 + (at("stages") - 120.0).abs() / 500.0
        }
        _ => 0.4 + (libm::log10(at("alpha")) - 0.5).abs() / 5.0,
    };
    Some(floor + 1.5 / f64::from(reports))
}

/// A sweep with successive halving from 3 to 27 reports, four at once that report in turn.
struct Sweep {
    tuner: Tuner,
    curves: Trials,
    rungs: Vec<u32>,
    made: Vec<Suggestion>,
    live: Vec<u32>,
}

impl Sweep {
    fn new(setup: TunerSetup) -> Self {
        let policy = PolicySpec::Asha {
            reduction_factor: 3,
            min_resource: 3,
            max_resource: 27,
            variant: Variant::Stopping,
            finish_seconds: 600.0,
        };
        let (rungs, curves) = (rung_intervals(&policy), Trials::new(policy, Goal::Minimize));
        Self { tuner: Tuner::new(setup), curves, rungs, made: Vec::new(), live: Vec::new() }
    }

    fn fill(&mut self, total: u32, at_once: usize) {
        while self.live.len() < at_once && self.made.len() < total as usize {
            if let Some(task) = self.tuner.fit_due() {
                self.tuner.use_fit(task.run());
            }
            let (number, known) = (u32::try_from(self.made.len()).expect("few"), self.tuner.known());
            let suggestion = self.tuner.suggest(number, known).expect("as it should");
            self.tuner.proposed(number, &suggestion.proposal.draws, Some(known));
            self.made.push(suggestion);
            self.live.push(number);
        }
    }

    fn end(&mut self, trial: u32, end: End, outcome: Outcome) {
        self.curves.end(trial, end);
        self.live.retain(|other| *other != trial);
        self.tuner.ended(trial, outcome);
    }

    /// One report of a trial.
    fn step(&mut self, trial: u32) {
        let configuration = self.made[trial as usize].proposal.configuration();
        let reports = self.curves.interval(trial) + 1;
        let Some(value) = loss(&configuration, reports) else {
            return self.end(trial, End::Failed, Outcome::Failed);
        };
        let report = Report { trial, attempt: 1, step: i64::from(reports), value, position: 0 };
        self.curves.report(&report);
        let best = self.curves.standing(trial).map(|standing| standing.value);
        if let Some(value) = best.filter(|_| self.rungs.contains(&reports)) {
            self.tuner.ended(trial, Outcome::Reached { value, reports });
        }
        let stops = matches!(self.curves.judge(trial), Verdict::Stop(_));
        match best {
            Some(value) if stops => {
                self.curves.stop(trial, false);
                self.end(trial, End::EarlyStopped, Outcome::Censored { value, reports });
            }
            Some(value) if reports == 27 => self.end(trial, End::Completed, Outcome::Value(value)),
            None if reports == 27 => self.end(trial, End::Completed, Outcome::Failed),
            _ => {}
        }
    }

    fn run(setup: TunerSetup, total: u32) -> Self {
        let at_once = usize::try_from(setup.max_concurrent_trials).expect("as it should");
        let mut sweep = Self::new(setup);
        sweep.fill(total, at_once);
        while !sweep.live.is_empty() {
            for trial in sweep.live.clone() {
                sweep.step(trial);
                sweep.fill(total, at_once);
            }
        }
        sweep
    }

    fn of_design(&self) -> usize {
        self.made.iter().filter(|suggestion| suggestion.explained.by == "sobol").count()
    }
}

#[test]
fn with_early_stopping_most_proposals_come_from_the_model() {
    for seed in 0..4 {
        let sweep = Sweep::run(setup(conditional(), 4, seed, 2), 40);
        assert!(sweep.of_design() <= 16, "seed {seed}: {} of 40 from the design", sweep.of_design());
        // The rules of older sweeps are still there, and are what they were.
        let older = Sweep::run(setup(conditional(), 4, seed, 1), 40);
        assert!(older.of_design() > 16, "seed {seed}: {} of 40 from the design", older.of_design());
    }
}

#[test]
fn it_says_what_it_waits_for() {
    // Eight at once: with seven under way the model begins after seven of the fourteen that the design has.
    let mut tuner = Tuner::new(setup(conditional(), 8, 5, 2));
    for trial in 0..14 {
        let suggestion = tuner.suggest(trial, tuner.known()).unwrap();
        assert_eq!(suggestion.explained.why, format!("part of the initial design: proposal {} of 14", trial + 1));
        tuner.proposed(trial, &suggestion.proposal.draws, Some(tuner.known()));
    }
    tuner.ended(0, Outcome::Censored { value: 0.5, reports: 3 });
    tuner.ended(1, Outcome::Censored { value: 0.6, reports: 3 });
    tuner.ended(2, Outcome::Censored { value: 0.4, reports: 9 });
    tuner.ended(3, Outcome::Value(0.2));
    tuner.ended(4, Outcome::Reached { value: 0.3, reports: 3 });
    tuner.ended(5, Outcome::Failed);
    let why = tuner.suggest(14, tuner.known()).unwrap().explained.why;
    let wanted = "the model starts after 7 observations; it has 6, of which 2 were cut at step 3, 1 was cut at step 9, \
                  1 is at step 3 yet, 1 gave no value";
    assert_eq!(why, wanted);
    assert!(tuner.fit_due().is_none());
    tuner.ended(6, Outcome::Reached { value: 0.35, reports: 3 });
    let why = tuner.suggest(14, tuner.known()).unwrap().explained.why;
    assert_eq!(why, "the model's first fit, to 7 observations, is being made");
    tuner.use_fit(tuner.fit_due().unwrap().run());
    assert_eq!(tuner.suggest(14, tuner.known()).unwrap().explained.by, "gp");
}

#[test]
fn a_value_from_few_reports_is_moved_by_what_the_others_gained_since() {
    // Two trials stand at the same value: one has ended there, one has just begun and will fall as all the others did.
    let space = SearchSpace { parameters: vec![parameter("x", uniform(0.0, 1.0))], ..SearchSpace::default() };
    let mut tuner = Tuner::new(setup(space.clone(), 4, 5, 2));
    for trial in 0..10_u32 {
        let draws = vec![space.draw_of(0, &Value::Number((f64::from(trial) + 0.5) / 12.0)).unwrap()];
        tuner.proposed(trial, &draws, None);
        tuner.ended(trial, Outcome::Reached { value: 1.5, reports: 3 });
        if trial < 9 {
            tuner.ended(trial, Outcome::Value(if trial == 0 { 1.5 } else { 0.5 }));
        }
    }
    tuner.use_fit(tuner.fit_due().unwrap().run());
    let suggestion = tuner.suggest(10, tuner.known()).unwrap();
    // Where the last one stands the model expects what it is expected to come to.
    let near = suggestion.explained.incumbent.unwrap();
    assert!((near - 0.5).abs() < 0.2, "{:?}", suggestion.explained);
    assert!(suggestion.proposal.draws[0].u > 0.05, "not beside the one that has ended badly: {suggestion:?}");
}

/// A space in which three configurations in ten fail, with what promises most right behind the border.
struct Corner {
    parameters: Vec<Parameter>,
    fails: fn(&Configuration) -> bool,
    loss: fn(&Configuration) -> f64,
}

fn corners() -> Vec<(&'static str, Corner)> {
    let cube = || ["x", "y", "z"].map(|name| parameter(name, uniform(0.0, 1.0))).to_vec();
    let side = Corner {
        parameters: cube(),
        fails: |c| number(c, "x") > 0.7,
        loss: |c| (number(c, "x") - 0.85).powi(2) + (number(c, "y") - 0.4).powi(2) + 0.3 * number(c, "z"),
    };
    let square = Corner {
        parameters: cube(),
        fails: |c| number(c, "x") > 0.4523 && number(c, "y") > 0.4523,
        loss: |c| (number(c, "x") - 0.7).powi(2) + (number(c, "y") - 0.5).powi(2) + (number(c, "z") - 0.2).powi(2),
    };
    let kinds = Corner {
        parameters: [vec![parameter("kind", choice(&["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]))], cube()]
            .concat(),
        fails: |c| matches!(&c["kind"], Value::Text(kind) if ["c", "f", "h"].contains(&kind.as_str())),
        loss: |c| (number(c, "x") - 0.6).powi(2) + number(c, "y") + (number(c, "z") - 0.2).powi(2),
    };
    let models = Corner {
        parameters: conditional().parameters,
        fails: |c| number(c, "depth") > 11.0 || number(c, "rate") > 0.2,
        loss: |c| loss(c, 27).filter(|loss| loss.is_finite()).unwrap_or(0.05),
    };
    vec![("side", side), ("square", square), ("kinds", kinds), ("models", models)]
}

/// How many of the model's sixty proposals failed, after forty random trials.
fn in_the_corner(corner: &Corner, method: Method, seed: u64) -> usize {
    let space = SearchSpace { parameters: corner.parameters.clone(), ..SearchSpace::default() };
    let mut tuner = Tuner::new(TunerSetup { method, ..setup(space.clone(), 1, seed, 2) });
    let (mut seen, mut failed) = (0, 0);
    for number in 0..100 {
        let random = SamplerSpec::Random { rule: Rule::Random };
        let (draws, of_model) = if number < 40 {
            (propose(&space, &random, seed, u64::from(number), 0, &|_| false).expect("as it should").draws, false)
        } else {
            if let Some(task) = tuner.fit_due() {
                tuner.use_fit(task.run());
            }
            let suggestion = tuner.suggest(number, number).expect("as it should");
            assert_ne!(suggestion.explained.by, "sobol", "{}", suggestion.explained.why);
            (suggestion.proposal.draws, true)
        };
        tuner.proposed(number, &draws, of_model.then_some(number));
        let configuration = draws.into_iter().map(|draw| (draw.name, draw.value)).collect();
        let fails = (corner.fails)(&configuration);
        failed += usize::from(fails && of_model);
        seen += usize::from(fails && !of_model);
        let value = (corner.loss)(&configuration);
        tuner.ended(number, if fails { Outcome::Failed } else { Outcome::Value(value) });
    }
    assert!(seen >= 5, "{seen} failures were seen before the model began");
    failed
}

#[test]
fn the_model_keeps_away_from_where_trials_fail() {
    for (name, corner) in corners() {
        for method in [Method::Gp, Method::Tpe] {
            let failed: usize = (0..2).map(|seed| in_the_corner(&corner, method, seed)).sum();
            assert!(failed * 20 <= 2 * 60, "{name} {method:?}: {failed} of 120 proposals failed");
        }
    }
}
