//! Endpoints and deployments as others see them.

use contracts::compute as wire;

use super::endpoints_calls::auth_text;
use crate::endpoint::{Deployment, Endpoint};
use crate::reactions::replica_plan::{settings, shown};

/// Said plainly, so that nobody takes a process for a sandbox.
const ISOLATION: &str = "process: a separate process of the node's user, without a sandbox; \
                         models that run code can read what this user can";

/// An endpoint; `None` when there is none.
pub(crate) fn endpoint(endpoint: &Endpoint, version: i64) -> Option<wire::Endpoint> {
    let created = endpoint.created?;
    let (workspace, name) = (&endpoint.workspace, &endpoint.name);
    Some(wire::Endpoint {
        workspace: workspace.clone(),
        name: name.clone(),
        description: endpoint.spec.description.clone(),
        tags: endpoint.spec.tags.clone(),
        auth: auth_text(endpoint.spec.auth).to_owned(),
        traffic: endpoint.traffic.clone(),
        effective_traffic: endpoint.effective_traffic(),
        scoring_uri: format!("/endpoints/{workspace}/{name}/score"),
        provisioning_state: if endpoint.deleting { "Deleting" } else { "Succeeded" }.to_owned(),
        created_at: created.to_string(),
        version,
    })
}

/// A deployment.
pub(crate) fn deployment(name: &str, deployment: &Deployment, version: i64, revision_key: i64) -> wire::Deployment {
    let target = &deployment.target;
    let (model, spec) = (&target.model, &target.spec);
    let replicas = deployment.replicas.iter().map(|(job_id, replica)| shown(job_id, replica, deployment));
    wire::Deployment {
        workspace: target.workspace.clone(),
        endpoint: target.endpoint.clone(),
        name: name.to_owned(),
        model: model.model.clone(),
        model_version: model.version,
        version_id: model.version_id.clone(),
        cluster: spec.cluster.clone(),
        instance_count: spec.instance_count,
        ready_count: u32::try_from(deployment.serving().count()).unwrap_or(u32::MAX),
        revision: target.revision,
        revision_key,
        provisioning_state: deployment.provisioning_state().to_owned(),
        errors: errors(deployment),
        replicas: replicas.collect(),
        request_settings: Some(settings(&spec.request_settings)),
        python: spec.python.clone(),
        created_at: deployment.created_at.to_string(),
        isolation: ISOLATION.to_owned(),
        model_alias: model.alias.clone(),
        version,
    }
}

/// Why it has failed, or which of its replicas end again and again.
fn errors(deployment: &Deployment) -> Vec<String> {
    if let Some(failure) = &deployment.failure {
        return vec![failure.clone()];
    }
    let broken = deployment
        .slots
        .iter()
        .filter(|((revision, _), slot)| *revision == deployment.target.revision && slot.failures > 0);
    broken
        .map(|((_, ordinal), slot)| {
            format!("replica {ordinal} ended {} times in a row; the last time: {}", slot.failures, slot.last_reason)
        })
        .collect()
}
