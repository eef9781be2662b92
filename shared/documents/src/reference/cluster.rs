//! The document of a cluster.

use super::{NOT_NEGATIVE, POSITIVE, Range, Section, Type, field, integer, number};

/// A day: no delay of a simulation is longer.
const DAY_SECONDS: f64 = 86_400.0;
/// Nodes that one cluster may have.
const NODES_MAX: i128 = 1000;

/// A cluster.
pub const CLUSTER: Section = Section {
    meaning: "A cluster: a pool of nodes of one size that grows and shrinks with what waits for it.",
    fields: &[
        field("name", Type::Text, "\"spot\"", "The name, as in the path.")
            .codes(&["BadName", "NameMismatch"])
            .goes_with_others(),
        field("vm_size", Type::OneOf(&["D2", "D8", "NC6", "NC24"]), "\"D2\"", "The size of each node.")
            .required()
            .codes(&["UnknownSize", "NotOffered"]),
        field(
            "vm_priority",
            Type::OneOf(&["dedicated", "low_priority"]),
            "\"low_priority\"",
            "Whether nodes may be taken away, for a lower price.",
        )
        .default("\"dedicated\"")
        .codes(&["BadPriority"]),
        field("scale", Type::Map(&SCALE), "{\"max_nodes\": 4}", "How many nodes there are.").required(),
        field("os_type", Type::OneOf(&["linux"]), "\"linux\"", "The operating system.")
            .default("\"linux\"")
            .codes(&["BadOsType", "NotOffered"]),
        field("provider", Type::Map(&LOCAL), "{\"kind\": \"local\", \"boot_seconds\": 1}", "Who makes the nodes.")
            .otherwise("local, with its defaults"),
        field("tags", Type::Named("tag", &Type::Text), "{\"team\": \"vision\"}", "Labels.").default("{}"),
    ],
};

/// How many nodes.
pub const SCALE: Section = Section {
    meaning: "How many nodes there are; all that a cluster can change later.",
    fields: &[
        field("min_nodes", integer(0, NODES_MAX), "0", "Nodes that stay when nothing waits.")
            .default("0")
            .goes_with_others(),
        field("max_nodes", integer(0, NODES_MAX), "4", "Most nodes; at least min_nodes.").required(),
        field("idle_seconds_before_scaledown", NOT_NEGATIVE, "60", "How long a node may idle before it goes.")
            .default("300"),
    ],
};

/// The provider of virtual nodes.
pub const LOCAL: Section = Section {
    meaning: "Virtual nodes: processes of the server's machine.",
    fields: &[
        field("kind", Type::OneOf(&["local"]), "\"local\"", "Which provider.")
            .default("\"local\"")
            .codes(&["UnknownProvider", "NotOfferedYet"]),
        field("boot_seconds", number(0.0, DAY_SECONDS), "1", "How long a node takes to start.").default("3"),
        field("notice_seconds", number(0.0, DAY_SECONDS), "5", "From the notice of a preemption to the node's end.")
            .default("10"),
        field(
            "time_scale",
            Type::Number(Range { least: Some(0.0), most: Some(DAY_SECONDS), open: (true, false) }),
            "10",
            "How many times faster than the clock its simulated times pass.",
        )
        .default("1"),
        field(
            "preemption",
            Type::Any(&[Type::OneOf(&["never"]), Type::Map(&PREEMPTION)]),
            "\"never\"",
            "How often low-priority nodes are taken away.",
        )
        .default("\"never\"")
        .codes(&["BadPreemption", "NotPreemptible"]),
    ],
};

/// Simulated preemptions.
pub const PREEMPTION: Section = Section {
    meaning: "Preemptions at random times.",
    fields: &[
        field("mean_seconds", POSITIVE, "300", "The mean life of a node.").required(),
        field("seed", Type::Any(&[integer(0, u64::MAX as i128), Type::Text]), "11", "The seed of the times.")
            .default("0"),
    ],
};
