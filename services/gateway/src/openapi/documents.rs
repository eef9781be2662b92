//! The documents that users write, as components: their schemas come from the tables that their readers use.

use ::documents::reference::{DOCUMENTS, schema};
use serde_json::{Value, json};

/// Operations that take a document, and its component.
const BODIES: &[(&str, &str)] = &[
    ("submit_sweep", "SweepDocument"),
    ("update_sweep", "SweepChanges"),
    ("fork_sweep", "SweepFork"),
    ("import_sweep", "SweepImport"),
    ("what_if", "PolicyQuestion"),
    ("create_run", "RunDocument"),
    ("put_cluster", "ClusterDocument"),
    ("update_cluster", "ClusterChanges"),
    ("put_endpoint", "EndpointDocument"),
    ("put_deployment", "DeploymentDocument"),
];

/// Documents that have some sections of a whole one: component, document, sections.
const PARTS: &[(&str, &str, &[&str])] = &[
    ("SweepChanges", "sweep", &["limits", "description", "tags"]),
    ("SweepFork", "sweep", &["name", "limits", "early_termination", "search_space"]),
    ("SweepImport", "sweep", &["name", "experiment", "description", "tags", "objective", "search_space"]),
    ("ClusterChanges", "cluster", &["scale"]),
];

/// `sweep` as a component is called: `SweepDocument`.
fn component(document: &str) -> String {
    let mut letters = document.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    format!("{}{}Document", first.map(String::from).unwrap_or_default(), letters.as_str())
}

/// Adds the components.
pub(super) fn add(schemas: &mut Value) {
    for (document, _) in DOCUMENTS {
        schemas[component(document)] = schema(document).unwrap_or_default();
    }
    for (component, document, sections) in PARTS {
        let whole = schema(document).unwrap_or_default();
        let sections: serde_json::Map<_, _> =
            sections.iter().map(|name| ((*name).to_owned(), whole["properties"][name].clone())).collect();
        schemas[*component] = json!({ "type": "object", "properties": sections });
    }
    let integer = |text: &str| json!({ "type": "integer", "description": text });
    schemas["SweepFork"]["properties"]["at"] = integer("The position in the log up to which the sweep is looked at.");
    schemas["SweepFork"]["properties"]["seed"] = integer("The seed; absent: that of the sweep.");
    schemas["SweepImport"]["properties"]["trials"] = json!({
        "type": "array",
        "description": "Finished trials: `parameters`, and `value` or what else is known of each.",
        "items": { "type": "object", "additionalProperties": true },
    });
    let policy = schema("sweep").unwrap_or_default()["properties"]["early_termination"].clone();
    schemas["PolicyQuestion"] = json!({ "type": "object", "required": ["policies"], "properties": {
        "policies": { "type": "array", "description": "The policies, in order; at most 32.", "items": policy },
        "workers": integer("Replayed by so many workers; absent: in the recorded order."),
        "max_reports": integer("With workers: the end of the replay."),
    }});
}

/// Lets the body of an operation be its document.
pub(super) fn complete(operation: &mut Value) {
    let Some((_, component)) = BODIES.iter().find(|(name, _)| operation["operationId"] == **name) else { return };
    let reference = json!({ "$ref": format!("#/components/schemas/{component}") });
    for (_, content) in operation["requestBody"]["content"].as_object_mut().into_iter().flatten() {
        content["schema"] = reference.clone();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ::documents::reference::{JOB, RUN, Section};

    use crate::openapi::document;

    /// What only the platform fills in a job: sent by anybody else it is refused.
    const READ_ONLY: [&str; 6] =
        ["service", "sweep_id", "trial_index", "contract_variables", "experiment", "watched_metrics"];

    #[test]
    fn the_table_of_a_run_has_the_fields_of_its_message() {
        let schemas = &document()["components"]["schemas"];
        let published = |message: &str| -> BTreeSet<String> {
            let properties = schemas[message]["properties"].as_object().unwrap();
            properties
                .keys()
                .filter(|name| message != "JobSpec" || !READ_ONLY.contains(&name.as_str()))
                .cloned()
                .collect()
        };
        let of = |section: &Section| section.fields.iter().map(|entry| entry.name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(published("CreateRunRequest"), of(&RUN));
        // What only the command line reads.
        let mut job = of(&JOB);
        assert!(job.remove("code"));
        assert_eq!(published("JobSpec"), job);
    }

    #[test]
    fn examples_of_a_run_have_the_form_of_its_message() {
        for entry in RUN.fields {
            let text = format!("{{\"{}\": {}}}", entry.name, entry.example);
            crate::door::shape::check(&tree(&text), "CreateRunRequest").unwrap();
        }
        for entry in JOB.fields.iter().filter(|entry| entry.name != "code") {
            let text = format!("{{\"job\": {{\"{}\": {}}}}}", entry.name, entry.example);
            crate::door::shape::check(&tree(&text), "CreateRunRequest").unwrap();
        }
    }

    fn tree(text: &str) -> ::documents::Node {
        ::documents::read(text.as_bytes(), ::documents::Format::Json).unwrap()
    }
}
