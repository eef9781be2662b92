//! The calls of deployments, their logs, and where a request id's key leads.

use std::ops::Bound;

use contracts::compute as wire;
use contracts::{CallContext, status_of, with_made, with_position};
use documents::Findings;
use eventlog::sql;
use tonic::{Request, Response, Status};
use vocabulary::job::Requirements;
use vocabulary::{JobId, Problem};

use super::endpoints::{EndpointCalls, absent};
use super::endpoints_document::{DeploymentDraft, draft_deployment};
use super::endpoints_to_wire;
use crate::endpoint::{
    Command, Deployment, DeploymentRevised, DeploymentSpec, Endpoint, EndpointEvent, ModelFile, ServedModel,
};
use crate::views::endpoints::{revision_keys, stream};

/// Deployments of a workspace.
const DEPLOYMENTS_MAX: i64 = 200;

impl EndpointCalls {
    pub(crate) async fn put_deployment(
        &self,
        request: Request<wire::PutDeploymentRequest>,
    ) -> Result<Response<wire::Deployment>, Status> {
        let call = CallContext::of(&request);
        let wire::PutDeploymentRequest { workspace, endpoint, name, document, format, resolved, model_absent } =
            request.into_inner();
        let named = name.clone();
        let read = runtime::reading::body(document.len(), move || draft_deployment(&named, &document, &format)).await;
        let DeploymentDraft { spec, findings } = read.flatten().map_err(|problem| status_of(&problem))?;
        let cluster = spec.as_ref().map(|spec| spec.cluster.clone());
        if let Some(cluster) = cluster {
            let has = self.commands.jobs.has_cluster(&workspace, &cluster).await;
            if !has.map_err(|problem| status_of(&problem))? {
                findings.absent("/cluster", Problem::not_found("cluster", &cluster, &workspace).detail);
            }
        }
        let (spec, resolved) =
            complete(spec, resolved, model_absent, findings).map_err(|problem| status_of(&problem))?;
        let stream = stream(&workspace, &endpoint);
        let (known, _) = self.commands.look(&stream).await.map_err(calls::unreadable)?;
        if known.created.is_none() {
            return Err(absent(&workspace, &endpoint));
        }
        let was_absent = !known.deployments.contains_key(&name);
        if was_absent {
            self.check_deployment_limit(&workspace).await?;
        }
        let is_archived = resolved.is_archived;
        let revision = DeploymentRevised {
            workspace: workspace.clone(),
            endpoint: endpoint.clone(),
            deployment: name.clone(),
            revision: 0,
            model: served(resolved),
            spec,
            at: self.commands.now(),
        };
        let command = Command::Revise { revision: Box::new(revision), is_archived };
        // Numbers of revisions go on after a deletion, so the event alone does not say it.
        let is_new = move |event: &EndpointEvent| was_absent && matches!(event, EndpointEvent::DeploymentRevised(_));
        let (position, is_new) = self.put(&call, &stream, command, is_new).await?;
        Ok(with_made(with_position(self.deployment_now(&workspace, &endpoint, &name).await?, position), is_new))
    }

    async fn check_deployment_limit(&self, workspace: &str) -> Result<(), Status> {
        let count: i64 = sql("SELECT count(*) FROM deployments_listed WHERE workspace = $1")
            .bind(workspace)
            .fetch_one(self.commands.log().reader())
            .await
            .map_err(calls::unreadable)?;
        if count < DEPLOYMENTS_MAX {
            return Ok(());
        }
        let detail = format!("workspace '{workspace}' has {count} deployments, its limit; delete one first");
        Err(status_of(&Problem::conflict("QuotaExceeded", detail).with("limit", DEPLOYMENTS_MAX).with("used", count)))
    }

    async fn deployment_now(&self, workspace: &str, endpoint: &str, name: &str) -> Result<wire::Deployment, Status> {
        let (state, version) = self.commands.look(&stream(workspace, endpoint)).await.map_err(calls::unreadable)?;
        self.shown(workspace, endpoint, name, &state, version).await
    }

    async fn shown(
        &self,
        workspace: &str,
        endpoint: &str,
        name: &str,
        state: &Endpoint,
        version: i64,
    ) -> Result<wire::Deployment, Status> {
        if state.created.is_none() {
            return Err(absent(workspace, endpoint));
        }
        let Some(deployment) = state.deployments.get(name) else { return Err(no_deployment(endpoint, name)) };
        let keys = revision_keys(self.commands.log().reader(), workspace, endpoint).await.map_err(calls::unreadable)?;
        let key_of = |revision| keys.get(&(name.to_owned(), revision)).copied().unwrap_or_default();
        let shown = endpoints_to_wire::deployment(name, deployment, version, key_of, self.commands.now());
        Ok(self.explained(deployment, shown))
    }

    /// With what it waits for.
    fn explained(&self, deployment: &Deployment, shown: wire::Deployment) -> wire::Deployment {
        let explain = |job_id: &str| JobId::parse(job_id).map(|job_id| self.fleet.lock().explain_replica(job_id));
        let reason = endpoints_to_wire::reason(deployment, |job_id| explain(job_id).unwrap_or_default());
        wire::Deployment { reason, ..shown }
    }

    pub(crate) async fn get_deployment(
        &self,
        request: Request<wire::GetDeploymentRequest>,
    ) -> Result<Response<wire::Deployment>, Status> {
        calls::at_least(self.commands.log(), &CallContext::of(&request)).await?;
        let wire::GetDeploymentRequest { workspace, endpoint, name, wait_seconds, after_version } =
            request.into_inner();
        let (state, version) = self.look_after(&stream(&workspace, &endpoint), wait_seconds, after_version).await?;
        Ok(Response::new(self.shown(&workspace, &endpoint, &name, &state, version).await?))
    }

    pub(crate) async fn list_deployments(
        &self,
        request: Request<wire::ListDeploymentsRequest>,
    ) -> Result<Response<wire::ListDeploymentsReply>, Status> {
        calls::at_least(self.commands.log(), &CallContext::of(&request)).await?;
        let wire::ListDeploymentsRequest { workspace, name: endpoint, page_size, page_token } = request.into_inner();
        let (size, after) = calls::page(page_size, &page_token)?;
        let (state, version) = self.commands.look(&stream(&workspace, &endpoint)).await.map_err(calls::unreadable)?;
        if state.created.is_none() {
            return Err(absent(&workspace, &endpoint));
        }
        let keys =
            revision_keys(self.commands.log().reader(), &workspace, &endpoint).await.map_err(calls::unreadable)?;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shown = state.deployments.range((after, Bound::Unbounded)).map(|(name, deployment)| {
            let key_of = |revision| keys.get(&(name.clone(), revision)).copied().unwrap_or_default();
            let shown = endpoints_to_wire::deployment(name, deployment, version, key_of, self.commands.now());
            (name.clone(), self.explained(deployment, shown))
        });
        let (deployments, next_page_token) = calls::page_of(size, shown);
        Ok(Response::new(wire::ListDeploymentsReply { deployments, next_page_token }))
    }

    pub(crate) async fn delete_deployment(
        &self,
        request: Request<wire::GetDeploymentRequest>,
    ) -> Result<Response<wire::Deployment>, Status> {
        let call = CallContext::of(&request);
        let wire::GetDeploymentRequest { workspace, endpoint, name, .. } = request.into_inner();
        let before = self.deployment_now(&workspace, &endpoint, &name).await?;
        let command = Command::DeleteDeployment { deployment: name.clone(), at: self.commands.now() };
        let position = self.execute(&call, &stream(&workspace, &endpoint), command).await?;
        let shown = match self.deployment_now(&workspace, &endpoint, &name).await {
            Ok(shown) => shown,
            // It is gone already: nothing had to be drained.
            Err(_) => wire::Deployment { provisioning_state: "Deleted".to_owned(), ..before },
        };
        Ok(with_position(shown, position))
    }

    pub(crate) async fn read_deployment_logs(
        &self,
        request: Request<wire::ReadDeploymentLogsRequest>,
    ) -> Result<Response<wire::DeploymentLogs>, Status> {
        let wire::ReadDeploymentLogsRequest { workspace, endpoint, deployment, tail_lines } = request.into_inner();
        // Only names of things that exist become paths.
        self.deployment_now(&workspace, &endpoint, &deployment).await?;
        let lines = usize::try_from(tail_lines).unwrap_or(usize::MAX);
        let text = self
            .commands
            .state
            .logs
            .tail(&workspace, &endpoint, &deployment, lines)
            .await
            .map_err(calls::unreadable)?;
        Ok(Response::new(wire::DeploymentLogs { text }))
    }

    pub(crate) async fn get_revision(
        &self,
        request: Request<wire::GetRevisionRequest>,
    ) -> Result<Response<wire::Revision>, Status> {
        calls::at_least(self.commands.log(), &CallContext::of(&request)).await?;
        let key = request.into_inner().revision_key;
        type Row = (String, String, String, i64, String, i64, String, String);
        let row: Option<Row> =
            sql("SELECT workspace, endpoint, deployment, revision, model, model_version, version_id, run_id \
             FROM revisions WHERE key = $1")
            .bind(key)
            .fetch_optional(self.commands.log().reader())
            .await
            .map_err(calls::unreadable)?;
        let Some((workspace, endpoint, deployment, revision, model, model_version, version_id, run_id)) = row else {
            let detail = format!("no revision of a deployment has the key {key}");
            return Err(status_of(&Problem::new(404, "NotFound", detail)));
        };
        Ok(Response::new(wire::Revision {
            revision_key: key,
            workspace,
            endpoint,
            deployment,
            revision,
            model,
            model_version,
            version_id,
            run_id,
        }))
    }
}

/// The deployment with what it has from its version, or all that is wrong with its document.
fn complete(
    mut spec: Option<DeploymentSpec>,
    resolved: Option<wire::ResolvedModel>,
    model_absent: String,
    findings: Findings,
) -> Result<(DeploymentSpec, wire::ResolvedModel), Problem> {
    match (&resolved, spec.as_mut()) {
        (Some(resolved), Some(spec)) => {
            if let Err(fault) = inherit(spec, resolved.environment.clone()) {
                findings.add_problem("/environment/requirements", fault);
            }
        }
        (Some(_), None) => {}
        (None, _) if !model_absent.is_empty() => findings.absent("/model", model_absent),
        // What is no name of a version was refused as that.
        (None, _) if findings.pointers().iter().any(|pointer| pointer.starts_with("/model")) => {}
        (None, _) => {
            let message = "model: it was not looked up; send name/3 or name@alias of a registered model";
            findings.refuse("/model", "UnknownModel", message);
        }
    }
    findings.finish(spec.zip(resolved)).map(|(complete, _)| complete)
}

/// A model is served with what it was made with, unless its deployment names something else.
fn inherit(spec: &mut DeploymentSpec, of_version: Option<wire::Environment>) -> Result<(), Problem> {
    let wire::Environment { python, requirements, requirements_file, code_sha256 } = of_version.unwrap_or_default();
    if spec.python.is_empty() && spec.requirements.is_none() {
        spec.python = python;
        spec.requirements = contracts::job::requirements_of(requirements, requirements_file);
    }
    if let Some(Requirements::File(file)) = &spec.requirements {
        if code_sha256.is_empty() {
            let message = format!(
                "environment.requirements '{file}': a file of the code of the version's run, which has none; write a \
                 list such as [scikit-learn==1.5]"
            );
            return Err(Problem::invalid("/environment/requirements", "BadEnvironment", message));
        }
        spec.code_sha256 = Some(code_sha256);
    }
    Ok(())
}

fn no_deployment(endpoint: &str, name: &str) -> Status {
    status_of(&Problem::new(404, "NotFound", format!("deployment '{name}' of endpoint '{endpoint}'")))
}

fn served(resolved: wire::ResolvedModel) -> ServedModel {
    let wire::ResolvedModel { model, version, version_id, run_id, files, alias, .. } = resolved;
    let files =
        files.into_iter().map(|file| ModelFile { path: file.path, sha256: file.sha256, size_bytes: file.size_bytes });
    ServedModel { model, version, version_id, run_id, alias, files: files.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_refused_once_with_all_that_is_wrong_with_it() {
        // Who is told of a field, then of the cluster and then of the model sends it three times.
        let text = b"model: digits@champion\ncluster: cpu\ninstance_cont: 2\ninstance_count: 21";
        let DeploymentDraft { spec, findings } = draft_deployment("blue", text, "yaml").unwrap();
        findings.absent("/cluster", "cluster 'cpu' in workspace 'w'");
        let absent = "version '@champion' of model 'digits' in workspace 'w'";
        let problem = complete(spec, None, absent.to_owned(), findings).unwrap_err();
        let errors: Vec<_> = problem.errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
        let expected = [
            ("/cluster", "NotFound"),
            ("/instance_cont", "UnknownField"),
            ("/instance_count", "OutOfRange"),
            ("/model", "NotFound"),
        ];
        assert_eq!((problem.status, errors.as_slice()), (400, expected.as_slice()));
        let DeploymentDraft { spec, findings } = draft_deployment("blue", b"model: d\ncluster: c", "yaml").unwrap();
        let problem = complete(spec, None, absent.to_owned(), findings).unwrap_err();
        assert_eq!((problem.status, problem.detail.as_str()), (404, absent));
        let DeploymentDraft { spec, findings } = draft_deployment("blue", b"model: [d]\ncluster: c", "yaml").unwrap();
        let problem = complete(spec, None, String::new(), findings).unwrap_err();
        assert_eq!((problem.status, problem.errors.len(), problem.code.as_str()), (422, 1, "WrongType"));
    }

    #[test]
    fn a_deployment_has_the_environment_of_its_version_unless_it_names_one() {
        // What was trained with one scikit-learn cannot be loaded by another.
        let of_version = wire::Environment {
            python: "3.11".into(),
            requirements_file: "requirements.txt".into(),
            code_sha256: "ab".repeat(32),
            ..wire::Environment::default()
        };
        let file = Some(Requirements::File("requirements.txt".into()));
        let mut spec = DeploymentSpec::default();
        inherit(&mut spec, Some(of_version.clone())).unwrap();
        assert_eq!((spec.python.as_str(), &spec.requirements), ("3.11", &file));
        assert_eq!(spec.code_sha256, Some("ab".repeat(32)));
        let mut own = DeploymentSpec { python: "/p".into(), ..DeploymentSpec::default() };
        inherit(&mut own, Some(of_version)).unwrap();
        assert_eq!((own.python.as_str(), own.requirements, own.code_sha256), ("/p", None, None));
        let mut filed = DeploymentSpec { requirements: file, ..DeploymentSpec::default() };
        assert_eq!(inherit(&mut filed, None).unwrap_err().code, "BadEnvironment");
    }
}
