//! The sweep document, but for its space, its policies and what a trial runs.

use super::{
    ANY_NUMBER, Entry, Kinds, NOT_NEGATIVE, PARAMETERS, POLICIES, POSITIVE, Range, Section, TRIAL, Type, field,
    integer, integer_from,
};

const GOALS: Type = Type::OneOf(&["minimize", "maximize"]);

/// A sweep.
pub const SWEEP: Section = Section {
    meaning: "A sweep: a search over parameters, each trial of which is a run.",
    fields: &[
        field("name", Type::Text, "\"digits\"", "The name in the workspace; no two sweeps have the same.")
            .otherwise("the sweep is known by its id")
            .codes(&["BadName", "NameTaken"]),
        field(
            "experiment",
            Type::Text,
            "\"digits\"",
            "The experiment of the runs, by name; it is made when it is new.",
        )
        .default("\"Default\"")
        .codes(&["BadName"]),
        field("description", Type::Text, "\"the second try\"", "What people should know about it.").default("\"\""),
        field("tags", Type::Named("tag", &Type::Text), "{\"team\": \"vision\"}", "Labels.").default("{}"),
        field(
            "mode",
            Type::OneOf(&["managed", "external"]),
            "\"managed\"",
            "Who runs the trials: Trialog as jobs on a cluster, or whoever asks for them and tells their values.",
        )
        .default("\"managed\"")
        .codes(&["BadMode"]),
        field(
            "compat",
            Type::OneOf(&["azure"]),
            "\"azure\"",
            "The rules of another service for a document that was moved from there: limits may be named timeout and \
             trial_timeout (ISO 8601 too), parameters may be lists, and a command without references gets \
              --name value.",
        )
        .codes(&["BadCompat", "NotInCompat", "PolicyNotAllowed", "FewTrials", "HighConcurrency", "ArgumentOverridden"])
        .goes_with_others(),
        field("cluster", Type::Text, "\"spot\"", "Where the trials run; in mode external there is none.")
            .required()
            .codes(&["NotFound", "ClusterNotReady", "NeverSchedulable", "NotInExternal"]),
        field(
            "objective",
            Type::Map(&OBJECTIVE),
            "{\"goal\": \"maximize\", \"primary_metric\": \"val_acc\"}",
            "What is sought. Either this or objectives.",
        )
        .required()
        .codes(&["ExactlyOne"]),
        field(
            "objectives",
            Type::List(&Type::Map(&FURTHER_OBJECTIVE)),
            "[{\"goal\": \"maximize\", \"primary_metric\": \"val_acc\"}, {\"goal\": \"minimize\", \
             \"primary_metric\": \
             \"size\"}]",
            "One to three objectives instead of one: there is a front then, and no single best trial.",
        )
        .codes(&["ExactlyOne", "OutOfRange", "DuplicateValue", "SeveralObjectives", "NotInCompat"])
        .goes_with_others(),
        field(
            "constraints",
            Type::List(&Type::Map(&CONSTRAINT)),
            "[{\"metric\": \"size\", \"op\": \"<=\", \"value\": 3}]",
            "What other metrics must be for a trial to count; at most 16.",
        )
        .default("[]")
        .codes(&["TooLarge", "NotInCompat"]),
        field(
            "search_space",
            Type::Named("parameter", &Type::Kinds(&PARAMETERS)),
            "{\"lr\": {\"type\": \"log_uniform_values\", \"min_value\": 0.0001, \"max_value\": 0.1}}",
            "The parameters and where their values come from; at most 256.",
        )
        .required()
        .codes(&["EmptySpace", "TooLarge", "BadName", "AmbiguousName", "UnusedParameter"]),
        field(
            "sampling_algorithm",
            Type::Kinds(&SAMPLERS),
            "{\"type\": \"random\", \"rule\": \"sobol\", \
         \"seed\": 7}",
            "How the values of the next trial are chosen.",
        )
        .required()
        .codes(&["UnknownAlgorithm"]),
        field(
            "early_termination",
            Type::Kinds(&POLICIES),
            "{\"type\": \"asha\", \"max_resource\": 27}",
            "Which trials end early.",
        )
        .otherwise("every trial runs to its end")
        .codes(&["UnknownPolicy", "SeveralObjectives", "PolicyNotAllowed"]),
        field(
            "limits",
            Type::Map(&LIMITS),
            "{\"max_total_trials\": 40, \"max_concurrent_trials\": 4}",
            "How much may be run.",
        )
        .otherwise("each limit has its default"),
        field("record_keeps", Type::Boolean, "true", "Whether decisions to keep a trial are recorded too.")
            .default("false"),
        field(
            "resume_from",
            Type::Any(&[Type::List(&Type::Text), Type::Map(&RESUME_FROM)]),
            "[\"before\"]",
            "One to five earlier sweeps, by id or name, whose trials are observations for this one: they count in \
             max_total_trials, and none of them is proposed again.",
        )
        .codes(&["WarmStartMismatch", "NotFound"]),
        field(
            "resume_trials",
            Type::List(&Type::Any(&[Type::Text, Type::Map(&RESUME_TRIAL)])),
            "[\"before/3\"]",
            "Trials of those sweeps, SWEEP/INDEX, that go on from their checkpoints as the first trials of this one.",
        )
        .default("[]")
        .codes(&["BadTrial", "WarmStartMismatch", "DuplicateTrial", "OutOfRange", "Required"])
        .goes_with_others(),
        field(
            "trial",
            Type::Map(&TRIAL),
            "{\"command\": [\"python\", \"train.py\"]}",
            "What a trial runs; in mode external there is none.",
        )
        .required()
        .codes(&["NotInExternal"]),
    ],
};

/// The objective.
pub const OBJECTIVE: Section = Section {
    meaning: "What is sought.",
    fields: &[
        GOAL,
        METRIC,
        field(
            "on_non_finite",
            Type::OneOf(&["ignore", "fail"]),
            "\"fail\"",
            "What a report of NaN or an infinity does: it counts as an interval without a value, or the trial fails.",
        )
        .default("\"ignore\"")
        .codes(&["BadOnNonFinite"]),
        field(
            "noise",
            Type::OneOf(&["none", "declared"]),
            "\"declared\"",
            "Whether the same parameters may give other values: then they may be tried again.",
        )
        .default("\"none\"")
        .codes(&["BadNoise"]),
        field(
            "target",
            ANY_NUMBER,
            "0.99",
            "The value that is good enough: the sweep completes when a trial reports it or a better one.",
        )
        .codes(&["BadTarget", "NotFinite"]),
    ],
};

const GOAL: Entry = field("goal", GOALS, "\"maximize\"", "Whether larger or smaller is better; in any case.")
    .required()
    .codes(&["BadGoal"]);
const METRIC: Entry =
    field("primary_metric", Type::Text, "\"val_acc\"", "The metric's name, matched exactly; up to 255 characters.")
        .required()
        .codes(&["BadMetricName"]);

/// One of several objectives.
pub const FURTHER_OBJECTIVE: Section = Section { meaning: "One of several objectives.", fields: &[GOAL, METRIC] };

/// A constraint.
pub const CONSTRAINT: Section = Section {
    meaning: "What another metric must be.",
    fields: &[
        field("metric", Type::Text, "\"size\"", "The metric's name, matched exactly.")
            .required()
            .codes(&["BadMetricName"]),
        field("op", Type::OneOf(&["<=", ">="]), "\"<=\"", "On which side of the value it must be.")
            .required()
            .codes(&["BadOperator"]),
        field("value", ANY_NUMBER, "3", "The bound, itself allowed.").required(),
    ],
};

/// How trials are proposed.
pub const SAMPLERS: Kinds = Kinds {
    tag: "type",
    short: &["random", "grid", "bayesian"],
    kinds: &[
        (
            "random",
            Section {
                meaning: "Independent draws, or the points of a scrambled Sobol sequence.",
                fields: &[
                    field("rule", Type::OneOf(&["random", "sobol"]), "\"sobol\"", "How the points are drawn.")
                        .default("\"random\"")
                        .codes(&["UnknownRule"]),
                    SEED,
                    LOGBASE,
                ],
            },
        ),
        ("grid", Section { meaning: "Every combination, in the written order.", fields: &[SEED] }),
        (
            "bayesian",
            Section {
                meaning: "A model of what the trials gave says what to try next.",
                fields: &[
                    field(
                        "method",
                        Type::OneOf(&["auto", "gp", "tpe", "cma_es"]),
                        "\"gp\"",
                        "Which model: auto picks by space and budget, and says for each proposal which it was.",
                    )
                    .default("\"auto\"")
                    .codes(&["UnknownMethod", "NotInCompat", "OneObjectiveOnly"]),
                    SEED,
                ],
            },
        ),
    ],
};

const SEED: Entry = field(
    "seed",
    Type::Any(&[integer(0, u64::MAX as i128), Type::Text]),
    "7",
    "The seed, a 64-bit integer; as a text for clients whose numbers end at 2^53. The same seed gives the \
     same proposals.",
)
.otherwise("a seed is drawn")
.codes(&["BadSeed"]);
const LOGBASE: Entry = field(
    "logbase",
    Type::Any(&[POSITIVE, Type::OneOf(&["e"])]),
    "10",
    "The base of the exponents of loguniform, qloguniform, lognormal and qlognormal; not 1.",
)
.default("\"e\"")
.codes(&["BadLogbase"]);

/// A part of something, neither none of it nor all.
const SHARE: Type = Type::Number(Range { least: Some(0.0), most: Some(1.0), open: (true, true) });

/// The limits.
pub const LIMITS: Section = Section {
    meaning: "How much may be run. What the server's settings allow may be less.",
    fields: &[
        field(
            "max_total_trials",
            integer_from(1),
            "40",
            "Proposals; a preempted trial stays one trial. In mode external up to a million.",
        )
        .otherwise("1000, or what the server allows")
        .codes(&["GridTruncated"]),
        field(
            "max_new_trials",
            integer(1, u32::MAX as i128),
            "20",
            "Proposals of this sweep alone, beside the total: trials of resume_from, and those that a fork begins \
             with, do not count.",
        )
        .otherwise("as many as the total leaves"),
        field("max_concurrent_trials", integer_from(1), "4", "Trials that live at the same time.")
            .otherwise("as many as may be run, up to what the server allows")
            .codes(&["ConcurrencyAboveTotal", "GatedByCluster", "PopulationTooSmall"]),
        field("timeout_seconds", POSITIVE, "3600", "Wall clock from the start, pauses included.")
            .default("5184000")
            .codes(&["BadTimeout"]),
        field("trial_timeout_seconds", POSITIVE, "600", "Running time of a trial over all its attempts.")
            .otherwise("none but the sweep's own")
            .codes(&["BadTimeout"]),
        field(
            "max_failed_trials",
            Type::Any(&[integer(1, u32::MAX as i128), SHARE]),
            "5",
            "So many failed trials in a row, while none has reported a finite value, fail the sweep; or so \
             large a share \
             of the ended ones.",
        )
        .default("3"),
        field("max_retries", integer(0, 10), "1", "New attempts after a failure; preemptions are free.")
            .default("0")
            .codes(&["NotInExternal"]),
        field(
            "max_trials_without_improvement",
            integer(1, u32::MAX as i128),
            "20",
            "So many ended trials in a row without a better one complete the sweep.",
        )
        .codes(&["SeveralObjectives"]),
        field(
            "convergence",
            Type::Map(&CONVERGENCE),
            "{\"patience\": 20}",
            "Completes the sweep when its best value hardly gets better.",
        )
        .codes(&["SeveralObjectives"]),
    ],
};

/// When a sweep has converged.
pub const CONVERGENCE: Section = Section {
    meaning: "When a sweep has converged.",
    fields: &[
        field("patience", integer(1, 10_000), "20", "Ended trials over which the improvement is measured.").required(),
        field(
            "relative_improvement",
            NOT_NEGATIVE,
            "0.01",
            "The improvement, as a part of the best value, that is none.",
        )
        .default("0.001"),
    ],
};

/// Earlier sweeps.
pub const RESUME_FROM: Section = Section {
    meaning: "Earlier sweeps whose trials are observations.",
    fields: &[
        field("sweeps", Type::List(&Type::Text), "[\"before\"]", "One to five sweeps, by id or name.")
            .required()
            .codes(&["WarmStartMismatch"]),
        field(
            "space",
            Type::OneOf(&["same", "intersect"]),
            "\"intersect\"",
            "How their spaces must be like this one: the same, or what they share counts.",
        )
        .default("\"same\"")
        .codes(&["BadSpaceRule", "WarmStartMismatch", "NotInCompat"]),
    ],
};

/// A trial of an earlier sweep.
pub const RESUME_TRIAL: Section = Section {
    meaning: "A trial of an earlier sweep.",
    fields: &[
        field("sweep", Type::Text, "\"before\"", "Its sweep, as resume_from names it.").required(),
        field("trial", integer(0, u32::MAX as i128), "3", "Its index there.").required(),
    ],
};
