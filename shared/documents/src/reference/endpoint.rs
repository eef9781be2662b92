//! The documents of endpoints and deployments.

use super::trial::{PYTHON, REQUIREMENTS};
use super::{POSITIVE, Range, Section, Type, field, integer, number};

/// An endpoint.
pub const ENDPOINT: Section = Section {
    meaning: "An endpoint: an address that answers, with deployments behind it.",
    fields: &[
        field("name", Type::Text, "\"digits\"", "The name, as in the path.")
            .codes(&["BadName", "NameMismatch"])
            .goes_with_others(),
        field("description", Type::Text, "\"reads digits\"", "What people should know about it.").default("\"\""),
        field("tags", Type::Named("tag", &Type::Text), "{\"team\": \"vision\"}", "Labels.").default("{}"),
        field("auth", Type::OneOf(&["key", "token"]), "\"token\"", "By what callers are known.")
            .default("\"key\"")
            .codes(&["UnknownAuth"]),
    ],
};

/// A deployment.
pub const DEPLOYMENT: Section = Section {
    meaning: "A deployment: a model version behind an endpoint.",
    fields: &[
        field("name", Type::Text, "\"blue\"", "The name, as in the path.")
            .codes(&["BadName", "NameMismatch"])
            .goes_with_others(),
        field(
            "model",
            Type::Any(&[Type::Text, Type::Map(&MODEL)]),
            "\"digits@champion\"",
            "The version: NAME/versions/N, NAME@ALIAS, or a map. An alias is looked up now, not followed.",
        )
        .required()
        .codes(&["UnknownModel", "NotFound", "VersionArchived"]),
        field("cluster", Type::Text, "\"serving\"", "Where its replicas run.").required().codes(&["NotFound"]),
        field("instance_count", integer(1, 20), "2", "Replicas.").default("1"),
        field(
            "environment",
            Type::Map(&DEPLOYMENT_ENVIRONMENT),
            "{\"python\": \"3.11\"}",
            "The Python that the model is loaded by.",
        )
        .otherwise("that of the version's run"),
        field(
            "environment_variables",
            Type::Named("variable", &Type::Scalar),
            "{\"OMP_NUM_THREADS\": \"1\"}",
            "Variables of the model's worker.",
        )
        .default("{}")
        .codes(&["ReservedName", "BadName"]),
        field(
            "request_settings",
            Type::Map(&REQUEST_SETTINGS),
            "{\"request_timeout_seconds\": 10}",
            "How requests are treated.",
        )
        .otherwise("each has its default"),
        field(
            "resources",
            Type::Map(&DEPLOYMENT_RESOURCES),
            "{\"cpu_count\": 0.5}",
            "What a replica occupies of a node.",
        )
        .otherwise("one CPU"),
    ],
};

/// A version of a model.
pub const MODEL: Section = Section {
    meaning: "A version of a registered model.",
    fields: &[
        field("name", Type::Text, "\"digits\"", "The model's name.").required(),
        field("version", Type::Scalar, "3", "The version's number, latest, or @ALIAS.").otherwise("the latest"),
    ],
};

/// The software of a deployment.
pub const DEPLOYMENT_ENVIRONMENT: Section =
    Section { meaning: "The Python that the model is loaded by.", fields: &[PYTHON, REQUIREMENTS] };

/// How requests are treated.
pub const REQUEST_SETTINGS: Section = Section {
    meaning: "How requests are treated.",
    fields: &[
        field(
            "request_timeout_seconds",
            Type::Number(Range { least: Some(0.0), most: Some(90.0), open: (true, false) }),
            "10",
            "How long a model may take for an answer.",
        )
        .default("5"),
        field("max_concurrent_requests_per_instance", integer(1, 256), "4", "Requests at a replica at the same time.")
            .default("1"),
        field("max_queue_wait_seconds", number(0.0, 90.0), "1", "How long a request may wait for a replica.")
            .default("0.5"),
        field("idempotent", Type::Boolean, "false", "Whether a request may be tried again at another replica.")
            .default("true"),
    ],
};

/// What a replica occupies.
pub const DEPLOYMENT_RESOURCES: Section = Section {
    meaning: "What a replica occupies of a node.",
    fields: &[
        field("cpu_count", POSITIVE, "0.5", "Virtual CPUs; fractions are allowed.").default("1"),
        field("memory_bytes", integer(0, u64::MAX as i128), "536870912", "Memory.").default("0"),
    ],
};
