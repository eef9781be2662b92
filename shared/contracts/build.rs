//! Generates the Rust of proto/ with protox: no protoc is needed. Nothing generated is committed.

use std::fmt::Write as _;
use std::path::PathBuf;

use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};

/// How a field differs from its default JSON, by full name.
const FIELDS: &[(&str, Json)] = &[
    (".trialog.compute.v1.AttemptPhase.phase_kind", Json::Kind),
    (".trialog.compute.v1.Cluster.provider_json", Json::Nested("provider")),
    (".trialog.compute.v1.JobEnd.by_kind", Json::Kind),
    (".trialog.compute.v1.JobEnd.outcome_kind", Json::Kind),
    (".trialog.compute.v1.JobEnd.phase_kind", Json::Kind),
    (".trialog.compute.v1.JobEnd.unkept", Json::Sparse("String::is_empty")),
    (".trialog.compute.v1.JobInput.mode_kind", Json::Kind),
    (".trialog.compute.v1.JobPhaseChanged.phase_kind", Json::Kind),
    (".trialog.compute.v1.JobRequeued.cause_kind", Json::Kind),
    (".trialog.compute.v1.JobSpec.parameters_json", Json::Nested("parameters")),
    (".trialog.compute.v1.JobSpec.watched_metrics", Json::Sparse("Vec::is_empty")),
    (".trialog.compute.v1.StopAttempt.by_kind", Json::Kind),
    (".trialog.models.v1.ModelVersion.warnings", Json::Sparse("Vec::is_empty")),
    (".trialog.runs.v1.CreateRunRequest.check_only", Json::Hidden),
    (".trialog.runs.v1.CreateRunRequest.resolved", Json::Hidden),
    (".trialog.runs.v1.MetricPoint.value", Json::Loose),
    (".trialog.runs.v1.MetricSummary.last", Json::Loose),
    (".trialog.runs.v1.ReportedPoint.value", Json::Loose),
    (".trialog.runs.v1.RunEnded.state_kind", Json::Kind),
    (".trialog.runs.v1.RunRelabelled.state_kind", Json::Kind),
    (".trialog.runs.v1.RunStateChanged.state_kind", Json::Kind),
    (".trialog.runs.v1.RunStopRequested.by_kind", Json::Kind),
    (".trialog.sweeps.v1.Best.parameters_json", Json::Nested("parameters")),
    (".trialog.sweeps.v1.Best.unkept", Json::Sparse("String::is_empty")),
    (".trialog.sweeps.v1.Explanation.explanation_json", Json::Nested("explanation")),
    (".trialog.sweeps.v1.OfferedTrial.parameters_json", Json::Nested("parameters")),
    (".trialog.sweeps.v1.ParetoTrial.parameters_json", Json::Nested("parameters")),
    (".trialog.sweeps.v1.SubmitSweepReply.plan_json", Json::Nested("plan")),
    (".trialog.sweeps.v1.Sweep.constraints", Json::Sparse("Vec::is_empty")),
    (".trialog.sweeps.v1.Sweep.objectives", Json::Sparse("Vec::is_empty")),
    (".trialog.sweeps.v1.Sweep.pareto", Json::Sparse("Vec::is_empty")),
    (".trialog.sweeps.v1.Sweep.spec_json", Json::Nested("spec")),
    (".trialog.sweeps.v1.TellTrialReply.decision", Json::Sparse("String::is_empty")),
    (".trialog.sweeps.v1.TellTrialReply.not_counted", Json::Sparse("String::is_empty")),
    (".trialog.sweeps.v1.TellTrialRequest.value", Json::LooseOptional),
    (".trialog.sweeps.v1.ToldPoint.value", Json::Loose),
    (".trialog.sweeps.v1.ToldValue.value", Json::Loose),
    (".trialog.sweeps.v1.Trial.parameters_json", Json::Nested("parameters")),
    (".trialog.sweeps.v1.Trial.unkept", Json::Sparse("String::is_empty")),
    (".trialog.sweeps.v1.Trial.values", Json::Sparse("std::collections::BTreeMap::is_empty")),
    (".trialog.sweeps.v1.TrialEnded.state_kind", Json::Kind),
    (".trialog.sweeps.v1.TrialStopRequested.by_kind", Json::Kind),
    (".trialog.sweeps.v1.Verification.verification_json", Json::Nested("verification")),
];

/// What the JSON of a field is.
enum Json {
    /// The text is JSON: nested, under this name.
    Nested(&'static str),
    /// A double that may be NaN or infinite: a text then.
    Loose,
    /// The same where it may be absent.
    LooseOptional,
    /// Left out when this says that it is empty.
    Sparse(&'static str),
    /// An enum beside the text that it replaces: JSON, which is for people, has the text.
    Kind,
    /// Filled by the platform, not by users: not in JSON.
    Hidden,
}

impl Json {
    fn attribute(&self) -> String {
        match self {
            Self::Nested(name) => format!(
                "#[serde(with = \"crate::json_text\", rename = \"{name}\", \
                 skip_serializing_if = \"String::is_empty\")] #[schema(value_type = Object)]"
            ),
            Self::Loose => "#[serde(with = \"vocabulary::number\")] #[schema(value_type = f64)]".to_owned(),
            Self::LooseOptional => {
                "#[serde(with = \"vocabulary::number::option\")] #[schema(value_type = Option<f64>)]".to_owned()
            }
            Self::Sparse(is_empty) => format!("#[serde(skip_serializing_if = \"{is_empty}\")]"),
            Self::Kind | Self::Hidden => "#[serde(skip)]".to_owned(),
        }
    }
}

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
    for (field, json) in FIELDS {
        builder = builder.field_attribute(field, json.attribute());
    }
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("calls.rs"), calls(&descriptors)?)?;
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("reads.rs"), reads(&descriptors)?)?;
    builder.compile_fds(descriptors)?;
    Ok(())
}

/// The paths of the calls that change nothing, as proto/ says.
fn reads(descriptors: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut text = "&[".to_owned();
    for file in &descriptors.file {
        for service in &file.service {
            let is_read = |method: &&MethodDescriptorProto| {
                let level = method.options.as_ref().map(|options| options.idempotency_level());
                level == Some(IdempotencyLevel::NoSideEffects)
            };
            for method in service.method.iter().filter(is_read) {
                write!(text, "\"/{}.{}/{}\",", file.package(), service.name(), method.name())?;
            }
        }
    }
    Ok(text + "]")
}

/// A macro a service, e.g. `sweeps_calls!(Core)`: makes a `Calls(Core)` that serves each call of the contract by the
/// method of `Core` that has its name, so that a call is listed in `proto/` and nowhere else. Services with streams
/// have none: what their streams are is their own.
fn calls(descriptors: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for file in &descriptors.file {
        let Some(package) = file.package().strip_prefix("trialog.").and_then(|name| name.strip_suffix(".v1")) else {
            continue;
        };
        for service in &file.service {
            let streams = |method: &MethodDescriptorProto| method.client_streaming() || method.server_streaming();
            if service.name().to_lowercase() == format!("{package}service") && !service.method.iter().any(streams) {
                write_calls(&mut text, package, service)?;
            }
        }
    }
    Ok(text)
}

fn write_calls(text: &mut String, package: &str, service: &ServiceDescriptorProto) -> std::fmt::Result {
    let name = service.name();
    writeln!(
        text,
        "/// Makes `Calls`, a {name} that is served by the methods of `$core` with the names of its calls."
    )?;
    writeln!(text, "#[macro_export] macro_rules! {package}_calls {{ ($core:ty) => {{")?;
    writeln!(text, "/// Serves the calls of the contract.\n#[derive(Clone)] pub(crate) struct Calls(pub $core);")?;
    writeln!(text, "#[::tonic::async_trait] impl $crate::{package}::{package}_service_server::{name} for Calls {{")?;
    for method in &service.method {
        let call = snake(method.name());
        let of =
            |message: &str| format!("$crate{}", message.replace(".trialog", "").replace(".v1", "").replace('.', "::"));
        writeln!(
            text,
            "async fn {call}(&self, request: ::tonic::Request<{}>) \
             -> ::core::result::Result<::tonic::Response<{}>, ::tonic::Status> {{ self.0.{call}(request).await }}",
            of(method.input_type()),
            of(method.output_type()),
        )?;
    }
    writeln!(text, "}} }} }}")
}

/// `ListSweeps` as `list_sweeps`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(character.to_lowercase());
    }
    text
}
