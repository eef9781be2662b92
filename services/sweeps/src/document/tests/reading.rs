//! What a good document becomes: defaults, the stored form, the rendered command, the plan, and changes.

use documents::Format;
use tuning::{Configuration, Goal, PolicySpec, Rule, SamplerSpec, Value};

use super::super::{
    Filling, InputMode, ServerLimits, SweepSpec, parameter_variables, plan, read_changes, read_sweep, render_command,
    render_environment_variables,
};
use super::{cluster, document, found_in, read};

const DIGITS: &str = r#"
name: digits
experiment: digits
description: a real one
tags: {team: vision}
cluster: spot
mode: managed
objective: {goal: maximize, primary_metric: val_acc, on_non_finite: ignore}
search_space:
  lr: {type: log_uniform_values, min_value: 0.0001, max_value: 1}
  batch: {type: choice, values: [16, 32, 64]}
sampling_algorithm: {type: random, rule: sobol, seed: 7}
early_termination: {type: bandit, slack_amount: 0.1, evaluation_interval: 2, delay_evaluation: 5}
limits: {max_total_trials: 40, max_concurrent_trials: 4, timeout_seconds: 3600}
record_keeps: false
trial:
  command: [python, train.py, --lr, "${{search_space.lr}}", [--batch, "${{search_space.batch}}"], "${{inputs.data}}/x"]
  environment: {python: /abs/path/to/python}
  environment_variables: {RUN: "${{sweep.id}}/${{trial.index}}", B: "b=${{search_space.batch}}"}
  inputs: {data: {uri: "file:///data", mode: mount}}
  outputs: {model: {}}
  resources: {cpu_count: 1, gpu_count: 0, memory_bytes: 1073741824, node_count: 1}
  checkpoint: true
  prepare: [pip, install, -r, requirements.txt]
"#;

fn digits() -> SweepSpec {
    let (spec, warnings) = read(DIGITS, Format::Yaml, true).unwrap();
    assert_eq!(warnings, []);
    spec
}

#[test]
fn a_whole_document_is_read_and_stored_without_loss() {
    let spec = digits();
    assert_eq!((spec.name.as_deref(), spec.experiment.as_str(), spec.seed), (Some("digits"), "digits", Some(7)));
    assert_eq!(spec.objective.goal, Goal::Maximize);
    assert_eq!(spec.sampler, SamplerSpec::Random { rule: Rule::Sobol });
    assert_eq!(spec.space.parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["lr", "batch"]);
    assert!(matches!(spec.policy, PolicySpec::Bandit { slack_amount: Some(_), delay_evaluation: 5, .. }));
    assert_eq!(spec.trial.inputs["data"].mode, InputMode::Mount);
    let stored = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<SweepSpec>(&stored).unwrap(), spec, "{stored}");
    assert!(stored.contains(r#"["--batch","${{search_space.batch}}"]"#), "{stored}");
}

#[test]
fn defaults_are_filled_in() {
    let (spec, _) =
        read_sweep(document(&[("limits", "")]).as_bytes(), Format::Yaml, &ServerLimits::default(), None, true).unwrap();
    let limits = &spec.limits;
    assert_eq!((limits.max_total_trials, limits.max_concurrent_trials), (1000, 100));
    assert_eq!((limits.timeout_seconds, limits.trial_timeout_seconds), (5_184_000.0, None));
    assert_eq!((limits.max_failed_trials, limits.max_retries), (crate::document::FailedTrials::InARow(3), 0));
    assert_eq!((spec.experiment.as_str(), spec.seed, spec.record_keeps), ("Default", None, false));
    assert_eq!(spec.policy, PolicySpec::None);
    let (spec, _) = read(&document(&[("limits", "{max_total_trials: 3}")]), Format::Yaml, true).unwrap();
    assert_eq!(spec.limits.max_concurrent_trials, 3);
}

#[test]
fn commands_and_variables_are_rendered() {
    let spec = digits();
    let all = Configuration::from([("lr".to_owned(), Value::from(1e-7)), ("batch".to_owned(), Value::from(64.0))]);
    let filling = Filling { parameters: &all, trial_index: 3, sweep_id: "sweep_A" };
    let command = ["python", "train.py", "--lr", "1e-7", "--batch", "64", "${{inputs.data}}/x"];
    assert_eq!(render_command(&spec, &filling), command);
    let variables = render_environment_variables(&spec, &filling);
    assert_eq!((variables["RUN"].as_str(), variables["B"].as_str()), ("sweep_A/3", "b=64"));
    assert_eq!(parameter_variables(&all)["TRIALOG_PARAM_LR"], "1e-7");
    // An inactive parameter takes its group and its variable along.
    let one = Configuration::from([("lr".to_owned(), Value::from(0.5))]);
    let filling = Filling { parameters: &one, ..filling };
    assert_eq!(render_command(&spec, &filling), ["python", "train.py", "--lr", "0.5", "${{inputs.data}}/x"]);
    assert!(!render_environment_variables(&spec, &filling).contains_key("B"));
}

#[test]
fn a_text_command_is_split_once_and_values_stay_whole() {
    let changes = [
        ("trial", r#"{command: "sh -c 'echo \"$1\"' x --m=${{search_space.m}}"}"#),
        ("search_space", "{m: {type: choice, values: ['a b; $(c)', d]}}"),
    ];
    let (spec, _) = read(&document(&changes), Format::Yaml, true).unwrap();
    let parameters = Configuration::from([("m".to_owned(), Value::from("a b; $(c)"))]);
    let filling = Filling { parameters: &parameters, trial_index: 0, sweep_id: "s" };
    assert_eq!(render_command(&spec, &filling), ["sh", "-c", "echo \"$1\"", "x", "--m=a b; $(c)"]);
}

#[test]
fn the_plan_counts_trials_intervals_and_gates() {
    let spec = digits();
    let answer = plan(&spec, Some(&cluster()));
    assert_eq!(answer.trials, 40);
    assert_eq!(answer.intervals_at_which_policy_acts[..3], [6, 8, 10]);
    assert_eq!(answer.gates.len(), 2, "{:?}", answer.gates);
    let small = document(&[("search_space", "{a: {type: randint, upper: 3}}")]);
    assert_eq!(plan(&read(&small, Format::Yaml, true).unwrap().0, None).trials, 3);
}

#[test]
fn large_and_late_things_have_their_own_answers() {
    let many: String = (0..312).map(|n| format!("p{n}: {{type: randint, upper: 2}}, ")).collect();
    let text = document(&[("search_space", &format!("{{{many}}}"))]);
    let problem = read(&text, Format::Yaml, false).unwrap_err();
    assert_eq!(found_in(&problem), [("TooLarge", "/search_space")]);
    assert_eq!(problem.detail, "search_space has 312 parameters, limit 256");
    let problem = read(&" ".repeat((1 << 20) + 1), Format::Json, false).unwrap_err();
    assert_eq!((problem.status, problem.code.as_str()), (413, "TooLarge"));
    let empty = super::ClusterFacts { max_nodes: 0, ..cluster() };
    let problem =
        read_sweep(document(&[]).as_bytes(), Format::Yaml, &ServerLimits::default(), Some(&empty), false).unwrap_err();
    assert_eq!(found_in(&problem), [("NeverSchedulable", "/cluster")]);
}

#[test]
fn messages_say_what_was_meant() {
    for (changes, message) in [
        (
            [("limits", "{max_trails: 3}")],
            "limits.max_trails: unknown; did you mean max_new_trials? The fields here are max_total_trials, \
             max_new_trials, max_concurrent_trials, timeout_seconds, trial_timeout_seconds, max_failed_trials, \
             max_retries, max_trials_without_improvement, convergence",
        ),
        (
            [("search_space", "{lr: {type: loguni}}")],
            "search_space.lr.type 'loguni': one of choice, randint, int_uniform, uniform, quniform, loguniform, \
             qloguniform, log_uniform_values, q_log_uniform_values, normal, qnormal, lognormal, qlognormal; did \
             you mean loguniform?",
        ),
        (
            [("trial", "{command: [x, '${{search_space.lrr}}']}")],
            "trial.command[1]: ${{search_space.lrr}} refers to nothing: unknown lrr; did you mean lr?",
        ),
        (
            [("trial", "{command: [x, '${{lr}}']}")],
            "trial.command[1]: ${{lr}} refers to nothing: unknown lr; did you mean search_space.lr?",
        ),
        ([("limits", "{max_total_trials: 0}")], "limits.max_total_trials: 0 is not in 1..=1000"),
    ] {
        assert_eq!(read(&document(&changes), Format::Yaml, false).unwrap_err().detail, message);
    }
}

#[test]
fn a_conditional_parameter_is_to_be_written_with_the_flag_that_stands_there() {
    // `--l1_ratio=` was advised for a script that knows `--l1-ratio`: whoever did that met an unknown option.
    let space =
        "{o: {type: choice, values: [a, b]}, l1_ratio: {type: uniform, min_value: 0, max_value: 1, when: {o: a}}}";
    let ways = [
        ("--l1-ratio ${{search_space.l1_ratio}}", "--l1-ratio=${{search_space.l1_ratio}}, or"),
        (
            "-r ${{search_space.l1_ratio}}",
            "the command as a list with a group, [\"-r\", \"${{search_space.l1_ratio}}\"]",
        ),
        ("fit ${{search_space.l1_ratio}}", "--l1_ratio=${{search_space.l1_ratio}}, or"),
        ("--x=1 ${{search_space.l1_ratio}}", "--l1_ratio=${{search_space.l1_ratio}}, or"),
    ];
    for (written, advised) in ways {
        let command = format!("{{command: 'x --kind=${{{{search_space.o}}}} {written}'}}");
        let changed = document(&[("search_space", space), ("trial", &command)]);
        let problem = read(&changed, Format::Yaml, false).unwrap_err();
        assert!(problem.detail.contains(&format!("; write {advised}")), "{}", problem.detail);
    }
}

#[test]
fn words_of_other_tools_lead_to_ours() {
    // (section, its text, pointer, what is meant): one at least of each tool that people come from.
    for (section, text, pointer, meant) in [
        // Azure
        ("compute", "azureml:cpu", "/compute", "cluster"),
        ("experiment_name", "x", "/experiment_name", "experiment"),
        ("early_termination", "{type: bandit, slack_factor: 0.1, delay_interval: 5}", "", "delay_evaluation"),
        // W&B
        ("parameters", "{}", "/parameters", "search_space"),
        ("method", "bayes", "/method", "sampling_algorithm"),
        ("metric", "{name: loss, goal: minimize}", "/metric", "objective"),
        ("sampling_algorithm", "{type: bayes}", "/sampling_algorithm/type", "bayesian"),
        ("search_space", "{lr: {distribution: uniform, min: 0, max: 1}}", "/search_space/lr/distribution", "type"),
        ("search_space", "{lr: {type: uniform, min: 0, max: 1}}", "/search_space/lr/max", "max_value"),
        // Ray
        ("early_termination", "{type: asha, grace_period: 2, max_resource: 9}", "", "min_resource"),
        ("early_termination", "{type: asha, max_t: 9}", "/early_termination/max_t", "max_resource"),
        ("early_termination", "{type: ASHAScheduler}", "/early_termination/type", "asha"),
        // Optuna
        ("n_trials", "20", "/n_trials", "limits.max_total_trials"),
        ("search_space", "{lr: {type: suggest_float}}", "/search_space/lr/type", "uniform, or log_uniform_values"),
        ("search_space", "{lr: {suggest_int: [1, 3]}}", "/search_space/lr/suggest_int", "type: int_uniform"),
        ("sampling_algorithm", "{type: TPESampler}", "", "bayesian, with method: tpe"),
        // Katib
        ("limits", "{maxTrialCount: 3}", "/limits/maxTrialCount", "max_total_trials"),
        ("objective", "{objectiveMetricName: a, goal: max}", "/objective/objectiveMetricName", "primary_metric"),
        ("search_space", "{lr: {parameterType: double, feasibleSpace: {}}}", "", "type"),
    ] {
        let problem = read(&document(&[(section, text)]), Format::Yaml, false).unwrap_err();
        let says = format!("did you mean {meant}");
        let told = |error: &vocabulary::FieldError| error.message.contains(&says) && error.pointer.starts_with(pointer);
        assert!(problem.errors.iter().any(told), "{section}: {text}: {problem:?}");
    }
}

#[test]
fn only_limits_description_and_tags_change() {
    let spec = digits();
    let change = |text: &str| read_changes(text.as_bytes(), Format::Json, &ServerLimits::default(), &spec);
    let (changes, _) = change(r#"{"limits": {"max_total_trials": 2}, "tags": {}, "description": "x"}"#).unwrap();
    let limits = changes.limits.unwrap();
    assert_eq!((limits.max_total_trials, limits.max_concurrent_trials, limits.timeout_seconds), (2, 2, 3600.0));
    assert_eq!((changes.description.as_deref(), changes.tags.map(|tags| tags.len())), (Some("x"), Some(0)));
    assert_eq!(change("{}").unwrap().0, super::super::SweepChanges::default());
    let problem = change(r#"{"trial": {}, "name": "x", "description": "y"}"#).unwrap_err();
    assert_eq!((problem.status, found_in(&problem)), (409, vec![("Immutable", "/name"), ("Immutable", "/trial")]));
    assert_eq!(change(r#"{"limits": {"max_retries": 99}}"#).unwrap_err().status, 422);
    assert_eq!(change(r#"{"lmits": {}}"#).unwrap_err().status, 400);
}
