//! `compat: azure`, row by row.

use super::{Case, Expect::Accepted, Expect::Refused, Expect::Warned, check};

#[test]
fn what_azure_has() {
    check(&[
        Case(0, &[("compat", "azure")], Accepted),
        Case(0, &[("compat", "aws")], Refused(422, &[("BadCompat", "/compat")])),
        Case(
            0,
            &[
                ("compat", "azure"),
                (
                    "search_space",
                    "{lr: [loguniform, [-6, -1]], b: [choice, [[16, 32]]], n: [randint, [4]], \
                     q: [quniform, [0, 8, 2]], z: [qnormal, [0, 1, 0.5]]}",
                ),
                ("sampling_algorithm", "{type: random, rule: sobol, seed: 4, logbase: 10}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[("search_space", "{lr: [loguniform, [-6, -1]]}")],
            Refused(422, &[("WrongType", "/search_space/lr")]),
        ),
        Case(
            0,
            &[
                ("compat", "azure"),
                (
                    "search_space",
                    "{a: [loguniform, [-6, -1, 2]], b: [choice], c: [uniform, [1]], d: [loguni, []], \
                     e: [uniform, 1]}",
                ),
            ],
            Refused(
                422,
                &[
                    ("WrongType", "/search_space/a"),
                    ("WrongType", "/search_space/b"),
                    ("Required", "/search_space/c/max_value"),
                    ("UnknownDistribution", "/search_space/d/type"),
                    ("WrongType", "/search_space/e"),
                ],
            ),
        ),
        Case(
            12,
            &[("compat", "azure"), ("search_space", "{lr: [uniform, [3, 2]]}")],
            Refused(422, &[("BadRange", "/search_space/lr/min_value")]),
        ),
        Case(
            17,
            &[("compat", "azure"), ("search_space", "{n: [qnormal, [0, 1, 0]]}")],
            Refused(422, &[("BadQuantum", "/search_space/n/q")]),
        ),
        Case(19, &[("compat", "azure"), ("search_space", "{n: [quniform, [5, 7, 4]]}")], Accepted),
    ]);
}

#[test]
fn what_azure_does_not_have() {
    check(&[
        Case(
            0,
            &[
                ("compat", "azure"),
                (
                    "search_space",
                    "{o: {type: choice, values: [a, b], weights: [1, 2]}, p: {type: choice, values: [1, \
                     2], ordered: true}, m: {type: uniform, min_value: 0, max_value: 1, when: {o: a}}, \
                     l: {type: log_uniform_values, min_value: 1, max_value: 2}, n: {type: randint, \
                     upper: 3, grid_points: true}, d: {type: randint, upper: 3, default: 1}}",
                ),
            ],
            Refused(
                422,
                &[
                    ("NotInCompat", "/search_space/d/default"),
                    ("NotInCompat", "/search_space/l/type"),
                    ("NotInCompat", "/search_space/m/when"),
                    ("NotInCompat", "/search_space/n/grid_points"),
                    ("NotInCompat", "/search_space/o/weights"),
                    ("NotInCompat", "/search_space/p/ordered"),
                ],
            ),
        ),
        Case(
            0,
            &[("compat", "azure"), ("early_termination", "{type: asha, max_resource: 9}")],
            Refused(422, &[("NotInCompat", "/early_termination/type")]),
        ),
        Case(
            0,
            &[("compat", "azure"), ("early_termination", "hyperband")],
            Refused(422, &[("NotInCompat", "/early_termination")]),
        ),
        Case(
            0,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "{type: bayesian, method: gp}"),
                ("limits", "{max_total_trials: 40, max_concurrent_trials: 4}"),
            ],
            Refused(422, &[("NotInCompat", "/sampling_algorithm/method")]),
        ),
        Case(
            25,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "grid"),
                ("search_space", "{n: {type: quniform, min_value: 1, max_value: 9, q: 1}}"),
            ],
            Refused(422, &[("GridNeedsChoice", "/search_space/n/type")]),
        ),
    ]);
}

#[test]
fn bayesian_in_compat() {
    check(&[
        Case(
            28,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "bayesian"),
                (
                    "search_space",
                    "{a: {type: normal, mu: 0, sigma: 1}, b: {type: loguniform, min_value: -6, \
                     max_value: -1}, c: {type: randint, upper: 3}, d: {type: choice, values: [1, 2]}, \
                     e: {type: quniform, min_value: 0, max_value: 8, q: 2}}",
                ),
                ("limits", "{max_total_trials: 100, max_concurrent_trials: 4}"),
            ],
            Refused(
                422,
                &[
                    ("UnsupportedForBayesian", "/search_space/a/type"),
                    ("UnsupportedForBayesian", "/search_space/b/type"),
                    ("UnsupportedForBayesian", "/search_space/c/type"),
                ],
            ),
        ),
        Case(
            28,
            &[("sampling_algorithm", "bayesian"), ("search_space", "{a: {type: normal, mu: 0, sigma: 1}}")],
            Accepted,
        ),
        Case(
            29,
            &[("compat", "azure"), ("sampling_algorithm", "bayesian"), ("early_termination", "median_stopping")],
            Refused(422, &[("PolicyNotAllowed", "/early_termination")]),
        ),
        Case(
            29,
            &[("compat", "azure"), ("sampling_algorithm", "bayesian"), ("early_termination", "{type: none}")],
            Accepted,
        ),
        Case(29, &[("sampling_algorithm", "bayesian"), ("early_termination", "median_stopping")], Accepted),
    ]);
}

#[test]
fn sizes_and_seeds_of_bayesian() {
    check(&[
        Case(
            30,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "bayesian"),
                ("search_space", "{a: {type: quniform, min_value: 0, max_value: 100001, q: 1}}"),
            ],
            Refused(422, &[("TooManyPoints", "/search_space/a/q")]),
        ),
        Case(
            30,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "bayesian"),
                ("search_space", "{a: {type: quniform, min_value: 0, max_value: 100000, q: 1}}"),
            ],
            Accepted,
        ),
        Case(
            31,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "bayesian"),
                ("limits", "{max_total_trials: 39, max_concurrent_trials: 21}"),
                (
                    "search_space",
                    "{a: {type: uniform, min_value: 0, max_value: 1}, b: {type: uniform, min_value: 0, \
                     max_value: 1}}",
                ),
            ],
            Warned(&[
                ("HighConcurrency", "/limits/max_concurrent_trials"),
                ("GatedByCluster", "/limits/max_concurrent_trials"),
                ("FewTrials", "/limits/max_total_trials"),
            ]),
        ),
        Case(
            32,
            &[("compat", "azure"), ("sampling_algorithm", "{type: bayesian, seed: 1}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(
            32,
            &[
                ("compat", "azure"),
                ("sampling_algorithm", "{type: grid, seed: 1}"),
                ("search_space", "{a: {type: choice, values: [1]}}"),
            ],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(
            32,
            &[("compat", "azure"), ("sampling_algorithm", "{type: random, seed: -1}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(
            0,
            &[("sampling_algorithm", "{type: bayesian, logbase: 10}")],
            Refused(422, &[("BadLogbase", "/sampling_algorithm/logbase")]),
        ),
        Case(
            0,
            &[("sampling_algorithm", "{type: bayesian, seed: 1.5}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
    ]);
}

#[test]
fn policies_in_compat() {
    check(&[
        Case(
            35,
            &[("compat", "azure"), ("early_termination", "{type: bandit, slack_factor: 0, evaluation_interval: 0}")],
            Warned(&[
                ("BadInterval", "/early_termination/evaluation_interval"),
                ("SlackZero", "/early_termination/slack_factor"),
            ]),
        ),
        Case(
            35,
            &[("compat", "azure"), ("early_termination", "{type: bandit, slack_amount: -1, delay_evaluation: -1}")],
            Refused(422, &[("BadInterval", "/early_termination/delay_evaluation")]),
        ),
        Case(
            35,
            &[("compat", "azure"), ("early_termination", "{type: bandit, slack_amount: -1}")],
            Refused(422, &[("BadSlack", "/early_termination/slack_amount")]),
        ),
        Case(
            37,
            &[("compat", "azure"), ("early_termination", "{type: median_stopping, evaluation_interval: 0}")],
            Warned(&[("BadInterval", "/early_termination/evaluation_interval")]),
        ),
        Case(
            37,
            &[
                ("compat", "azure"),
                (
                    "early_termination",
                    "{type: truncation_selection, truncation_percentage: 20, evaluation_interval: -1}",
                ),
            ],
            Refused(422, &[("BadInterval", "/early_termination/evaluation_interval")]),
        ),
    ]);
}

#[test]
fn durations_in_compat() {
    check(&[
        Case(
            45,
            &[
                ("compat", "azure"),
                ("limits", "{max_total_trials: 4, max_concurrent_trials: 4, timeout: PT2H, trial_timeout: PT30M}"),
            ],
            Accepted,
        ),
        Case(
            45,
            &[
                ("compat", "azure"),
                (
                    "limits",
                    "{max_total_trials: 4, max_concurrent_trials: 4, timeout: 7200, \
                     trial_timeout_seconds: 60}",
                ),
            ],
            Accepted,
        ),
        Case(
            45,
            &[("compat", "azure"), ("limits", "{timeout: P1M, trial_timeout: PT0S, max_concurrent_trials: 4}")],
            Refused(422, &[("BadTimeout", "/limits/timeout"), ("BadTimeout", "/limits/trial_timeout")]),
        ),
        Case(
            45,
            &[("compat", "azure"), ("limits", "{timeout: PT1H, timeout_seconds: 3600, max_concurrent_trials: 4}")],
            Refused(422, &[("ExactlyOne", "/limits/timeout")]),
        ),
        Case(
            45,
            &[("compat", "azure"), ("limits", "{timeout: PT1H, trial_timeout: PT2H, max_concurrent_trials: 4}")],
            Refused(422, &[("BadTimeout", "/limits/trial_timeout")]),
        ),
        Case(3, &[("limits", "{timeout: 7200}")], Refused(400, &[("UnknownField", "/limits/timeout")])),
    ]);
}

#[test]
fn arguments_in_compat() {
    check(&[
        Case(
            0,
            &[("compat", "azure"), ("trial", "{command: [x, --lr, '0.1', --lr=3, --lrs, 4]}")],
            Warned(&[("ArgumentOverridden", "/trial/command")]),
        ),
        Case(0, &[("compat", "azure"), ("trial", "{command: 'x --epochs 4'}")], Accepted),
        Case(47, &[("compat", "azure"), ("trial", "{command: [x, '${{search_space.lr}}']}")], Accepted),
    ]);
}

/// What is appended to a command of an Azure file, and what gives way to it.
#[test]
fn arguments_are_appended() {
    let command = |text: &str| {
        let text = super::document(&[
            ("compat", "azure"),
            ("search_space", "{lr: [uniform, [0, 1]], n: [choice, [[1, 2]]]}"),
            ("trial", text),
        ]);
        let (spec, _) = super::read(&text, documents::Format::Yaml, false).unwrap();
        serde_json::to_string(&spec.trial.command).unwrap()
    };
    let appended = r#"["--lr","${{search_space.lr}}"],["--n","${{search_space.n}}"]]"#;
    for (text, kept) in [
        ("{command: [python, train.py]}", r#"["python","train.py","#),
        ("{command: 'train --lr 0.1 --epochs 3 --n=4'}", r#"["train","--epochs","3","#),
        ("{command: 'train --lr -1 --n --deep x'}", r#"["train","--deep","x","#),
        ("{command: 'train --lrs 1 ${{trial.index}}'}", r#"["train","--lrs","1","${{trial.index}}","#),
    ] {
        assert_eq!(command(text), format!("{kept}{appended}"), "{text}");
    }
    assert_eq!(command("{command: [x, '${{search_space.lr}}']}"), r#"["x","${{search_space.lr}}"]"#);
}

/// Durations are seconds in the limits, and quantised values follow the published formula.
#[test]
fn what_the_spec_of_an_azure_file_says() {
    let text = super::document(&[
        ("compat", "azure"),
        ("search_space", "{n: [quniform, [5, 7, 4]]}"),
        ("limits", "{max_total_trials: 4, timeout: P1DT1H, trial_timeout: PT90S}"),
        ("early_termination", "{type: bandit, slack_amount: 0, evaluation_interval: 0}"),
    ]);
    let (spec, _) = super::read(&text, documents::Format::Yaml, false).unwrap();
    assert_eq!((spec.limits.timeout_seconds, spec.limits.trial_timeout_seconds), (90_000.0, Some(90.0)));
    assert!(spec.space.compat);
    assert_eq!(spec.space.value_of(0, 0.01), tuning::Value::from(4.0));
    assert!(spec.policy.is_due(1));
    let again: super::SweepSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
    assert_eq!(again, spec);
}
