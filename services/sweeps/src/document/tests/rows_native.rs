//! Conditions, weights, defaults, several objectives: the parts of native documents that Azure never had.

use super::{Case, Expect::Accepted, Expect::Refused, check};

#[test]
fn conditions() {
    check(&[
        Case(
            0,
            &[(
                "search_space",
                "{o: {type: choice, values: [sgd, adam, lamb], weights: [3, 1, 1], default: adam}, \
                     m: {type: uniform, min_value: 0, max_value: 1, when: {o: sgd}}, b: {type: uniform, \
                     min_value: 0, max_value: 1, when: {o: [adam, lamb], n: 1}, default: 0.5}, \
                     n: {type: randint, upper: 3, default: 1}}",
            )],
            Accepted,
        ),
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: uniform, min_value: 0, max_value: 1, when: {b: 1, c: 7}}, \
                     c: {type: randint, upper: 3}, d: {type: uniform, min_value: 0, max_value: 1, \
                     when: {a: 1}}, e: {type: randint, upper: 3, when: {}}, f: {type: randint, upper: 3, \
                     when: [c]}}",
            )],
            Refused(
                422,
                &[
                    ("UnknownParent", "/search_space/a/when/b"),
                    ("ImpossibleCondition", "/search_space/a/when/c"),
                    ("ImpossibleCondition", "/search_space/d/when/a"),
                    ("ImpossibleCondition", "/search_space/e/when"),
                    ("WrongType", "/search_space/f/when"),
                ],
            ),
        ),
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: randint, upper: 3, when: {b: 1}}, b: {type: randint, upper: 3, \
                     when: {a: 1}}}",
            )],
            Refused(422, &[("ConditionCycle", "/search_space/a/when/b")]),
        ),
    ]);
}

#[test]
fn weights_and_defaults() {
    check(&[
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: choice, values: [1, 2], weights: [1]}, b: {type: choice, values: [1, 2], \
                     weights: [1, 0]}}",
            )],
            Refused(422, &[("BadWeights", "/search_space/a/weights"), ("BadWeights", "/search_space/b/weights/1")]),
        ),
        Case(
            0,
            &[
                ("search_space", "{a: {type: choice, values: [1, 2], weights: [1, 2], default: 1}}"),
                ("sampling_algorithm", "grid"),
            ],
            Refused(422, &[("BadDefault", "/search_space/a/default"), ("BadWeights", "/search_space/a/weights")]),
        ),
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: uniform, min_value: 0, max_value: 1, default: 2}, b: {type: choice, \
                     values: [x], default: y}, c: {type: quniform, min_value: 0, max_value: 1, q: 0.5, \
                     default: 0.4}, d: {type: randint, upper: 2, default: [1]}}",
            )],
            Refused(
                422,
                &[
                    ("BadDefault", "/search_space/a/default"),
                    ("BadDefault", "/search_space/b/default"),
                    ("BadDefault", "/search_space/c/default"),
                    ("BadChoiceValue", "/search_space/d/default"),
                ],
            ),
        ),
    ]);
}

#[test]
fn references_to_what_is_not_always_there() {
    check(&[
        Case(
            0,
            &[
                (
                    "search_space",
                    "{o: {type: choice, values: [a, b]}, m: {type: uniform, min_value: 0, max_value: 1, \
                     when: {o: a}}}",
                ),
                ("trial", "{command: 'x --o ${{search_space.o}} --m ${{search_space.m}}'}"),
            ],
            Refused(422, &[("ConditionalReference", "/trial/command")]),
        ),
        Case(
            0,
            &[
                (
                    "search_space",
                    "{o: {type: choice, values: [a, b]}, m: {type: uniform, min_value: 0, max_value: 1, \
                     when: {o: a}}}",
                ),
                ("trial", "{command: 'x --o ${{search_space.o}} --m=${{search_space.m}}'}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[
                (
                    "search_space",
                    "{o: {type: choice, values: [a, b]}, m: {type: uniform, min_value: 0, max_value: 1, \
                     when: {o: a}}}",
                ),
                ("trial", "{command: [x, '--o=${{search_space.o}}', [--m, '${{search_space.m}}']]}"),
            ],
            Accepted,
        ),
    ]);
}

#[test]
fn what_does_not_go_with_several_objectives() {
    check(&[
        Case(
            0,
            &[
                ("constraints", "[{metric: memory, op: <=, value: 4}]"),
                ("sampling_algorithm", "{type: bayesian, method: cma_es}"),
                ("resume_from", "[old]"),
            ],
            Refused(422, &[("OneObjectiveOnly", "/sampling_algorithm/method")]),
        ),
        Case(
            0,
            &[
                ("constraints", "[{metric: memory, op: <=, value: 4}]"),
                ("sampling_algorithm", "{type: bayesian, method: tpe}"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[
                ("compat", "azure"),
                ("objective", ""),
                ("objectives", "[{primary_metric: a, goal: minimize}, {primary_metric: b, goal: maximize}]"),
                ("constraints", "[{metric: memory, op: <=, value: 4}]"),
            ],
            Refused(422, &[("NotInCompat", "/constraints"), ("NotInCompat", "/objectives")]),
        ),
        // What needs one best trial does not go with several objectives, all of it said at once.
        Case(
            0,
            &[
                ("objective", ""),
                ("objectives", "[{primary_metric: a, goal: minimize}, {primary_metric: b, goal: maximize}]"),
                ("early_termination", "{type: bandit, slack_amount: 0.1}"),
                ("limits", "{max_trials_without_improvement: 5, convergence: {patience: 3}}"),
                ("resume_from", "[old]"),
            ],
            Refused(
                422,
                &[
                    ("SeveralObjectives", "/early_termination"),
                    ("SeveralObjectives", "/limits/convergence"),
                    ("SeveralObjectives", "/limits/max_trials_without_improvement"),
                ],
            ),
        ),
        Case(
            0,
            &[("objective", ""), ("objectives", "[{primary_metric: a, goal: minimize, target: 3}]")],
            Refused(400, &[("UnknownField", "/objectives/0/target")]),
        ),
    ]);
}

#[test]
fn objectives_and_constraints() {
    check(&[
        Case(0, &[("objective", ""), ("objectives", "[{primary_metric: a, goal: Minimize}]")], Accepted),
        Case(
            0,
            &[
                ("objective", ""),
                ("objectives", "[{primary_metric: a, goal: minimize}, {primary_metric: b, goal: maximize}]"),
                ("constraints", "[{metric: memory, op: <=, value: 4}, {metric: a, op: '>=', value: -1e9}]"),
            ],
            Accepted,
        ),
        Case(
            0,
            &[
                ("constraints", "[{metric: memory, op: <=, value: 4}]"),
                ("early_termination", "{type: median_stopping}"),
            ],
            Accepted,
        ),
        Case(
            34,
            &[("objectives", "[{primary_metric: a, goal: minimize}]")],
            Refused(422, &[("ExactlyOne", "/objectives")]),
        ),
        Case(
            39,
            &[
                ("objective", ""),
                (
                    "objectives",
                    "[{primary_metric: a, goal: smallest}, {primary_metric: a, goal: minimize}, \
                     {goal: minimize}, {primary_metric: ''}]",
                ),
                ("constraints", "[{metric: '', op: <, value: .inf}, {}]"),
            ],
            Refused(
                422,
                &[
                    ("BadMetricName", "/constraints/0/metric"),
                    ("BadOperator", "/constraints/0/op"),
                    ("NotFinite", "/constraints/0/value"),
                    ("Required", "/constraints/1/metric"),
                    ("Required", "/constraints/1/op"),
                    ("Required", "/constraints/1/value"),
                    ("OutOfRange", "/objectives"),
                    ("BadGoal", "/objectives/0/goal"),
                    ("DuplicateValue", "/objectives/1/primary_metric"),
                    ("Required", "/objectives/2/primary_metric"),
                    ("Required", "/objectives/3/goal"),
                    ("BadMetricName", "/objectives/3/primary_metric"),
                ],
            ),
        ),
        Case(0, &[("objective", "{goal: minimize, primary_metric: a, noise: declared}")], Accepted),
        Case(
            0,
            &[("objective", "{goal: minimize, primary_metric: a, noise: some}")],
            Refused(422, &[("BadNoise", "/objective/noise")]),
        ),
    ]);
}
