//! The policies that end trials early.

use super::{Entry, Kinds, NOT_NEGATIVE, POSITIVE, Range, Section, Type, field, integer, integer_from, number};

/// A part that is at most a half.
const UP_TO_HALF: Type = Type::Number(Range { least: Some(0.0), most: Some(0.5), open: (true, false) });
/// A part that may be the whole.
const PART: Type = Type::Number(Range { least: Some(0.0), most: Some(1.0), open: (true, false) });

/// The policies by their names.
pub const POLICIES: Kinds = Kinds {
    tag: "type",
    short: &["none", "median_stopping"],
    kinds: &[
        ("none", Section { meaning: "Every trial runs to its end.", fields: &[] }),
        (
            "bandit",
            Section {
                meaning: "Ends a trial whose best value falls outside a slack of the sweep's best. Exactly one \
             slack is given.",
                fields: &[
                    field("slack_factor", POSITIVE, "0.1", "The slack as a part of the best value.")
                        .codes(&["ExactlyOne", "BadSlack", "SlackZero"])
                        .goes_with_others(),
                    field("slack_amount", POSITIVE, "0.05", "The slack in units of the metric.")
                        .codes(&["ExactlyOne", "BadSlack", "SlackZero"])
                        .goes_with_others(),
                    INTERVAL,
                    DELAY,
                ],
            },
        ),
        (
            "median_stopping",
            Section {
                meaning: "Ends a trial whose best value is worse than the median of the running means of the others.",
                fields: &[INTERVAL, DELAY],
            },
        ),
        (
            "truncation_selection",
            Section {
                meaning: "Ends the lowest percentage of the trials at each interval.",
                fields: &[
                    field("truncation_percentage", integer(1, 99), "20", "The percentage.")
                        .required()
                        .codes(&["BadPercentage"]),
                    field(
                        "exclude_finished_jobs",
                        Type::Boolean,
                        "true",
                        "Whether ended trials are left out of the comparison.",
                    )
                    .default("false"),
                    INTERVAL,
                    DELAY,
                ],
            },
        ),
        (
            "asha",
            Section {
                meaning: "Asynchronous successive halving: of the trials at a rung, one in reduction_factor goes on.",
                fields: &[
                    REDUCTION_FACTOR.default("4"),
                    MIN_RESOURCE,
                    MAX_RESOURCE,
                    field(
                        "variant",
                        Type::OneOf(&["stopping", "promotion"]),
                        "\"stopping\"",
                        "What becomes of the others: they are stopped, or paused at the rung until there is \
                     room for them, \
                     which needs checkpoints.",
                    )
                    .default("\"stopping\"")
                    .codes(&["UnknownVariant", "NeedsCheckpoint"]),
                    FINISH_SECONDS,
                ],
            },
        ),
        (
            "hyperband",
            Section {
                meaning: "Several successive halvings beside each other that begin to judge at different intervals.",
                fields: &[REDUCTION_FACTOR.default("3"), MIN_RESOURCE, MAX_RESOURCE, FINISH_SECONDS],
            },
        ),
        (
            "learning_curve",
            Section {
                meaning: "A rule of our own: a share of all trials, less at each interval, and an end in reach.",
                fields: &[
                    MIN_RESOURCE,
                    MAX_RESOURCE,
                    field(
                        "share",
                        PART,
                        "0.5",
                        "The part of all trials that goes on from the first rung; at n times its interval the \
                     n-th part of that.",
                    )
                    .default("0.25"),
                    field(
                        "hope",
                        NOT_NEGATIVE,
                        "1.5",
                        "How many times its last gain a trial may be hoped to gain in each doubling to come.",
                    )
                    .default("2"),
                    FINISH_SECONDS,
                ],
            },
        ),
        (
            "pbt",
            Section {
                meaning: "Population based training: who falls behind ends, and a child of one that is ahead \
             takes its place, \
                      from its checkpoint and with its parameters moved.",
                fields: &[
                    field(
                        "perturbation_interval",
                        integer_from(1),
                        "5",
                        "Members are compared at multiples of this number of reports.",
                    )
                    .required()
                    .codes(&["BadInterval", "NeedsCheckpoint", "NotWithBayesian"]),
                    field(
                        "quantile",
                        UP_TO_HALF,
                        "0.2",
                        "The part of the population that is behind, and the part that is followed.",
                    )
                    .default("0.25")
                    .codes(&["PopulationTooSmall"]),
                    field(
                        "resample_probability",
                        number(0.0, 1.0),
                        "0.5",
                        "How likely a child's parameter is drawn anew and not only moved.",
                    )
                    .default("0.25"),
                ],
            },
        ),
    ],
};

const INTERVAL: Entry =
    field("evaluation_interval", integer_from(1), "2", "The policy is asked at multiples of this number of reports.")
        .default("1")
        .codes(&["BadInterval"]);
const DELAY: Entry =
    field("delay_evaluation", integer_from(0), "5", "It is not asked before a trial has so many reports.")
        .default("0")
        .codes(&["BadInterval"]);
const REDUCTION_FACTOR: Entry =
    field("reduction_factor", integer_from(2), "3", "One in so many goes on, to as many times the interval.");
const MIN_RESOURCE: Entry =
    field("min_resource", integer_from(1), "1", "The report at which trials are judged first.").default("1");
const MAX_RESOURCE: Entry = field(
    "max_resource",
    integer_from(2),
    "27",
    "The report from which on a trial is judged no more and ends by itself; above min_resource.",
)
.required()
.codes(&["BadRange"]);
const FINISH_SECONDS: Entry = field(
    "finish_seconds",
    NOT_NEGATIVE,
    "60",
    "For how long a trial may run once it is judged no more, to write its model; then it is ended.",
)
.default("600");
