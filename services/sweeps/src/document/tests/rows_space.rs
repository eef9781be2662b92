//! Rules 5 to 33: the search space and the sampling algorithm.

use super::{Case, Expect::Accepted, Expect::Refused, Expect::Warned, check};

#[test]
fn spaces_and_choices() {
    check(&[
        Case(5, &[("search_space", "{}")], Refused(422, &[("EmptySpace", "/search_space")])),
        Case(5, &[("search_space", "[lr]")], Refused(422, &[("WrongType", "/search_space")])),
        Case(
            7,
            &[("search_space", "{lr: {type: loguni, min: 1}}")],
            Refused(422, &[("UnknownDistribution", "/search_space/lr/type")]),
        ),
        Case(7, &[("search_space", "{lr: {min_value: 1}}")], Refused(422, &[("Required", "/search_space/lr/type")])),
        Case(7, &[("search_space", "{lr: [uniform, [0, 1]]}")], Refused(422, &[("WrongType", "/search_space/lr")])),
        Case(
            8,
            &[("search_space", "{b: {type: choice, values: []}}")],
            Refused(422, &[("EmptyChoice", "/search_space/b/values")]),
        ),
        Case(
            9,
            &[("search_space", "{b: {type: choice, values: [16, 16.0]}}")],
            Refused(422, &[("DuplicateValue", "/search_space/b/values/1")]),
        ),
        Case(9, &[("search_space", "{b: {type: choice, values: [1, true, 2]}}")], Accepted),
        Case(10, &[("search_space", "{b: {type: choice, values: [16, a, 0.5, true, 'true']}}")], Accepted),
        // Everything that is wrong with a list is told at once, and a child of it is not blamed for its parent.
        Case(
            9,
            &[(
                "search_space",
                "{b: {type: choice, values: [a, a, null, 1, 1.0, true], weights: [1, -1, 1, 1, 1]}, \
                     c: {type: randint, upper: 3, when: {b: a}}}",
            )],
            Refused(
                422,
                &[
                    ("DuplicateValue", "/search_space/b/values/1"),
                    ("BadChoiceValue", "/search_space/b/values/2"),
                    ("DuplicateValue", "/search_space/b/values/4"),
                    ("BadWeights", "/search_space/b/weights"),
                    ("BadWeights", "/search_space/b/weights/1"),
                ],
            ),
        ),
        Case(
            11,
            &[("search_space", "{b: {type: choice, values: [1, 2, null, {a: 1}, [1], .nan, 1e999]}}")],
            Refused(
                422,
                &[
                    ("BadChoiceValue", "/search_space/b/values/2"),
                    ("BadChoiceValue", "/search_space/b/values/3"),
                    ("BadChoiceValue", "/search_space/b/values/4"),
                    ("BadChoiceValue", "/search_space/b/values/5"),
                    ("BadChoiceValue", "/search_space/b/values/6"),
                ],
            ),
        ),
        Case(
            0,
            &[("search_space", "{b: {type: choice, values: [1, 2], weights: [1, 0]}}")],
            Refused(422, &[("BadWeights", "/search_space/b/weights/1")]),
        ),
        Case(
            0,
            &[("search_space", "{b: {type: choice, values: ['${{inputs.x}}']}}")],
            Refused(422, &[("BadChoiceValue", "/search_space/b/values/0")]),
        ),
    ]);
}

#[test]
fn a_null_is_told_the_way_out() {
    let text = super::document(&[("search_space", "{b: {type: choice, values: [1, null]}}")]);
    let problem = super::read(&text, documents::Format::Yaml, false).unwrap_err();
    let message = &problem.errors[0].message;
    assert!(message.starts_with("search_space.b.values[1]: is null") && message.contains("when:"), "{message}");
}

#[test]
fn ranges() {
    check(&[
        Case(
            12,
            &[(
                "search_space",
                "{a: {type: uniform, min_value: 0.1, max_value: 0.1}, b: {type: loguniform, min_value: 1, \
                     max_value: 0}}",
            )],
            Refused(422, &[("BadRange", "/search_space/a/min_value"), ("BadRange", "/search_space/b/min_value")]),
        ),
        Case(
            13,
            &[(
                "search_space",
                "{a: {type: uniform, min_value: -.inf, max_value: 1e999}, b: {type: normal, mu: .nan, \
                     sigma: 'Infinity'}}",
            )],
            Refused(
                422,
                &[
                    ("NotFinite", "/search_space/a/max_value"),
                    ("NotFinite", "/search_space/a/min_value"),
                    ("NotFinite", "/search_space/b/mu"),
                    ("NotFinite", "/search_space/b/sigma"),
                ],
            ),
        ),
        Case(
            14,
            &[(
                "search_space",
                "{a: {type: loguniform, min_value: 1, max_value: 800}, b: {type: uniform, min_value: -1.5e308, \
                     max_value: 1.5e308}}",
            )],
            Refused(422, &[("Overflow", "/search_space/a/max_value"), ("Overflow", "/search_space/b/max_value")]),
        ),
        Case(
            15,
            &[("search_space", "{a: {type: log_uniform_values, min_value: 0, max_value: 1}}")],
            Refused(422, &[("LogOfNonPositive", "/search_space/a/min_value")]),
        ),
        Case(
            16,
            &[(
                "search_space",
                "{a: {type: loguniform, min_value: 0.001, max_value: 0.1}, b: {type: qloguniform, min_value: 1, \
                     max_value: 64, q: 1}}",
            )],
            Refused(
                422,
                &[("LikelyRealBounds", "/search_space/a/min_value"), ("LikelyRealBounds", "/search_space/b/min_value")],
            ),
        ),
        Case(
            16,
            &[(
                "search_space",
                "{a: {type: loguniform, min_value: 0.001, max_value: 0.1, bounds: exponents}, \
                     b: {type: q_log_uniform_values, min_value: 1, max_value: 64, q: 1}}",
            )],
            Accepted,
        ),
        Case(
            16,
            &[("search_space", "{a: {type: loguniform, min_value: -3, max_value: -1, bounds: real}}")],
            Refused(422, &[("BadBounds", "/search_space/a/bounds")]),
        ),
    ]);
}

#[test]
fn integers() {
    check(&[
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: int_uniform, min_value: 3, max_value: 9, step: 2}, b: {type: int_uniform, min_value: -4, \
                     max_value: 4}}",
            )],
            Accepted,
        ),
        Case(
            0,
            &[(
                "search_space",
                "{a: {type: int_uniform, min_value: 1.5, max_value: 2}, b: {type: int_uniform, min_value: 9, \
                     max_value: 3}, c: {type: int_uniform, min_value: 0, max_value: 3, step: 0}, \
                     d: {type: int_uniform, min_value: 0, max_value: 3, step: 4}, e: {type: q_log_uniform_values, \
                     min_value: 0, max_value: 3, q: 1}}",
            )],
            Refused(
                422,
                &[
                    ("BadRange", "/search_space/a/min_value"),
                    ("BadRange", "/search_space/b/min_value"),
                    ("BadQuantum", "/search_space/c/step"),
                    ("DegenerateRange", "/search_space/d/step"),
                    ("LogOfNonPositive", "/search_space/e/min_value"),
                ],
            ),
        ),
        Case(
            0,
            &[
                (
                    "search_space",
                    "{n: {type: int_uniform, min_value: 3, max_value: 9, step: 2, grid_points: true}, \
                         b: {type: q_log_uniform_values, min_value: 16, max_value: 64, q: 16, grid_points: true}}",
                ),
                ("sampling_algorithm", "grid"),
            ],
            Accepted,
        ),
    ]);
}

#[test]
fn steps_and_widths() {
    check(&[
        Case(
            17,
            &[(
                "search_space",
                "{a: {type: quniform, min_value: 0, max_value: 1, q: 0}, b: {type: qnormal, mu: 0, sigma: 1, q: -1}}",
            )],
            Refused(422, &[("BadQuantum", "/search_space/a/q"), ("BadQuantum", "/search_space/b/q")]),
        ),
        Case(
            18,
            &[("search_space", "{a: {type: quniform, min_value: 5, max_value: 9, q: 8}}")],
            Refused(422, &[("DegenerateRange", "/search_space/a/q")]),
        ),
        Case(
            19,
            &[("search_space", "{a: {type: quniform, min_value: 5, max_value: 7, q: 4}}")],
            Refused(422, &[("EmptyAfterQuantisation", "/search_space/a/q")]),
        ),
        Case(
            20,
            &[("search_space", "{a: {type: normal, mu: 0, sigma: -1}}")],
            Refused(422, &[("BadSigma", "/search_space/a/sigma")]),
        ),
        Case(
            20,
            &[("search_space", "{a: {type: normal, mu: 0, sigma: 0}}")],
            Warned(&[("ZeroSigma", "/search_space/a/sigma")]),
        ),
        Case(
            21,
            &[(
                "search_space",
                "{a: {type: randint, upper: 0}, b: {type: randint, upper: 2.5}, c: {type: randint, upper: -1}, \
                     d: {type: randint, upper: 9007199254740993}}",
            )],
            Refused(
                422,
                &[
                    ("BadUpper", "/search_space/a/upper"),
                    ("BadUpper", "/search_space/b/upper"),
                    ("BadUpper", "/search_space/c/upper"),
                    ("BadUpper", "/search_space/d/upper"),
                ],
            ),
        ),
        Case(21, &[("search_space", "{a: {type: randint, upper: 9007199254740992}}")], Accepted),
    ]);
}

#[test]
fn names() {
    check(&[
        Case(
            22,
            &[("search_space", "{1a: {type: randint, upper: 4}, 'a/b': {type: randint, upper: 4}}")],
            Refused(422, &[("BadName", "/search_space/1a"), ("BadName", "/search_space/a~1b")]),
        ),
        Case(
            22,
            &[("search_space", "{lr-rate: {type: randint, upper: 4}, lr_rate: {type: randint, upper: 4}}")],
            Refused(422, &[("AmbiguousName", "/search_space/lr_rate")]),
        ),
        Case(
            23,
            &[("search_space", "{a: {type: randint, upper: 4, upper: 5}, a: {type: randint, upper: 4}}")],
            Refused(400, &[("DuplicateKey", "/search_space/a"), ("DuplicateKey", "/search_space/a/upper")]),
        ),
        Case(
            24,
            &[("trial", "{command: [x], inputs: {lr: {uri: 'file:///data'}}}")],
            Refused(422, &[("NameCollision", "/trial/inputs/lr")]),
        ),
    ]);
}

#[test]
fn samplers() {
    check(&[
        Case(25, &[("sampling_algorithm", "grid")], Refused(422, &[("GridNeedsChoice", "/search_space/lr/type")])),
        Case(
            25,
            &[
                ("sampling_algorithm", "{type: grid, seed: 3}"),
                (
                    "search_space",
                    "{q: {type: quniform, min_value: 0, max_value: 4, q: 1, grid_points: true}, \
                         n: {type: randint, upper: 3, grid_points: true}}",
                ),
            ],
            Accepted,
        ),
        Case(
            26,
            &[("sampling_algorithm", "grid"), ("search_space", "{n: {type: randint, upper: 1200, grid_points: true}}")],
            Warned(&[("GridTruncated", "/sampling_algorithm")]),
        ),
        Case(
            27,
            &[
                ("sampling_algorithm", "{type: grid}"),
                (
                    "search_space",
                    "{a: {type: randint, upper: 9007199254740992, grid_points: true}, b: {type: randint, \
                         upper: 9007199254740992, grid_points: true}}",
                ),
            ],
            Refused(422, &[("GridTooLarge", "/sampling_algorithm")]),
        ),
        Case(0, &[("sampling_algorithm", "bayesian")], Accepted),
        Case(0, &[("sampling_algorithm", "{type: bayesian, method: cma_es, seed: 4}")], Accepted),
        Case(
            0,
            &[("sampling_algorithm", "{type: bayesian, method: gpp}")],
            Refused(422, &[("UnknownMethod", "/sampling_algorithm/method")]),
        ),
        Case(
            0,
            &[("sampling_algorithm", "{type: rndom}")],
            Refused(422, &[("UnknownAlgorithm", "/sampling_algorithm/type")]),
        ),
        Case(
            0,
            &[("sampling_algorithm", "{type: random, rule: sobl}")],
            Refused(422, &[("UnknownRule", "/sampling_algorithm/rule")]),
        ),
        Case(
            0,
            &[("sampling_algorithm", "{type: random, logbase: 1}")],
            Refused(422, &[("BadLogbase", "/sampling_algorithm/logbase")]),
        ),
        Case(0, &[("sampling_algorithm", "{type: random, logbase: e}")], Accepted),
    ]);
}

#[test]
fn seeds() {
    check(&[
        Case(
            32,
            &[("sampling_algorithm", "{type: random, seed: -1}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(
            32,
            &[("sampling_algorithm", "{type: random, seed: 1.5}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(
            32,
            &[("sampling_algorithm", "{type: random, seed: 18446744073709551616}")],
            Refused(422, &[("BadSeed", "/sampling_algorithm/seed")]),
        ),
        Case(32, &[("sampling_algorithm", "{type: random, rule: sobol, seed: '18446744073709551615'}")], Accepted),
    ]);
}
