//! Generates the Rust of proto/ with protox: no protoc is needed. Nothing generated is committed.

use std::path::PathBuf;

/// Fields whose text is JSON: nested JSON in REST, under the name without the suffix.
const JSON_TEXTS: &[(&str, &str)] = &[
    (".trialog.compute.v1.JobSpec.parameters_json", "parameters"),
    (".trialog.compute.v1.Cluster.provider_json", "provider"),
    (".trialog.sweeps.v1.SubmitSweepReply.plan_json", "plan"),
    (".trialog.sweeps.v1.Sweep.spec_json", "spec"),
    (".trialog.sweeps.v1.Best.parameters_json", "parameters"),
    (".trialog.sweeps.v1.ParetoTrial.parameters_json", "parameters"),
    (".trialog.sweeps.v1.Trial.parameters_json", "parameters"),
    (".trialog.sweeps.v1.OfferedTrial.parameters_json", "parameters"),
    (".trialog.sweeps.v1.Explanation.explanation_json", "explanation"),
    (".trialog.sweeps.v1.Verification.verification_json", "verification"),
];

/// Doubles that may be NaN or infinite: texts in JSON then.
const LOOSE_NUMBERS: &[&str] = &[
    ".trialog.runs.v1.MetricPoint.value",
    ".trialog.runs.v1.ReportedPoint.value",
    ".trialog.runs.v1.MetricSummary.last",
    ".trialog.sweeps.v1.ToldPoint.value",
    ".trialog.sweeps.v1.ToldValue.value",
];

/// The same where they may be absent.
const LOOSE_OPTIONAL_NUMBERS: &[&str] = &[".trialog.sweeps.v1.TellTrialRequest.value"];

/// Texts that are left out of JSON when they are empty.
const SPARSE_TEXTS: &[&str] = &[".trialog.sweeps.v1.TellTrialReply.decision"];

/// Lists that are left out of JSON when they are empty.
const SPARSE_LISTS: &[&str] = &[
    ".trialog.compute.v1.JobSpec.watched_metrics",
    ".trialog.sweeps.v1.Sweep.objectives",
    ".trialog.sweeps.v1.Sweep.constraints",
    ".trialog.sweeps.v1.Sweep.pareto",
];

/// Enums beside the texts that they replace: JSON, which is for people, has the texts.
const KINDS: &[&str] = &[
    ".trialog.compute.v1.JobInput.mode_kind",
    ".trialog.compute.v1.JobEnd.outcome_kind",
    ".trialog.compute.v1.JobEnd.phase_kind",
    ".trialog.compute.v1.JobEnd.by_kind",
    ".trialog.compute.v1.JobPhaseChanged.phase_kind",
    ".trialog.compute.v1.JobRequeued.cause_kind",
    ".trialog.compute.v1.AttemptPhase.phase_kind",
    ".trialog.compute.v1.StopAttempt.by_kind",
    ".trialog.runs.v1.RunStopRequested.by_kind",
    ".trialog.sweeps.v1.TrialStopRequested.by_kind",
];

/// Maps that are left out of JSON when they are empty.
const SPARSE_MAPS: &[&str] = &[".trialog.sweeps.v1.Trial.values"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let mut files = Vec::new();
    for service in std::fs::read_dir(root.join("trialog"))? {
        for file in std::fs::read_dir(service?.path().join("v1"))? {
            files.push(file?.path());
        }
    }
    files.sort();
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(&files, [&root])?;
    let mut builder = tonic_prost_build::configure()
        .btree_map(".")
        .type_attribute(".", "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]")
        .message_attribute(".", "#[serde(default)]");
    for (field, name) in JSON_TEXTS {
        let attribute = format!(
            "#[serde(with = \"crate::json_text\", rename = \"{name}\", skip_serializing_if = \"String::is_empty\")] \
             #[schema(value_type = Object)]"
        );
        builder = builder.field_attribute(field, attribute);
    }
    for field in LOOSE_NUMBERS {
        builder = builder.field_attribute(field, "#[serde(with = \"vocabulary::number\")] #[schema(value_type = f64)]");
    }
    for field in LOOSE_OPTIONAL_NUMBERS {
        let attribute = "#[serde(with = \"vocabulary::number::option\")] #[schema(value_type = Option<f64>)]";
        builder = builder.field_attribute(field, attribute);
    }
    for field in SPARSE_TEXTS {
        builder = builder.field_attribute(field, "#[serde(skip_serializing_if = \"String::is_empty\")]");
    }
    for field in SPARSE_LISTS {
        builder = builder.field_attribute(field, "#[serde(skip_serializing_if = \"Vec::is_empty\")]");
    }
    for field in SPARSE_MAPS {
        let attribute = "#[serde(skip_serializing_if = \"std::collections::BTreeMap::is_empty\")]";
        builder = builder.field_attribute(field, attribute);
    }
    for field in KINDS {
        builder = builder.field_attribute(field, "#[serde(skip)]");
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
