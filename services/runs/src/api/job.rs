//! The job of a plain run: read by the rules that sweeps' trials are read by, all that is wrong at once.

use std::collections::{BTreeMap, BTreeSet};

use contracts::compute as job;
use contracts::runs as wire;
use documents::job::{Nodes, RESOURCES_DEFAULT};
use documents::reference::Entry;
use documents::{Field, Fields, Findings, Format, Node, did_you_mean, reference};
use tonic::Status;
use vocabulary::job::{JobSpec, Resources};
use vocabulary::{FieldError, Problem};

use super::{objects, run_in, status};
use crate::objects::Hash;
use crate::service::Core;

/// What a node's agent fills in.
const OPEN: &str = "${{";
const CLOSE: &str = "}}";
/// Characters of what was received that a message shows.
const SHOWN: usize = 80;

/// Checks a job's document.
///
/// # Errors
/// What is no document; all else is noted.
pub(super) fn check(
    job: &job::JobSpec,
    resolved: Option<&wire::ResolvedJob>,
    findings: &Findings,
) -> Result<(), Problem> {
    let document = document(job)?;
    if let Some(mut root) = Field::root(&document, findings).map()
        && let Some(fields) = root.field("job").map()
    {
        let cluster = resolved.and_then(|resolved| resolved.cluster.as_ref());
        read(fields, cluster, findings);
    }
    for (field, number) in [("timeout_seconds", job.timeout_seconds), ("grace_seconds", job.grace_seconds)] {
        if !number.is_finite() || number < 0.0 {
            let message = format!("job.{field} {number} must be a finite number, 0 or more");
            findings.add(FieldError::new(format!("/job/{field}"), "OutOfRange", message));
        }
    }
    Ok(())
}

/// A message has no absent texts and numbers: what is empty was not said.
fn document(job: &job::JobSpec) -> Result<Node, Problem> {
    // Of a message only the parameters are JSON in a text, which peers fill as they like.
    let no_json = |error| {
        let received: String = job.parameters_json.chars().take(SHOWN).collect();
        let message = format!("job.parameters: expected a JSON object, received {received:?}: {error}");
        Problem::invalid("/job/parameters", "BadJob", message)
    };
    let mut fields = serde_json::to_value(job).map_err(no_json)?;
    if let Some(fields) = fields.as_object_mut() {
        for name in ["cluster", "code_sha256", "python", "requirements_file", "goal", "checkpoint_from"] {
            if fields.get(name).is_some_and(|value| value == "") {
                fields.remove(name);
            }
        }
        fields.retain(|name, value| !value.is_null() && (name != "requirements" || *value != serde_json::json!([])));
        if let Some(resources) = fields.get_mut("resources").and_then(serde_json::Value::as_object_mut) {
            resources.retain(|_, value| value.as_f64() != Some(0.0));
        }
        for input in fields.get_mut("inputs").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
            input.as_object_mut().into_iter().for_each(|input| input.retain(|_, value| value != ""));
        }
    }
    documents::read(serde_json::json!({ "job": fields }).to_string().as_bytes(), Format::Json)
}

fn read(mut fields: Fields<'_>, cluster: Option<&wire::JobCluster>, findings: &Findings) {
    fields.described_by(&reference::JOB);
    let inputs = read_inputs(&fields.field("inputs"));
    let outputs = fields.field("outputs").list().unwrap_or_default();
    let outputs: Vec<_> = outputs.iter().filter_map(|output| Some((output.text()?, output.clone()))).collect();
    documents::job::check_ids(outputs.iter().cloned());
    let outputs = outputs.into_iter().map(|(id, _)| id).collect();
    check_kept(&mut fields, &outputs);
    let _ = fields.required("cluster").text();
    let command = fields.required("command");
    let words = command.list().unwrap_or_default();
    if command.is_present() && words.first().is_none_or(|word| word.text().is_none_or(str::is_empty)) {
        command.refuse("Required", reference::JOB.entry("command").map(Entry::wanted).unwrap_or_default());
    }
    let variables = fields.field("environment_variables").entries().unwrap_or_default();
    for (name, value) in &variables {
        documents::job::check_variable(name, value);
    }
    for text in words.iter().chain(variables.iter().map(|(_, value)| value)) {
        check_references(text, &inputs, &outputs, findings);
    }
    let _ = documents::job::read_code(&fields.field("code_sha256"), "");
    let _ = documents::job::read_python(&fields.field("python"));
    let file = fields.field("requirements_file");
    let _ = documents::job::read_requirements(&file, fields.field("code_sha256").is_present());
    let lines = fields.field("requirements");
    let _ = documents::job::read_requirements(&lines, false);
    if file.is_present() && lines.is_present() {
        file.refuse("ExactlyOne", "requirements are there too; keep one of the two");
    }
    let _ = fields.field("goal").one_of("BadGoal", &["minimize", "maximize"]);
    let prepare = fields.field("prepare");
    let words: Vec<_> = prepare.list().unwrap_or_default().iter().filter_map(Field::scalar_text).collect();
    documents::job::check_prepare(&words, &prepare);
    let retries = fields.field("max_retries");
    let _ = retries.integer_in(0..=i32::MAX);
    if fields.field("parameters").node().is_some_and(|node| !matches!(node.value, documents::Tree::Map(_))) {
        fields.field("parameters").refuse("WrongType", "an object by parameter is expected");
    }
    let nodes = cluster.map(|cluster| Nodes {
        max_nodes: cluster.max_nodes,
        vcpus: cluster.node_vcpus,
        memory_bytes: cluster.node_memory_bytes,
        gpus: cluster.node_gpus,
    });
    let _ = documents::job::read_resources(&fields.field("resources"), nodes.as_ref());
    // The other fields were checked by the message's own form.
    fields.ignore_rest();
}

/// What remains as it was at the best value, of a metric and a goal that are named.
fn check_kept(fields: &mut Fields<'_>, outputs: &BTreeSet<&str>) {
    let has_checkpoint = fields.boolean("checkpoint").unwrap_or_default();
    let kept = fields.field("keep_best");
    let entries = kept.list().unwrap_or_default();
    for entry in &entries {
        let is_there = match entry.text().and_then(|text| text.strip_prefix("outputs/")) {
            Some(id) => outputs.contains(id),
            None => has_checkpoint && entry.text() == Some("checkpoint"),
        };
        if !is_there {
            let message = "checkpoint, when the job has one, or outputs/ID of one of its outputs, received";
            entry.refuse("BadKeep", format_args!("{message} {}", entry.received()));
        }
    }
    let metric = fields.field("primary_metric");
    let is_clear = metric.text().is_some_and(|name| !name.is_empty()) && fields.field("goal").is_present();
    if !entries.is_empty() && !is_clear {
        let message = "keep: best is that of the best value of a metric; name primary_metric and goal in the job, or \
                       keep the last";
        kept.refuse("NeedsObjective", message);
    }
}

/// The ids of the inputs.
fn read_inputs<'a>(field: &Field<'a>) -> BTreeSet<&'a str> {
    let mut ids = Vec::new();
    for entry in field.list().unwrap_or_default() {
        let Some(mut fields) = entry.map() else { continue };
        fields.described_by(&reference::JOB_INPUT);
        let id = fields.required("id");
        if let Some(text) = id.text() {
            ids.push((text, id));
        }
        documents::job::read_input(&mut fields);
        fields.ignore_rest();
    }
    documents::job::check_ids(ids.iter().cloned());
    ids.into_iter().map(|(id, _)| id).collect()
}

/// A node fills in where inputs and outputs are, and nothing else.
fn check_references(field: &Field<'_>, inputs: &BTreeSet<&str>, outputs: &BTreeSet<&str>, findings: &Findings) {
    let mut rest = field.text().unwrap_or_default();
    if rest.contains('\0') {
        field.refuse("TemplateSyntax", "a NUL character cannot be part of an argument or of a variable");
    }
    while let Some((_, after)) = rest.split_once(OPEN) {
        let Some((inside, beyond)) = after.split_once(CLOSE) else {
            field.refuse("TemplateSyntax", format_args!("'{OPEN}{after}' opens {OPEN} without {CLOSE}"));
            return;
        };
        rest = beyond;
        let reference = inside.trim();
        let (unknown, known) = match reference.split_once('.') {
            Some(("inputs", id)) => (id, Some(inputs)),
            Some(("outputs", id)) => (id, Some(outputs)),
            _ => (reference, None),
        };
        if known.is_none_or(|known| !known.contains(unknown)) {
            findings.add_with(|| {
                let meant = did_you_mean(unknown, known.into_iter().flatten().copied());
                documents::job::unknown_reference(field, reference, unknown, meant)
            });
        }
    }
}

/// Looks up what a job refers to, and writes ids in their first spelling. All must be its workspace's own: a run's
/// checkpoint and an object's content are told to nobody else. With the job comes what is not there, or in this
/// workspace (404), and a cluster that takes no jobs (409), each with its place.
///
/// # Errors
/// What is not the job's fault.
pub(super) async fn resolve(
    core: &Core,
    workspace: &str,
    job: job::JobSpec,
    resolved: Option<&wire::ResolvedJob>,
) -> Result<(job::JobSpec, Faults), Status> {
    let mut faults = Faults::new();
    match resolved.map(|resolved| resolved.cluster.as_ref()) {
        Some(None) if !job.cluster.is_empty() => {
            faults.push(("/job/cluster", Problem::not_found("cluster", &job.cluster, workspace)));
        }
        Some(Some(cluster)) if !cluster.provisioning_state.eq_ignore_ascii_case("succeeded") => {
            let detail =
                format!("cluster '{}': state {}", job.cluster, cluster.provisioning_state.to_ascii_lowercase());
            faults.push(("/job/cluster", Problem::conflict("ClusterNotReady", detail)));
        }
        _ => {}
    }
    let checkpoint_from = match job.checkpoint_from.as_str() {
        "" => String::new(),
        run => match run_in(core, workspace, run).await {
            Ok(run) => run.to_string(),
            Err(status) => {
                faults.push(("/job/checkpoint_from", fault(status)?));
                String::new()
            }
        },
    };
    let mut code_sha256 = String::new();
    if !job.code_sha256.is_empty() {
        let hash = Hash::parse(&job.code_sha256).ok();
        let is_there = match &hash {
            Some(hash) => objects::is_there(core, workspace, hash).await.map_err(status)?,
            None => false,
        };
        match hash.filter(|_| is_there) {
            Some(hash) => hash.as_str().clone_into(&mut code_sha256),
            None => faults.push(("/job/code_sha256", Problem::not_found("object", &job.code_sha256, workspace))),
        }
    }
    Ok((job::JobSpec { checkpoint_from, code_sha256, ..job }, faults))
}

/// What is wrong with what a document refers to, each with its place.
pub(super) type Faults = Vec<(&'static str, Problem)>;

/// What a document is refused for.
///
/// # Errors
/// What is not its fault.
pub(super) fn fault(status: Status) -> Result<Problem, Status> {
    let problem = contracts::problem_of(&status);
    if matches!(problem.status, 404 | 409 | 422) { Ok(problem) } else { Err(status) }
}

/// Fills in what a plain run's job leaves out. What the attempt's node decides is left to its agent.
pub(super) fn complete(
    job: &job::JobSpec,
    params: &BTreeMap<String, String>,
    experiment: &str,
) -> Result<JobSpec, Problem> {
    let refuse = |error| Problem::invalid("/job", "BadJob", format!("job.{error}"));
    let spec = JobSpec::try_from(job.clone()).map_err(refuse)?;
    let given = spec.resources;
    let resources = Resources {
        cpu_count: if given.cpu_count == 0.0 { RESOURCES_DEFAULT.cpu_count } else { given.cpu_count },
        gpu_count: given.gpu_count,
        memory_bytes: if given.memory_bytes == 0 { RESOURCES_DEFAULT.memory_bytes } else { given.memory_bytes },
        node_count: given.node_count.max(1),
    };
    let of_params = || params.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut contract_variables = spec.contract_variables;
    for (name, value) in params.iter().filter(|(name, _)| is_variable_name(name)) {
        let name = format!("TRIALOG_PARAM_{}", vocabulary::names::environment_form(name));
        contract_variables.entry(name).or_insert_with(|| value.clone());
    }
    Ok(JobSpec {
        resources,
        sweep_id: None,
        trial_index: None,
        service: None,
        experiment: experiment.to_owned(),
        parameters: Some(spec.parameters.unwrap_or_else(of_params)),
        contract_variables,
        ..spec
    })
}

/// Whether a param can be a variable of the environment: the rule for parameters of sweeps. Others are in the params
/// file only.
fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
