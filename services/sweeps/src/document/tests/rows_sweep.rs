//! Rules 1 to 4 and 34 to 45: the document as a whole, the policy, the objective, the limits, and what comes later.

use super::{Case, Expect::Accepted, Expect::Refused, Expect::Warned, check};

#[test]
fn the_document() {
    check(&[
        Case(0, &[], Accepted),
        Case(1, &[("trial", "{command: [a]")], Refused(400, &[("MalformedBody", "")])),
        Case(
            3,
            &[("limits", "{max_trails: 3, max_concurrent_trials: 0}"), ("expirement", "x")],
            Refused(
                400,
                &[
                    ("UnknownField", "/expirement"),
                    ("OutOfRange", "/limits/max_concurrent_trials"),
                    ("UnknownField", "/limits/max_trails"),
                ],
            ),
        ),
        Case(
            4,
            &[("cluster", ""), ("objective", ""), ("search_space", ""), ("sampling_algorithm", ""), ("trial", "")],
            Refused(
                422,
                &[
                    ("Required", "/cluster"),
                    ("Required", "/objective"),
                    ("Required", "/sampling_algorithm"),
                    ("Required", "/search_space"),
                    ("Required", "/trial"),
                ],
            ),
        ),
        Case(
            4,
            &[("name", "a/b"), ("experiment", "7"), ("tags", "{a: 1}"), ("description", "[]"), ("record_keeps", "yes")],
            Refused(
                422,
                &[
                    ("WrongType", "/description"),
                    ("WrongType", "/experiment"),
                    ("BadName", "/name"),
                    ("WrongType", "/record_keeps"),
                    ("WrongType", "/tags/a"),
                ],
            ),
        ),
    ]);
}

#[test]
fn an_external_sweep_says_nothing_of_running() {
    check(&[
        Case(4, &[("mode", "external"), ("cluster", ""), ("trial", "")], Accepted),
        Case(
            4,
            &[("mode", "external"), ("trial", "{comand: 7}")],
            Refused(422, &[("NotInExternal", "/cluster"), ("NotInExternal", "/trial")]),
        ),
        Case(
            41,
            &[
                ("mode", "external"),
                ("cluster", ""),
                ("trial", ""),
                ("limits", "{max_total_trials: 2000000, max_concurrent_trials: 10000}"),
                ("early_termination", "{type: bandit, slack_amount: 0.1}"),
            ],
            Accepted,
        ),
        Case(
            41,
            &[
                ("mode", "external"),
                ("cluster", ""),
                ("trial", ""),
                ("limits", "{max_total_trials: 2000001, max_concurrent_trials: 10001}"),
            ],
            Refused(
                422,
                &[("OutOfRange", "/limits/max_concurrent_trials"), ("OutOfRange", "/limits/max_total_trials")],
            ),
        ),
        Case(
            41,
            &[("mode", "external"), ("cluster", ""), ("trial", ""), ("limits", "{max_retries: 1}")],
            Refused(422, &[("NotInExternal", "/limits/max_retries")]),
        ),
    ]);
}

#[test]
fn what_comes_later_is_refused_by_name() {
    check(&[
        Case(0, &[("mode", "managed")], Accepted),
        Case(0, &[("mode", "manged")], Refused(422, &[("BadMode", "/mode")])),
    ]);
}

#[test]
fn populations() {
    check(&[
        Case(
            0,
            &[
                ("early_termination", "{type: pbt, perturbation_interval: 5}"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[
                ("early_termination", "{type: pbt, perturbation_interval: 1, quantile: 0.5, resample_probability: 0}"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[
                ("early_termination", "{type: pbt, perturbation_interval: 5, quantile: 0.1}"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Warned(&[("PopulationTooSmall", "/limits/max_concurrent_trials")]),
        ),
    ]);
}

#[test]
fn populations_that_cannot_be() {
    check(&[
        Case(
            0,
            &[("early_termination", "{type: pbt, perturbation_interval: 5}")],
            Refused(422, &[("NeedsCheckpoint", "/early_termination/type")]),
        ),
        Case(
            0,
            &[
                ("early_termination", "{type: pbt, perturbation_interval: 5}"),
                ("sampling_algorithm", "bayesian"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Refused(422, &[("NotWithBayesian", "/sampling_algorithm")]),
        ),
        Case(
            0,
            &[("early_termination", "{type: pbt, quantile: half}")],
            Refused(
                422,
                &[
                    ("Required", "/early_termination/perturbation_interval"),
                    ("WrongType", "/early_termination/quantile"),
                ],
            ),
        ),
        Case(
            0,
            &[
                ("early_termination", "{type: pbt, perturbation_interval: 2, evaluation_interval: 2}"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Refused(422, &[("UnknownField", "/early_termination/evaluation_interval")]),
        ),
        Case(
            0,
            &[("early_termination", "{type: pbt, perturbation_interval: 0, quantile: 0, resample_probability: 1.5}")],
            Refused(
                422,
                &[
                    ("BadInterval", "/early_termination/perturbation_interval"),
                    ("OutOfRange", "/early_termination/quantile"),
                    ("OutOfRange", "/early_termination/resample_probability"),
                ],
            ),
        ),
    ]);
}

#[test]
fn warm_starts() {
    check(&[
        Case(56, &[("resume_from", "[a, b, c, d, e]"), ("resume_trials", "[a/0, {sweep: e, trial: 1}]")], Accepted),
        Case(56, &[("resume_from", "{sweeps: [a], space: intersect}")], Accepted),
        Case(56, &[("resume_from", "[a, b, c, d, e, f]")], Refused(422, &[("WarmStartMismatch", "/resume_from")])),
        Case(56, &[("resume_from", "[]")], Refused(422, &[("WarmStartMismatch", "/resume_from")])),
        Case(56, &[("resume_from", "[a, a]")], Refused(422, &[("WarmStartMismatch", "/resume_from/1")])),
        Case(
            56,
            &[("resume_from", "{sweeps: [a], space: alike}")],
            Refused(422, &[("BadSpaceRule", "/resume_from/space")]),
        ),
        Case(0, &[("resume_trials", "[a/0]")], Refused(422, &[("Required", "/resume_trials")])),
        Case(
            0,
            &[("resume_from", "[a]"), ("resume_trials", "[a/0, a/0, b/1, seven]")],
            Refused(
                422,
                &[
                    ("DuplicateTrial", "/resume_trials/1"),
                    ("WarmStartMismatch", "/resume_trials/2"),
                    ("BadTrial", "/resume_trials/3"),
                ],
            ),
        ),
    ]);
}

#[test]
fn policies_with_rungs() {
    check(&[
        Case(0, &[("early_termination", "{type: asha, max_resource: 9}")], Accepted),
        Case(
            0,
            &[("early_termination", "{type: asha, reduction_factor: 2, min_resource: 3, max_resource: 9}")],
            Accepted,
        ),
        Case(0, &[("early_termination", "{type: hyperband, max_resource: 81}")], Accepted),
        Case(0, &[("early_termination", "{type: learning_curve, max_resource: 52, share: 0.5, hope: 3}")], Accepted),
        Case(
            4,
            &[("early_termination", "{type: asha}")],
            Refused(422, &[("Required", "/early_termination/max_resource")]),
        ),
        Case(0, &[("early_termination", "hyperband")], Refused(422, &[("WrongType", "/early_termination")])),
        Case(
            0,
            &[("early_termination", "{type: asha, max_resource: 9, evaluation_interval: 1, delay_evaluation: 0}")],
            Refused(
                422,
                &[
                    ("UnknownField", "/early_termination/delay_evaluation"),
                    ("UnknownField", "/early_termination/evaluation_interval"),
                ],
            ),
        ),
        Case(
            0,
            &[("early_termination", "{type: asha, max_resource: 4, min_resource: 4, reduction_factor: 1}")],
            Refused(
                422,
                &[
                    ("BadRange", "/early_termination/max_resource"),
                    ("OutOfRange", "/early_termination/reduction_factor"),
                ],
            ),
        ),
        Case(
            0,
            &[("early_termination", "{type: hyperband, max_resource: 1.5, reduction_factor: two, min_resource: -1}")],
            Refused(
                422,
                &[
                    ("OutOfRange", "/early_termination/max_resource"),
                    ("OutOfRange", "/early_termination/min_resource"),
                    ("OutOfRange", "/early_termination/reduction_factor"),
                ],
            ),
        ),
    ]);
}

#[test]
fn promotion_needs_checkpoints() {
    check(&[
        Case(
            0,
            &[("early_termination", "{type: asha, max_resource: 9, variant: promote}")],
            Refused(422, &[("UnknownVariant", "/early_termination/variant")]),
        ),
        Case(
            0,
            &[("early_termination", "{type: asha, max_resource: 9, variant: promotion}")],
            Refused(422, &[("NeedsCheckpoint", "/early_termination/variant")]),
        ),
        Case(
            0,
            &[
                ("early_termination", "{type: asha, max_resource: 9, variant: promotion}"),
                ("trial", "{command: [python, /train.py], checkpoint: true}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[("early_termination", "{type: learning_curve, max_resource: 9, share: 0}")],
            Refused(422, &[("OutOfRange", "/early_termination/share")]),
        ),
    ]);
}

#[test]
fn what_is_enough() {
    check(&[
        Case(
            0,
            &[
                ("objective", "{goal: maximize, primary_metric: a, target: 0.9}"),
                ("limits", "{max_total_trials: 4, max_trials_without_improvement: 3, convergence: {patience: 3}}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[("objective", "{goal: maximize, primary_metric: a, target: NaN}")],
            Refused(422, &[("BadTarget", "/objective/target")]),
        ),
        Case(
            13,
            &[("objective", "{goal: maximize, primary_metric: a, target: 1e999}")],
            Refused(422, &[("NotFinite", "/objective/target")]),
        ),
        Case(
            41,
            &[("limits", "{max_trials_without_improvement: 0, convergence: {patience: 0, relative_improvement: -1}}")],
            Refused(
                422,
                &[
                    ("OutOfRange", "/limits/convergence/patience"),
                    ("OutOfRange", "/limits/convergence/relative_improvement"),
                    ("OutOfRange", "/limits/max_trials_without_improvement"),
                ],
            ),
        ),
        Case(4, &[("limits", "{convergence: {}}")], Refused(422, &[("Required", "/limits/convergence/patience")])),
    ]);
}

#[test]
fn policies() {
    check(&[
        Case(0, &[("early_termination", "none")], Accepted),
        Case(0, &[("early_termination", "{type: none}")], Accepted),
        Case(0, &[("early_termination", "{type: bandit, slack_amount: 0.1, delay_evaluation: 5}")], Accepted),
        Case(34, &[("early_termination", "{type: bandit}")], Refused(422, &[("ExactlyOne", "/early_termination")])),
        Case(
            34,
            &[("early_termination", "{type: bandit, slack_factor: 1, slack_amount: 1}")],
            Refused(422, &[("ExactlyOne", "/early_termination/slack_amount")]),
        ),
        Case(
            35,
            &[("early_termination", "{type: bandit, slack_factor: 0}")],
            Refused(422, &[("BadSlack", "/early_termination/slack_factor")]),
        ),
        Case(
            35,
            &[("early_termination", "{type: bandit, slack_amount: -1}")],
            Refused(422, &[("BadSlack", "/early_termination/slack_amount")]),
        ),
        Case(
            36,
            &[("early_termination", "{type: truncation_selection, truncation_percentage: 100}")],
            Refused(422, &[("BadPercentage", "/early_termination/truncation_percentage")]),
        ),
        Case(
            36,
            &[("early_termination", "{type: truncation_selection, truncation_percentage: 20.5}")],
            Refused(422, &[("BadPercentage", "/early_termination/truncation_percentage")]),
        ),
        Case(
            36,
            &[("early_termination", "{type: truncation_selection, truncation_percentage: 300}")],
            Refused(422, &[("BadPercentage", "/early_termination/truncation_percentage")]),
        ),
        Case(
            37,
            &[("early_termination", "{type: median_stopping, evaluation_interval: 0}")],
            Refused(422, &[("BadInterval", "/early_termination/evaluation_interval")]),
        ),
        Case(
            37,
            &[("early_termination", "{type: median_stopping, evaluation_interval: -1, delay_evaluation: -5}")],
            Refused(
                422,
                &[
                    ("BadInterval", "/early_termination/delay_evaluation"),
                    ("BadInterval", "/early_termination/evaluation_interval"),
                ],
            ),
        ),
        Case(
            38,
            &[("early_termination", "{type: hyperbnd, eta: 3}")],
            Refused(422, &[("UnknownPolicy", "/early_termination/type")]),
        ),
        Case(
            3,
            &[("early_termination", "{type: median_stopping, slack_factor: 1}")],
            Refused(400, &[("UnknownField", "/early_termination/slack_factor")]),
        ),
    ]);
}

#[test]
fn objective_and_limits() {
    check(&[
        Case(39, &[("objective", "{goal: max, primary_metric: a}")], Refused(422, &[("BadGoal", "/objective/goal")])),
        Case(39, &[("objective", "{goal: 1, primary_metric: a}")], Refused(422, &[("BadGoal", "/objective/goal")])),
        Case(39, &[("objective", "{goal: MINIMIZE, primary_metric: a, on_non_finite: fail}")], Accepted),
        Case(
            40,
            &[("objective", "{goal: minimize, primary_metric: ''}")],
            Refused(422, &[("BadMetricName", "/objective/primary_metric")]),
        ),
        Case(
            40,
            &[("objective", "{goal: minimize, primary_metric: \"a\\tb\"}")],
            Refused(422, &[("BadMetricName", "/objective/primary_metric")]),
        ),
        Case(41, &[("limits", "{max_total_trials: 0}")], Refused(422, &[("OutOfRange", "/limits/max_total_trials")])),
        Case(
            41,
            &[(
                "limits",
                "{max_total_trials: 1001, max_concurrent_trials: 101, max_failed_trials: 0, max_retries: 11}",
            )],
            Refused(
                422,
                &[
                    ("OutOfRange", "/limits/max_concurrent_trials"),
                    ("OutOfRange", "/limits/max_failed_trials"),
                    ("OutOfRange", "/limits/max_retries"),
                    ("OutOfRange", "/limits/max_total_trials"),
                ],
            ),
        ),
        Case(
            42,
            &[("limits", "{max_total_trials: 4, max_concurrent_trials: 8}")],
            Refused(422, &[("ConcurrencyAboveTotal", "/limits/max_concurrent_trials")]),
        ),
    ]);
}

#[test]
fn limits_on_a_cluster() {
    check(&[
        Case(
            43,
            &[("limits", "{max_total_trials: 40, max_concurrent_trials: 8}")],
            Warned(&[("GatedByCluster", "/limits/max_concurrent_trials")]),
        ),
        Case(
            44,
            &[(
                "trial",
                "{command: [x], resources: {node_count: 8, cpu_count: 2, gpu_count: 1, memory_bytes: 99999999999}}",
            )],
            Refused(
                422,
                &[
                    ("NeverSchedulable", "/trial/resources/cpu_count"),
                    ("NeverSchedulable", "/trial/resources/gpu_count"),
                    ("NeverSchedulable", "/trial/resources/memory_bytes"),
                    ("NeverSchedulable", "/trial/resources/node_count"),
                ],
            ),
        ),
        Case(
            44,
            &[("trial", "{command: [x], resources: {node_count: 2}}")],
            Refused(422, &[("NotOfferedYet", "/trial/resources/node_count")]),
        ),
        Case(
            45,
            &[("limits", "{max_concurrent_trials: 1, timeout_seconds: 0, trial_timeout_seconds: -1}")],
            Refused(422, &[("BadTimeout", "/limits/timeout_seconds"), ("BadTimeout", "/limits/trial_timeout_seconds")]),
        ),
        Case(
            45,
            &[("limits", "{max_concurrent_trials: 1, timeout_seconds: 60, trial_timeout_seconds: 61}")],
            Refused(422, &[("BadTimeout", "/limits/trial_timeout_seconds")]),
        ),
    ]);
}
