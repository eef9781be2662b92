//! Runs: with a job that the platform executes, or driven by their client.

use actix_web::http::StatusCode;
use actix_web::{get, patch, post};
use contracts::compute::Cluster;
use contracts::runs::{
    CancelRunRequest, CreateRunRequest, GetRunRequest, JobCluster, ListRunsReply, ListRunsRequest, ResolvedJob, Run,
    UpdateRunRequest,
};
use contracts::sweeps::GetSweepRequest;
use documents::reference::{ENVIRONMENT, KEPT_CHECKPOINT, OUTPUT, Section};
use documents::{Field, Fields, Findings, Node, Tree};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use vocabulary::Problem;
use vocabulary::job::Requirements;

use super::sweeps::cluster_named;
use super::trials::{NOT_BEGUN, explain, job_of, placements, waits_for};
use crate::door::{self, Call, Document, Query, Refusal, Reply, Service, Waiting, changed, found};

super::routes!(create_run, list_runs, get_run, update_run, cancel_run, list_children, explain_run);

/// Which runs to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct RunsQuery {
    /// Only runs of this experiment, by id or name.
    #[serde(default)]
    experiment: String,
    /// Only children of this run.
    #[serde(default)]
    parent: String,
    /// Only runs in this state.
    #[serde(default)]
    state: String,
    /// Only runs of this sweep's trials, by its id or name.
    #[serde(default)]
    sweep: String,
    /// Only runs whose ids begin so, e.g. `run_01K7`.
    #[serde(default)]
    id_prefix: String,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
}

/// Creates a run. With a job the platform executes it on a cluster; without, its client drives it.
#[utoipa::path(tag = "runs", request_body = CreateRunRequest, responses((status = 201, body = Run)))]
#[post("/api/v1/workspaces/{workspace}/runs")]
pub(crate) async fn create_run(body: Document, call: Call) -> Reply {
    let (message, findings) = body.draft(as_message).await?;
    let mut request = CreateRunRequest { workspace: call.workspace.clone(), ..message };
    check_job(&request, &findings);
    if let Some(job) = request.job.as_ref().filter(|job| !job.cluster.is_empty()) {
        let cluster = cluster_named(&call, &job.cluster).await?.map(job_cluster);
        request.resolved = Some(ResolvedJob { cluster });
    }
    request.check_only = findings.any_errors();
    let reply = call.peers().runs_client().create_run(call.writing(body.hash())?.attach(request)).await;
    if findings.any_errors() {
        // What passes by itself says nothing about the document.
        let rest = reply.err().map(|status| contracts::problem_of(&status));
        rest.filter(|rest| matches!(rest.status, 404 | 409 | 422)).into_iter().for_each(|rest| findings.add_rest(rest));
        findings.finish(Some(()))?;
        return Err(Problem::internal("a document was refused without a reason").into());
    }
    let reply = reply?;
    changed(StatusCode::CREATED, Service::Runs, reply)
}

/// A sweep takes its outputs and its environment as maps, and values of its parameters are numbers: who writes a run so
/// means the same.
fn as_message(run: &mut Node, findings: &Findings) {
    if let Some(Tree::Map(params)) = field_mut(run, "params").map(|params| &mut params.value) {
        for (_, param) in params {
            match &param.value {
                Tree::Number(text) => param.value = Tree::Text(text.clone()),
                Tree::Bool(value) => param.value = Tree::Text(value.to_string()),
                _ => {}
            }
        }
    }
    let kept = kept_at_best(run, findings);
    let software = software(run, findings);
    let Some(job) = field_mut(run, "job") else { return };
    if let Some(outputs) = field_mut(job, "outputs")
        && let Tree::Map(entries) = &outputs.value
    {
        let id = |(id, entry): &(String, Node)| Node { value: Tree::Text(id.clone()), ..entry.clone() };
        outputs.value = Tree::List(entries.iter().map(id).collect());
    }
    if let Some(checkpoint) = field_mut(job, "checkpoint").filter(|checkpoint| matches!(checkpoint.value, Tree::Map(_)))
    {
        checkpoint.value = Tree::Bool(true);
    }
    let (line, column) = (job.line, job.column);
    let Tree::Map(fields) = &mut job.value else { return };
    let here = |value: Tree| Node { value, line, column };
    let list = |texts: Vec<String>| Tree::List(texts.into_iter().map(|text| here(Tree::Text(text))).collect());
    fields.retain(|(name, _)| name != "environment");
    let requirements = software.requirements.map(|requirements| match requirements {
        Requirements::File(file) => ("requirements_file", Tree::Text(file)),
        Requirements::Lines(lines) => ("requirements", list(lines)),
    });
    let python = software.python.map(|python| ("python", Tree::Text(python)));
    let kept = (!kept.is_empty()).then(|| ("keep_best", list(kept)));
    let added = [requirements, python, kept].into_iter().flatten();
    fields.extend(added.map(|(name, value)| (name.to_owned(), here(value))));
}

/// The fields of a run's job, when it has one; what is wrong with others is found where the message is checked.
fn job_of_run<'a>(run: &'a Node, findings: &'a Findings) -> Option<Fields<'a>> {
    let is_map = |node: &&Node| matches!(node.value, Tree::Map(_));
    run.get("job").filter(is_map)?;
    let mut run = Field::root(run, findings).map()?;
    run.ignore_rest();
    let mut job = run.field("job").map()?;
    job.ignore_rest();
    Some(job)
}

/// What a job's `environment` says.
#[derive(Default)]
struct Software {
    python: Option<String>,
    requirements: Option<Requirements>,
}

fn software(run: &Node, findings: &Findings) -> Software {
    let Some(mut job) = job_of_run(run, findings) else { return Software::default() };
    let (environment, has_code) = (job.field("environment"), job.field("code_sha256").is_present());
    let Some(mut fields) = environment.map() else { return Software::default() };
    fields.described_by(&ENVIRONMENT);
    let python = documents::job::read_python(&fields.field("python"));
    let requirements = documents::job::read_requirements(&fields.field("requirements"), has_code);
    for name in ["python", "requirements", "requirements_file"] {
        let loose = job.field(name);
        if loose.is_present() {
            loose.refuse("ExactlyOne", "environment is there too; write it there, and only there");
            return Software::default();
        }
    }
    Software { python: python.flatten(), requirements: requirements.flatten() }
}

/// What the document wants to remain as it was at the best value.
fn kept_at_best(run: &Node, findings: &Findings) -> Vec<String> {
    let mut kept = Vec::new();
    let Some(mut job) = job_of_run(run, findings) else { return kept };
    let (checkpoint, outputs) = (job.field("checkpoint"), job.field("outputs"));
    let is_map = |field: &Field<'_>| field.node().is_some_and(|node| matches!(node.value, Tree::Map(_)));
    let mut read = |field: &Field<'_>, name: String, section: &'static Section| {
        if let Some(mut fields) = field.map() {
            fields.described_by(section);
            kept.extend(documents::job::keeps_best(&mut fields).then_some(name));
        }
    };
    if is_map(&checkpoint) {
        read(&checkpoint, "checkpoint".to_owned(), &KEPT_CHECKPOINT);
    }
    let entries = if is_map(&outputs) { outputs.entries().unwrap_or_default() } else { Vec::new() };
    for (id, entry) in entries.iter().filter(|(_, entry)| entry.node().is_some_and(|node| node.value != Tree::Null)) {
        read(entry, format!("outputs/{id}"), &OUTPUT);
    }
    kept
}

fn field_mut<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    let Tree::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|(key, _)| key == name).map(|(_, node)| node)
}

fn job_cluster(cluster: Cluster) -> JobCluster {
    let size = cluster.size.unwrap_or_default();
    JobCluster {
        max_nodes: cluster.scale.map(|scale| scale.max_nodes).unwrap_or_default(),
        node_vcpus: size.vcpus,
        node_memory_bytes: size.memory_bytes,
        node_gpus: size.gpus,
        provisioning_state: cluster.provisioning_state,
    }
}

/// Fields of a job that only the platform may fill: with them a plain run could pass for a trial or a replica.
fn check_job(request: &CreateRunRequest, findings: &Findings) {
    let Some(job) = &request.job else { return };
    let filled = [
        ("service", job.service.is_some()),
        ("sweep_id", !job.sweep_id.is_empty()),
        ("trial_index", job.trial_index.is_some()),
        ("contract_variables", !job.contract_variables.is_empty()),
        ("experiment", !job.experiment.is_empty()),
        ("watched_metrics", !job.watched_metrics.is_empty()),
    ];
    for (field, _) in filled.into_iter().filter(|(_, filled)| *filled) {
        let message = format!("job.{field}: set by the platform; leave it out");
        findings.refuse(format!("/job/{field}"), "ReadOnly", message);
    }
}

/// Lists runs, the newest first.
#[utoipa::path(tag = "runs", params(RunsQuery), responses((status = 200, body = ListRunsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs")]
pub(crate) async fn list_runs(call: Call, query: Query<RunsQuery>) -> Reply {
    let RunsQuery { experiment, parent, state, sweep, id_prefix, page_size, page_token } = query.into_inner();
    let sweep_id = if sweep.is_empty() { sweep } else { sweep_named(&call, sweep).await? };
    let workspace = call.workspace.clone();
    let request = ListRunsRequest {
        workspace,
        experiment,
        parent,
        state,
        sweep_id,
        page_size,
        page_token,
        recursive: false,
        id_prefix,
    };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_runs(context.attach(request)).await?;
    door::json(StatusCode::OK, reply.get_ref())
}

/// The id of a sweep; one that was deleted may have left its runs.
async fn sweep_named(call: &Call, sweep: String) -> Result<String, Refusal> {
    let workspace = call.workspace.clone();
    let request = GetSweepRequest { workspace, sweep, deleted: true, ..GetSweepRequest::default() };
    let context = call.reading(Service::Sweeps)?;
    Ok(call.peers().sweeps_client().get_sweep(context.attach(request)).await?.into_inner().sweep_id)
}

/// Shows a run; of one that is queued also why it waits.
#[utoipa::path(tag = "runs", responses((status = 200, body = Run)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}")]
pub(crate) async fn get_run(call: Call) -> Reply {
    let mut reply = run_of(&call).await?;
    let run = reply.get_mut();
    if NOT_BEGUN.contains(&run.state.as_str()) && run.job.is_some() {
        // The run is worth showing even when compute does not answer.
        let job = job_of(&call, &run.run_id).await.ok().flatten();
        run.reason = job.map(waits_for).unwrap_or_default();
    }
    found(reply, Waiting::default())
}

async fn run_of(call: &Call) -> Result<tonic::Response<Run>, Refusal> {
    let request = GetRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().get_run(context.attach(request)).await?;
    match reply.get_ref().deleted_at.as_str() {
        "" => Ok(reply),
        at => {
            let (run, workspace) = (call.path("run"), &call.workspace);
            let detail = format!("run '{run}' in workspace '{workspace}': it was deleted at {at}");
            Err(Problem::new(404, "NotFound", detail).into())
        }
    }
}

/// Says why a run waits, ran where it ran and ended as it did: `{run_id, state, reason, placements, attempts, end}`; of
/// a trial's run what is said of the trial.
#[utoipa::path(tag = "runs", responses((status = 200, body = serde_json::Value)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}/why")]
pub(crate) async fn explain_run(call: Call) -> Reply {
    let run = run_of(&call).await?.into_inner();
    if let Some(index) = run.trial_index.filter(|_| !run.sweep_id.is_empty()) {
        return door::json(StatusCode::OK, &explain(&call, &run.sweep_id, index, false).await?);
    }
    if run.job.is_none() {
        let detail = format!("run '{}' has no job: its client drives it, and nothing was decided here", run.run_id);
        return Err(Problem::conflict("NoJob", detail).into());
    }
    let job = job_of(&call, &run.run_id).await?.unwrap_or_default();
    let (waits, shown) = (waits_for(job.clone()), job.reason.clone());
    let reason = match (job.job_id.as_str(), waits.as_str()) {
        ("", _) => ON_ITS_WAY.to_owned(),
        (_, "") => shown,
        _ => waits,
    };
    let attempts = run.attempts.iter().map(|attempt| {
        json!({
            "number": attempt.number,
            "node": attempt.node,
            "started": attempt.started_at,
            "ended": attempt.ended_at,
            "end": attempt.end,
            "checkpoint_age_seconds": attempt.checkpoint_age_seconds,
        })
    });
    let explanation = json!({
        "run_id": run.run_id,
        "state": run.state,
        "reason": reason,
        "attempts": attempts.collect::<Vec<_>>(),
        "placements": placements(&job),
        "end": run.end,
    });
    door::json(StatusCode::OK, &explanation)
}

/// Why a run waits whose job compute has not heard of yet.
const ON_ITS_WAY: &str = "its job is on its way to compute";

/// Renames a run, adds params and tags, or ends a run that its client drives.
#[utoipa::path(tag = "runs", request_body = UpdateRunRequest, responses((status = 200, body = Run)))]
#[patch("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}")]
pub(crate) async fn update_run(body: Document, call: Call) -> Reply {
    let request =
        UpdateRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()?, ..body.message().await? };
    let reply = call.peers().runs_client().update_run(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::OK, Service::Runs, reply)
}

/// Cancels a run and what is nested in it: jobs are told, and killed when they do not end in time.
#[utoipa::path(tag = "runs", responses((status = 202, body = Run)))]
#[post("/api/v1/workspaces/{workspace}/runs/{run:[^/:]+}:cancel")]
pub(crate) async fn cancel_run(body: Document, call: Call) -> Reply {
    let request = CancelRunRequest { workspace: call.workspace.clone(), run_id: call.run_id()? };
    let reply = call.peers().runs_client().cancel_run(call.writing(body.hash())?.attach(request)).await?;
    changed(StatusCode::ACCEPTED, Service::Runs, reply)
}

/// Which of a run's children to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct ChildrenQuery {
    /// Also what is nested below the children.
    #[serde(default)]
    recursive: bool,
    /// Entries of the page, 1 to 1000; 100 when absent.
    #[serde(default, deserialize_with = "super::page::size")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    page_size: i32,
    /// `next_page_token` of the page before.
    #[serde(default)]
    page_token: String,
}

/// Lists a run's children, the newest first.
#[utoipa::path(tag = "runs", params(ChildrenQuery), responses((status = 200, body = ListRunsReply)))]
#[get("/api/v1/workspaces/{workspace}/runs/{run}/children")]
pub(crate) async fn list_children(call: Call, query: Query<ChildrenQuery>) -> Reply {
    let ChildrenQuery { recursive, page_size, page_token } = query.into_inner();
    let (workspace, parent) = (call.workspace.clone(), call.run_id()?);
    let request = ListRunsRequest { workspace, parent, recursive, page_size, page_token, ..ListRunsRequest::default() };
    let context = call.reading(Service::Runs)?;
    let reply = call.peers().runs_client().list_runs(context.attach(request)).await?;
    door::json(StatusCode::OK, reply.get_ref())
}

#[cfg(test)]
mod tests {
    use contracts::compute::{JobSpec, ServiceSpec};
    use vocabulary::FieldError;

    use super::*;

    #[test]
    fn what_only_the_platform_fills_in_is_refused_and_not_dropped() {
        // Whoever names an experiment in the job would find the run in another one.
        let job = JobSpec {
            service: Some(ServiceSpec::default()),
            sweep_id: "sweep_1".to_owned(),
            trial_index: Some(0),
            contract_variables: [("A".to_owned(), "b".to_owned())].into(),
            experiment: "digits".to_owned(),
            watched_metrics: vec!["loss".to_owned()],
            ..JobSpec::default()
        };
        let check = |job: JobSpec| {
            let findings = Findings::new();
            check_job(&CreateRunRequest { job: Some(job), ..CreateRunRequest::default() }, &findings);
            findings.finish(Some(()))
        };
        let refused = check(job).unwrap_err();
        let pointers: Vec<&str> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
        let fields = ["contract_variables", "experiment", "service", "sweep_id", "trial_index", "watched_metrics"];
        assert_eq!(pointers, fields.map(|field| format!("/job/{field}")));
        assert!(check(JobSpec::default()).is_ok());
    }

    #[test]
    fn a_run_may_be_written_as_a_sweep_is() {
        let text = "{params: {lr: 0.10, fast: true, net: deep}, job: {outputs: {model: {}, report: null}}}";
        let mut run = documents::read(text.as_bytes(), documents::Format::Yaml).unwrap();
        formed(&mut run).unwrap();
        let expected = json!({
            "params": {"lr": "0.10", "fast": "true", "net": "deep"}, "job": {"outputs": ["model", "report"]},
        });
        assert_eq!(run.to_json(), expected);
        let before = run.to_json();
        formed(&mut run).unwrap();
        assert_eq!(run.to_json(), before);
    }

    fn formed(run: &mut Node) -> Result<(), Problem> {
        let findings = Findings::new();
        as_message(run, &findings);
        findings.finish(Some(())).map(|_| ())
    }

    #[test]
    fn the_environment_of_a_run_is_written_as_that_of_a_sweep() {
        // A section that moves from a sweep to a run was refused word by word.
        let read = |text: &str| documents::read(text.as_bytes(), documents::Format::Yaml).unwrap();
        let code = "code_sha256: x";
        for (environment, expected) in [
            ("{python: 3.11, requirements: [numpy]}", json!({"python": "3.11", "requirements": ["numpy"]})),
            ("{requirements: deps.txt}", json!({"requirements_file": "deps.txt"})),
            ("{}", json!({})),
        ] {
            let mut run = read(&format!("{{job: {{{code}, environment: {environment}}}}}"));
            formed(&mut run).unwrap();
            let mut expected = expected;
            expected["code_sha256"] = json!("x");
            assert_eq!(run.to_json()["job"], expected);
        }
        for (job, code, pointer) in [
            ("{environment: {pyton: 3}}", "UnknownField", "/job/environment/pyton"),
            ("{environment: {python: x}}", "BadEnvironment", "/job/environment/python"),
            ("{environment: {requirements: deps.txt}}", "BadEnvironment", "/job/environment/requirements"),
            ("{environment: 3.11}", "WrongType", "/job/environment"),
            ("{environment: {python: 3}, python: '3'}", "ExactlyOne", "/job/python"),
        ] {
            let problem = formed(&mut read(&format!("{{job: {job}}}"))).unwrap_err();
            let found: Vec<_> = problem.errors.iter().map(|e| (e.code.as_str(), e.pointer.as_str())).collect();
            assert_eq!(found, [(code, pointer)], "{job}");
        }
    }

    #[test]
    fn what_a_run_is_to_keep_is_read_as_a_sweep_has_it() {
        let read = |text: &str| documents::read(text.as_bytes(), documents::Format::Yaml).unwrap();
        let outputs = "{model: {keep: best}, a: {keep: last}, b: null}";
        let mut run = read(&format!("{{job: {{checkpoint: {{keep: best}}, outputs: {outputs}}}}}"));
        formed(&mut run).unwrap();
        let job = json!({
            "checkpoint": true, "outputs": ["model", "a", "b"], "keep_best": ["checkpoint", "outputs/model"],
        });
        assert_eq!(run.to_json(), json!({ "job": job }));
        for (text, code, pointer) in [
            ("{job: {outputs: {model: {keep: worst}}}}", "BadKeep", "/job/outputs/model/keep"),
            ("{job: {outputs: {model: {kepe: best}}}}", "UnknownField", "/job/outputs/model/kepe"),
            ("{job: {checkpoint: {keep: 1}}}", "WrongType", "/job/checkpoint/keep"),
            ("{job: {outputs: {model: 7}}}", "WrongType", "/job/outputs/model"),
        ] {
            let problem = formed(&mut read(text)).unwrap_err();
            let of = |error: &FieldError| (error.code.clone(), error.pointer.clone());
            let found: Vec<_> = problem.errors.iter().map(of).collect();
            assert_eq!(found, [(code.to_owned(), pointer.to_owned())], "{text}");
        }
    }
}
