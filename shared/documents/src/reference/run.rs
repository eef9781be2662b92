//! The document of a plain run.

use super::trial::{CHECKPOINT, ENVIRONMENT, INPUT_MODE, OUTPUTS, PREPARE, URI, VARIABLES};
use super::{NOT_NEGATIVE, RESOURCES, Section, Type, field, integer};

/// A run.
pub const RUN: Section = Section {
    meaning: "A run: with a job Trialog executes it on a cluster, without one its client drives it.",
    fields: &[
        field(
            "experiment",
            Type::Text,
            "\"digits\"",
            "Its experiment, by name or id; it is made when its name is new.",
        )
        .default("\"Default\"")
        .codes(&["BadName"]),
        field("name", Type::Text, "\"first try\"", "What to call it.").otherwise("a name is made").codes(&["BadName"]),
        field("parent_run_id", Type::Text, "\"run_01h455vb4pex5vsknk084sn02q\"", "The run that it is nested in.")
            .codes(&["NotFound", "ParentCanceled"]),
        field(
            "params",
            Type::Named("param", &Type::Scalar),
            "{\"lr\": \"0.1\"}",
            "What it was made with; kept as texts.",
        )
        .default("{}"),
        field("tags", Type::Named("tag", &Type::Text), "{\"team\": \"vision\"}", "Labels.").default("{}"),
        field(
            "job",
            Type::Map(&JOB),
            "{\"cluster\": \"spot\", \"command\": [\"python\", \"train.py\"]}",
            "What is executed.",
        )
        .otherwise("nothing: the run's client drives it"),
    ],
};

/// A job.
pub const JOB: Section = Section {
    meaning: "What is executed on a cluster.",
    fields: &[
        field("cluster", Type::Text, "\"spot\"", "Where it runs.").required().codes(&["NotFound", "ClusterNotReady"]),
        field(
            "command",
            Type::List(&Type::Text),
            "[\"python\", \"train.py\"]",
            "The program and its words; no shell. ${{inputs.ID}} and ${{outputs.ID}} are filled in.",
        )
        .required()
        .codes(&["TemplateSyntax", "UnknownReference"]),
        VARIABLES,
        field(
            "code",
            Type::Text,
            "\"./\"",
            "The folder of the code, for the command line, which packs and uploads it and sends code_sha256 instead.",
        )
        .goes_with_others(),
        field(
            "code_sha256",
            Type::Text,
            "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"",
            "The packed code: the SHA-256 of an uploaded object.",
        )
        .codes(&["BadCode", "NotFound"]),
        field(
            "environment",
            Type::Map(&ENVIRONMENT),
            "{\"python\": \"3\", \"requirements\": [\"numpy\"]}",
            "The Python that the command finds first, as in a sweep.",
        )
        .otherwise("the python of the node"),
        field("python", Type::Text, "\"3.11\"", "environment.python, in the form in which it is sent on and shown.")
            .otherwise("python3 or python of the node's PATH")
            .codes(&["BadEnvironment", "ExactlyOne"]),
        field(
            "requirements",
            Type::List(&Type::Text),
            "[\"scikit-learn==1.5\"]",
            "environment.requirements as a list, in the form in which it is sent on and shown.",
        )
        .codes(&["BadEnvironment", "ExactlyOne"]),
        field(
            "requirements_file",
            Type::Text,
            "\"requirements.txt\"",
            "environment.requirements as a file of the code, in the form in which it is sent on and shown.",
        )
        .codes(&["BadEnvironment", "ExactlyOne"])
        .goes_with_others(),
        field(
            "inputs",
            Type::List(&Type::Map(&JOB_INPUT)),
            "[{\"id\": \"data\", \"uri\": \"file:///data\"}]",
            "Data: TRIALOG_INPUT_ID is its path.",
        )
        .default("[]")
        .codes(&["BadName", "AmbiguousName"]),
        field(
            "outputs",
            OUTPUTS,
            "[\"model\"]",
            "Ids of folders, TRIALOG_OUTPUT_ID, that are uploaded at the end to artifacts outputs/ID; a map by id says \
             the same, and which state of each.",
        )
        .default("[]")
        .codes(&["BadName", "AmbiguousName"]),
        field(
            "keep_best",
            Type::List(&Type::Text),
            "[\"outputs/model\", \"checkpoint\"]",
            "What has keep: best, in the form in which it is sent on and shown; primary_metric and goal say what is \
             best.",
        )
        .default("[]")
        .codes(&["BadKeep", "NeedsObjective"])
        .goes_with_others(),
        field("resources", Type::Map(&RESOURCES), "{\"cpu_count\": 1}", "What it occupies of a node.")
            .otherwise("one CPU and 1 GiB"),
        CHECKPOINT,
        PREPARE,
        field("max_retries", integer(0, i32::MAX as i128), "1", "New attempts after a failure; preemptions are free.")
            .default("0"),
        field("timeout_seconds", NOT_NEGATIVE, "3600", "Running time over all attempts; 0: none.").default("0"),
        field("grace_seconds", NOT_NEGATIVE, "10", "From the notice of its end to the kill; 0: the cluster's.")
            .default("0"),
        field("priority", integer(i32::MIN as i128, i32::MAX as i128), "1", "Jobs with a higher one are placed first.")
            .default("0"),
        field(
            "parameters",
            Type::Named("parameter", &Type::Free),
            "{\"lr\": 0.1}",
            "The parameters with their types, for TRIALOG_PARAMS_FILE.",
        )
        .otherwise("the run's params"),
        field(
            "primary_metric",
            Type::Text,
            "\"val_acc\"",
            "The metric that matters: the run's best_value and last_value are of it, and its environment names it.",
        )
        .default("\"\""),
        field("goal", Type::OneOf(&["minimize", "maximize"]), "\"maximize\"", "Whether larger or smaller is better.")
            .codes(&["BadGoal"]),
        field("seed", Type::Text, "\"7\"", "A seed for its environment: a 64-bit integer as a text.").default("\"\""),
        field(
            "checkpoint_from",
            Type::Text,
            "\"run_01h455vb4pex5vsknk084sn02q\"",
            "A run whose last checkpoint the first attempt begins with.",
        )
        .codes(&["NotFound"]),
    ],
};

/// An input of a job.
pub const JOB_INPUT: Section = Section {
    meaning: "Data that the command reads.",
    fields: &[
        field("id", Type::Text, "\"data\"", "Its name in references and variables.").required().codes(&["BadName"]),
        URI,
        INPUT_MODE,
    ],
};
