//! The documents of endpoints and deployments, read with all their errors at once.

use std::collections::BTreeMap;

use documents::{Field, Fields, Findings, Format, Tree, reference};
use vocabulary::job::Requirements;
use vocabulary::{Problem, names};

use crate::endpoint::{Auth, DeploymentSpec, EndpointSpec, RequestSettings};

/// Replicas of a deployment.
const INSTANCES_MAX: u32 = 20;
/// The longest that a model may take for an answer, in seconds.
const REQUEST_TIMEOUT_MAX_SECONDS: f64 = 90.0;
/// The longest that a request may wait for a replica, in seconds: longer waits are retries better made by the client.
const QUEUE_WAIT_MAX_SECONDS: f64 = 90.0;
/// Requests at a replica: each holds a connection and a thread of the worker.
const CONCURRENT_MAX: u32 = 256;
/// What Azure ML has and Trialog has not yet, in documents of endpoints.
const ENDPOINT_NOT_OFFERED: [&str; 4] = ["mirror_traffic", "public_network_access", "identity", "kind"];
/// The same in documents of deployments.
const DEPLOYMENT_NOT_OFFERED: [&str; 10] = [
    "scale",
    "scale_settings",
    "probes",
    "liveness_probe",
    "readiness_probe",
    "data_collector",
    "code",
    "code_configuration",
    "model_mount_path",
    "runtime",
];
/// The same in environments.
const ENVIRONMENT_NOT_OFFERED: [&str; 2] = ["image", "conda"];

fn format(name: &str) -> Format {
    if name == "yaml" { Format::Yaml } else { Format::Json }
}

/// Notes a name that breaks the rule.
fn check_name(findings: &Findings, what: &str, name: &str) {
    if let Some(wrong) = names::endpoint(name) {
        findings.refuse("/name", "BadName", format!("the {what}'s name {wrong}"));
    }
}

/// A document may repeat the name of the path, not contradict it.
fn check_named(named: &Field<'_>, name: &str) {
    if named.text().is_some_and(|other| other != name) {
        named.refuse("NameMismatch", format_args!("{} is not the name in the path, '{name}'", named.received()));
    }
}

/// Reads the document of an endpoint.
///
/// # Errors
/// All that is wrong with it.
pub fn read_endpoint(name: &str, document: &[u8], written: &str) -> Result<EndpointSpec, Problem> {
    let root = documents::read(document, format(written))?;
    let findings = Findings::new();
    check_name(&findings, "endpoint", name);
    let mut spec = None;
    if let Some(mut fields) = Field::root(&root, &findings).map() {
        check_named(&fields.field("name"), name);
        fields.described_by(&reference::ENDPOINT);
        ENDPOINT_NOT_OFFERED.iter().for_each(|name| fields.unlisted(name).not_offered());
        let auth = match fields.field("auth").one_of("UnknownAuth", &["key", "token"]) {
            Some("token") => Auth::Token,
            _ => Auth::Key,
        };
        spec = Some(EndpointSpec {
            description: fields.text("description").unwrap_or_default().to_owned(),
            tags: fields.tags().unwrap_or_default(),
            auth,
        });
    }
    findings.finish(spec).map(|(spec, _)| spec)
}

/// A deployment's document as far as it could be read, before what it refers to is looked up.
#[derive(Debug)]
pub struct DeploymentDraft {
    /// Absent when it has no cluster.
    pub spec: Option<DeploymentSpec>,
    /// All that was found.
    pub findings: Findings,
}

/// Reads the document of a deployment. What `model` means was looked up before; only that it is there is checked.
///
/// # Errors
/// What is no document.
pub fn draft_deployment(name: &str, document: &[u8], written: &str) -> Result<DeploymentDraft, Problem> {
    let root = documents::read(document, format(written))?;
    let findings = Findings::new();
    check_name(&findings, "deployment", name);
    let mut spec = None;
    if let Some(mut fields) = Field::root(&root, &findings).map() {
        check_named(&fields.field("name"), name);
        fields.described_by(&reference::DEPLOYMENT);
        DEPLOYMENT_NOT_OFFERED.iter().for_each(|name| fields.unlisted(name).not_offered());
        check_model(&fields.required("model"));
        let cluster = fields.required("cluster").text();
        let instance_count = fields.field("instance_count").integer_in(1..=INSTANCES_MAX).unwrap_or(1);
        let (python, requirements) = fields.map("environment").and_then(environment).unwrap_or_default();
        let environment_variables = variables(&fields.field("environment_variables"));
        let request_settings = fields.map("request_settings").map(settings).unwrap_or_default();
        let (cpu_count, memory_bytes) = fields.map("resources").map(resources).unwrap_or((1.0, 0));
        spec = cluster.map(|cluster| DeploymentSpec {
            cluster: cluster.to_owned(),
            instance_count,
            python: python.unwrap_or_default(),
            requirements,
            code_sha256: None,
            environment_variables,
            request_settings,
            cpu_count,
            memory_bytes,
        });
    }
    Ok(DeploymentDraft { spec, findings })
}

/// `NAME/versions/N`, `NAME@ALIAS`, or `{name, version}`.
fn check_model(model: &Field<'_>) {
    let Some(node) = model.node() else { return };
    match node.value {
        Tree::Map(_) => {
            let Some(mut fields) = model.map() else { return };
            fields.described_by(&reference::MODEL);
            fields.required("name").text();
            fields.field("version").scalar_text();
        }
        _ => {
            model.text();
        }
    }
}

/// The interpreter, and what is installed. A file is one of the code of the version's run, which is known later.
fn environment(mut fields: Fields<'_>) -> Option<(Option<String>, Option<Requirements>)> {
    fields.described_by(&reference::DEPLOYMENT_ENVIRONMENT);
    ENVIRONMENT_NOT_OFFERED.iter().for_each(|name| fields.unlisted(name).not_offered());
    let python = documents::job::read_python(&fields.field("python"));
    let requirements = documents::job::read_requirements(&fields.field("requirements"), true);
    Some((python?, requirements?))
}

fn variables(field: &Field<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    if !field.is_present() {
        return variables;
    }
    for (name, value) in field.entries().unwrap_or_default() {
        if name.starts_with("TRIALOG_") {
            value.refuse("ReservedName", "names that start with TRIALOG_ are Trialog's own");
        } else if name.is_empty() || name.contains(['=', '\0']) {
            value.refuse("BadName", format_args!("{name:?} cannot be the name of an environment variable"));
        }
        if let Some(text) = value.scalar_text() {
            variables.insert(name.to_owned(), text);
        }
    }
    variables
}

fn seconds(field: &Field<'_>, most: f64, otherwise: f64, zero_is_good: bool) -> f64 {
    let Some(value) = field.number() else { return otherwise };
    if value < 0.0 || value > most || (value == 0.0 && !zero_is_good) {
        let least = if zero_is_good { "at least 0" } else { "above 0" };
        field.refuse("OutOfRange", format_args!("{value} seconds; {least} and at most {most}"));
    }
    value
}

fn settings(mut fields: Fields<'_>) -> RequestSettings {
    fields.described_by(&reference::REQUEST_SETTINGS);
    let otherwise = RequestSettings::default();
    let (timeout, wait) = (otherwise.request_timeout_seconds, otherwise.max_queue_wait_seconds);
    let idempotent = fields.boolean("idempotent").unwrap_or(otherwise.idempotent);
    let concurrent = fields.field("max_concurrent_requests_per_instance").integer_in(1..=CONCURRENT_MAX);
    RequestSettings {
        request_timeout_seconds: seconds(
            &fields.field("request_timeout_seconds"),
            REQUEST_TIMEOUT_MAX_SECONDS,
            timeout,
            false,
        ),
        max_concurrent_requests_per_instance: concurrent.unwrap_or(otherwise.max_concurrent_requests_per_instance),
        max_queue_wait_seconds: seconds(&fields.field("max_queue_wait_seconds"), QUEUE_WAIT_MAX_SECONDS, wait, true),
        idempotent,
    }
}

fn resources(mut fields: Fields<'_>) -> (f64, u64) {
    fields.described_by(&reference::DEPLOYMENT_RESOURCES);
    fields.unlisted("gpu_count").not_offered();
    let cpus = fields.field("cpu_count");
    let count = cpus.number().unwrap_or(1.0);
    if count <= 0.0 {
        cpus.refuse("OutOfRange", format_args!("{count} cores; more than 0 are needed"));
    }
    (count, fields.integer::<u64>("memory_bytes").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_deployment(name: &str, document: &[u8], written: &str) -> Result<DeploymentSpec, Problem> {
        let DeploymentDraft { spec, findings } = draft_deployment(name, document, written)?;
        findings.finish(spec).map(|(spec, _)| spec)
    }

    fn codes(problem: &Problem) -> Vec<(&str, &str)> {
        problem.errors.iter().map(|error| (error.pointer.as_str(), error.code.as_str())).collect()
    }

    #[test]
    fn a_small_document_gets_the_published_defaults() {
        let spec = read_deployment("blue", br#"{"model": "digits/3", "cluster": "cpu"}"#, "json").unwrap();
        assert_eq!((spec.instance_count, spec.cpu_count, spec.memory_bytes), (1, 1.0, 0));
        assert_eq!(spec.request_settings, RequestSettings::default());
        assert_eq!(read_endpoint("digits", b"{}", "json").unwrap().auth, Auth::Key);
    }

    #[test]
    fn what_the_reference_says_of_a_field_is_what_the_reader_does() {
        let (endpoint, deployment) =
            (serde_json::json!({}), serde_json::json!({"model": "digits@champion", "cluster": "serving"}));
        let faults_of = |section, base, read: &dyn Fn(&str) -> Result<String, Problem>| -> Vec<String> {
            let probes = reference::probes(section, base, &[]);
            probes.iter().filter_map(|probe| probe.check(&read).err()).collect()
        };
        let mut faults = faults_of(&reference::ENDPOINT, &endpoint, &|text| {
            read_endpoint("digits", text.as_bytes(), "json").map(|spec| format!("{spec:?}"))
        });
        faults.extend(faults_of(&reference::DEPLOYMENT, &deployment, &|text| {
            read_deployment("blue", text.as_bytes(), "json").map(|spec| format!("{spec:?}"))
        }));
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    }

    #[test]
    fn every_error_of_a_document_is_told_at_once() {
        let text = br#"{"cluster": 7, "instance_count": 21, "scale": {}, "environment_variables": {"TRIALOG_X": "1"},
            "request_settings": {"request_timeout_seconds": 91, "max_queue_wait_seconds": -1}}"#;
        let problem = read_deployment("b_lue", text, "json").unwrap_err();
        assert_eq!(problem.status, 422);
        assert_eq!(
            codes(&problem),
            [
                ("/cluster", "WrongType"),
                ("/environment_variables/TRIALOG_X", "ReservedName"),
                ("/instance_count", "OutOfRange"),
                ("/model", "Required"),
                ("/name", "BadName"),
                ("/request_settings/max_queue_wait_seconds", "OutOfRange"),
                ("/request_settings/request_timeout_seconds", "OutOfRange"),
                ("/scale", "NotOfferedYet"),
            ]
        );
    }

    #[test]
    fn a_misspelt_field_is_answered_with_the_right_one() {
        let problem = read_deployment("blue", b"model: m/1\ncluster: cpu\ninstance_cont: 2", "yaml").unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.contains("did you mean instance_count?"), "{}", problem.detail);
        let problem = read_endpoint("digits", b"mirror_traffic: {blue: 10}", "yaml").unwrap_err();
        assert_eq!(codes(&problem), [("/mirror_traffic", "NotOfferedYet")]);
    }

    #[test]
    fn the_work_of_a_document_grows_with_its_length() {
        let endpoint = serde_json::json!({"name": "e", "description": "d", "tags": {"a": "b"}, "auth": "key"});
        documents::hostile::assert_linear(&endpoint, |text| drop(read_endpoint("e", text, "json")));
        let deployment = serde_json::json!({
            "name": "blue", "model": {"name": "m", "version": 1}, "cluster": "cpu", "instance_count": 1,
            "environment": {"python": "/p"}, "environment_variables": {"A": "b"},
            "request_settings": {"request_timeout_seconds": 9}, "resources": {"cpu_count": 1},
        });
        documents::hostile::assert_linear(&deployment, |text| drop(read_deployment("blue", text, "json")));
    }
}
