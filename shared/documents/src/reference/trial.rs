//! What a trial runs, and the parts that jobs of plain runs have too.

use super::{Entry, POSITIVE, Section, Type, field, integer};

/// A word of a command, or a group of them.
const WORD: Type = Type::Any(&[Type::Scalar, Type::List(&Type::Scalar)]);

/// What a trial runs.
pub const TRIAL: Section = Section {
    meaning: "What a trial runs.",
    fields: &[
        field(
            "command",
            Type::Any(&[Type::List(&WORD), Type::Text]),
            "[\"python\", \"train.py\", \"--lr\", \"${{search_space.lr}}\"]",
            "The program and its words; no shell. ${{search_space.NAME}}, ${{inputs.ID}}, ${{outputs.ID}}, \
             ${{trial.index}} and ${{sweep.id}} are filled in. A list inside is a group: it is left out when a \
             parameter of it is not there.",
        )
        .required()
        .codes(&["TemplateSyntax", "UnknownReference", "ConditionalReference", "UnusedParameter", "NoCode"]),
        field(
            "code",
            Type::Text,
            "\"./\"",
            "The folder that is packed and uploaded: the command line replaces it by sha256: and its hash, \
             which is what \
             the server takes.",
        )
        .codes(&["BadCode", "NotFound"])
        .goes_with_others(),
        field(
            "environment",
            Type::Map(&ENVIRONMENT),
            "{\"python\": \"3\", \"requirements\": [\"numpy\"]}",
            "The Python that the command finds first.",
        )
        .otherwise("the python of the node"),
        VARIABLES,
        field(
            "inputs",
            Type::Named("id", &Type::Map(&INPUT)),
            "{\"data\": {\"uri\": \"file:///data\"}}",
            "Data by id: TRIALOG_INPUT_ID is its path.",
        )
        .default("{}")
        .codes(&["BadName", "AmbiguousName", "NameCollision"]),
        field(
            "outputs",
            OUTPUTS,
            "{\"model\": {}}",
            "Folders by id, TRIALOG_OUTPUT_ID, that are uploaded at the end to artifacts outputs/ID. A list of ids \
             says the same. Of a trial that its policy stopped only those with keep: best are.",
        )
        .default("{}")
        .codes(&["BadName", "AmbiguousName", "BestWithoutOutputs"]),
        field("resources", Type::Map(&RESOURCES), "{\"cpu_count\": 1}", "What a trial occupies of a node.")
            .otherwise("one CPU and 1 GiB"),
        CHECKPOINT,
        PREPARE,
    ],
};

/// Folders that are kept, by id; a list of ids says the same.
pub(super) const OUTPUTS: Type = Type::Any(&[Type::Named("id", &Type::Map(&OUTPUT)), Type::List(&Type::Text)]);
/// Variables of a command.
pub(super) const VARIABLES: Entry = field(
    "environment_variables",
    Type::Named("variable", &Type::Scalar),
    "{\"OMP_NUM_THREADS\": \"1\"}",
    "Variables of the command; in a sweep with references. Names that begin with TRIALOG_ are Trialog's own.",
)
.default("{}")
.codes(&["ReservedName", "BadName", "TemplateSyntax", "UnknownReference"]);
/// Whether the command goes on where it was.
pub(super) const CHECKPOINT: Entry = field(
    "checkpoint",
    Type::Any(&[Type::Boolean, Type::Map(&KEPT_CHECKPOINT)]),
    "true",
    "Whether the command saves into TRIALOG_CHECKPOINT_DIR and resumes from it; the variable is set only then. A map \
     is true, and says what remains.",
)
.default("false")
.codes(&["NeedsCheckpoint"]);
/// What runs before the command.
pub(super) const PREPARE: Entry = field(
    "prepare",
    Type::List(&Type::Scalar),
    "[\"sh\", \"prepare.sh\"]",
    "A command that runs on the node before, once an attempt; no references.",
)
.default("[]")
.codes(&["TemplateSyntax"]);

/// The software.
pub const ENVIRONMENT: Section =
    Section { meaning: "The Python that the command finds first.", fields: &[PYTHON, REQUIREMENTS] };

/// The interpreter.
pub(super) const PYTHON: Entry = field(
    "python",
    Type::Scalar,
    "\"3.11\"",
    "The interpreter: an absolute path, or a version, 3 or 3.11, that the node looks for.",
)
.otherwise("python3 or python of the node's PATH")
.codes(&["BadEnvironment"]);
/// What is installed.
pub(super) const REQUIREMENTS: Entry = field(
    "requirements",
    Type::Any(&[Type::List(&Type::Text), Type::Text]),
    "[\"scikit-learn==1.5\"]",
    "What pip installs into a virtual environment that the node keeps: a list, or a file relative to the code.",
)
.codes(&["BadEnvironment"]);

/// An input.
pub const INPUT: Section = Section { meaning: "Data that the command reads.", fields: &[URI, INPUT_MODE] };

/// Where an input is.
pub(super) const URI: Entry =
    field("uri", Type::Text, "\"file:///data\"", "Where the data is: file:/// and a path of the node.")
        .required()
        .codes(&["NotOfferedYet"]);
/// How it comes to the node.
pub(super) const INPUT_MODE: Entry =
    field("mode", Type::OneOf(&["mount", "download"]), "\"download\"", "Read in place, or copied to the node first.")
        .default("\"mount\"")
        .codes(&["BadInputMode"]);

/// An output.
pub const OUTPUT: Section = Section { meaning: "A folder that is uploaded at the end.", fields: &[KEEP] };
/// A checkpoint of which it is said what remains.
pub const KEPT_CHECKPOINT: Section = Section {
    meaning: "The checkpoint that remains at the end; the next attempt begins with the last one.",
    fields: &[KEEP],
};

/// Which state of a folder remains.
const KEEP: Entry = field(
    "keep",
    Type::OneOf(&["last", "best"]),
    "\"best\"",
    "What remains: the folder as it is at the end, or as it was at the best value of the objective, also of a trial \
     that its policy stopped.",
)
.default("\"last\"")
.codes(&["BadKeep", "NeedsObjective"]);

/// What a job occupies.
pub const RESOURCES: Section = Section {
    meaning: "What a job occupies of a node: claims for packing, not limits.",
    fields: &[
        field("cpu_count", POSITIVE, "0.5", "Virtual CPUs; fractions are allowed.")
            .default("1")
            .codes(&["NeverSchedulable"]),
        field("gpu_count", integer(0, u32::MAX as i128), "0", "GPUs.").default("0").codes(&["NeverSchedulable"]),
        field("memory_bytes", integer(1, u64::MAX as i128), "536870912", "Memory.")
            .default("1073741824")
            .codes(&["NeverSchedulable"]),
        field("node_count", integer(1, u32::MAX as i128), "1", "Nodes; more than one are not offered yet.")
            .default("1")
            .codes(&["NotOfferedYet", "NeverSchedulable"]),
    ],
};
