//! The parameters of a search space.

use super::{ANY_NUMBER, Entry, Kinds, NOT_NEGATIVE, POSITIVE, Section, Type, field, integer, integer_from};

/// 2^53: doubles hold every integer up to here.
const INTEGER_MAX: i128 = 1 << 53;

/// The types of parameters.
pub const PARAMETERS: Kinds = Kinds {
    tag: "type",
    short: &[],
    kinds: &[
        (
            "choice",
            Section {
                meaning: "One of some values: texts, numbers and booleans, mixed if you like.",
                fields: &[
                    field(
                        "values",
                        Type::List(&Type::Scalar),
                        "[16, 32, 64]",
                        "The values, each once; null is none: add a parameter that says whether this one is there.",
                    )
                    .required()
                    .codes(&["EmptyChoice", "BadChoiceValue", "DuplicateValue", "TooLarge"]),
                    field(
                        "weights",
                        Type::List(&POSITIVE),
                        "[1, 2, 1]",
                        "How likely each value is, relative to the others.",
                    )
                    .otherwise("all are equally likely")
                    .codes(&["BadWeights", "NotInCompat"]),
                    field("ordered", Type::Boolean, "true", "Whether the written order means something to a model.")
                        .default("false")
                        .codes(&["NotInCompat"]),
                    WHEN,
                    DEFAULT,
                ],
            },
        ),
        (
            "randint",
            Section {
                meaning: "An integer from 0 to below upper.",
                fields: &[
                    field("upper", integer(1, INTEGER_MAX), "10", "The first integer that is not drawn.")
                        .required()
                        .codes(&["BadUpper"]),
                    GRID_POINTS,
                    WHEN,
                    DEFAULT,
                ],
            },
        ),
        (
            "int_uniform",
            Section {
                meaning: "An integer between two bounds, both included.",
                fields: &[
                    field("min_value", integer(-INTEGER_MAX, INTEGER_MAX), "3", "The smallest value.")
                        .required()
                        .codes(&["BadRange", "ZeroRange"])
                        .goes_with_others(),
                    field("max_value", integer(-INTEGER_MAX, INTEGER_MAX), "9", "The largest value.")
                        .required()
                        .codes(&["BadRange", "Overflow"])
                        .goes_with_others(),
                    field("step", integer_from(1), "2", "From one value to the next, counted from the smallest.")
                        .default("1")
                        .codes(&["BadQuantum", "DegenerateRange"])
                        .goes_with_others(),
                    GRID_POINTS,
                    WHEN,
                    DEFAULT,
                ],
            },
        ),
        ("uniform", Section { meaning: "A number between two bounds.", fields: &[MIN, MAX, WHEN, DEFAULT] }),
        (
            "quniform",
            Section {
                meaning: "A number between two bounds, rounded to a multiple of q.",
                fields: &[MIN, MAX, Q, GRID_POINTS, WHEN, DEFAULT],
            },
        ),
        (
            "loguniform",
            Section {
                meaning: "A power of logbase (e) whose exponent is uniform between the bounds.",
                fields: &[MIN_EXPONENT, MAX_EXPONENT, BOUNDS, WHEN, DEFAULT],
            },
        ),
        (
            "qloguniform",
            Section {
                meaning: "The same, rounded to a multiple of q.",
                fields: &[MIN_EXPONENT, MAX_EXPONENT, Q, BOUNDS, WHEN, DEFAULT],
            },
        ),
        (
            "log_uniform_values",
            Section {
                meaning: "A number on a log scale between two real bounds.",
                fields: &[MIN_OF_LOG, MAX, WHEN, DEFAULT],
            },
        ),
        (
            "q_log_uniform_values",
            Section {
                meaning: "The same, rounded to a multiple of q: with q 1 an integer on a log scale.",
                fields: &[MIN_OF_LOG, MAX, Q, GRID_POINTS, WHEN, DEFAULT],
            },
        ),
        ("normal", Section { meaning: "A number with a normal distribution.", fields: &[MU, SIGMA, WHEN, DEFAULT] }),
        (
            "qnormal",
            Section { meaning: "The same, rounded to a multiple of q.", fields: &[MU, SIGMA, Q, WHEN, DEFAULT] },
        ),
        (
            "lognormal",
            Section {
                meaning: "A power of logbase (e) whose exponent has a normal distribution.",
                fields: &[MU, SIGMA, WHEN, DEFAULT],
            },
        ),
        (
            "qlognormal",
            Section { meaning: "The same, rounded to a multiple of q.", fields: &[MU, SIGMA, Q, WHEN, DEFAULT] },
        ),
    ],
};

const MIN: Entry =
    field("min_value", ANY_NUMBER, "1", "The smallest value; below max_value.").required().codes(&["BadRange"]);
const MAX: Entry = field("max_value", ANY_NUMBER, "10", "The largest value.").required().codes(&["Overflow"]);
const MIN_OF_LOG: Entry = field("min_value", POSITIVE, "1", "The smallest value; below max_value.")
    .required()
    .codes(&["BadRange", "LogOfNonPositive"]);
const MIN_EXPONENT: Entry = field("min_value", ANY_NUMBER, "-6", "The smallest exponent, not the smallest value.")
    .required()
    .codes(&["BadRange", "ZeroRange", "Overflow", "LikelyRealBounds"]);
const MAX_EXPONENT: Entry = field("max_value", ANY_NUMBER, "1", "The largest exponent, not the largest value.")
    .required()
    .codes(&["Overflow", "LikelyRealBounds"]);
const BOUNDS: Entry = field(
    "bounds",
    Type::OneOf(&["exponents"]),
    "\"exponents\"",
    "Says that the bounds are exponents where they look like values: those would be refused.",
)
.codes(&["BadBounds"]);
const Q: Entry = field("q", POSITIVE, "0.5", "The step: values are multiples of it.")
    .required()
    .codes(&["BadQuantum", "EmptyAfterQuantisation"]);
const GRID_POINTS: Entry =
    field("grid_points", Type::Boolean, "true", "Whether sampling_algorithm grid may go through its values.")
        .default("false")
        .codes(&["GridNeedsChoice", "NotInCompat"]);
const MU: Entry = field("mu", ANY_NUMBER, "0", "The mean.").required().codes(&["Overflow"]);
const SIGMA: Entry =
    field("sigma", NOT_NEGATIVE, "1", "The standard deviation.").required().codes(&["BadSigma", "ZeroSigma"]);
const WHEN: Entry = field(
    "when",
    Type::Named("parameter", &Type::Any(&[Type::Scalar, Type::List(&Type::Scalar)])),
    "{\"parent\": \"a\"}",
    "The parameter is there only while others have one of these values.",
)
.otherwise("it is always there")
.codes(&["ImpossibleCondition", "UnknownParent", "ConditionCycle", "NotInCompat"])
.goes_with_others();
const DEFAULT: Entry =
    field("default", Type::Scalar, "2", "Its value in the first proposal, if all parameters have one.")
        .codes(&["BadDefault", "BadChoiceValue", "NotInCompat"])
        .goes_with_others();
