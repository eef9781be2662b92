//! Replicas, their settings and the routes to them, as others see them.

use contracts::compute as wire;

use crate::endpoint::{Deployment, Endpoint, Replica, RequestSettings};

/// The routes of an endpoint; `key_of` knows the key of a (deployment, revision).
pub(crate) fn route(endpoint: &Endpoint, key_of: impl Fn(&str, i64) -> i64) -> wire::EndpointRoute {
    let deployments = endpoint.deployments.iter().filter(|(_, deployment)| !deployment.deleting);
    let deployments = deployments.map(|(name, deployment)| {
        let revision = deployment.live.as_ref().unwrap_or(&deployment.target);
        wire::DeploymentRoute {
            deployment: name.clone(),
            weight: endpoint.traffic.get(name).copied().unwrap_or_default(),
            revision_key: key_of(name, revision.revision),
            model: revision.model.model.clone(),
            model_version: revision.model.version,
            request_settings: Some(settings(&revision.spec.request_settings)),
            replicas: deployment
                .serving()
                .map(|(job_id, replica)| self::replica(job_id, replica, deployment))
                .collect(),
            instance_count: revision.spec.instance_count,
        }
    });
    wire::EndpointRoute {
        workspace: endpoint.workspace.clone(),
        endpoint: endpoint.name.clone(),
        deployments: deployments.collect(),
    }
}

/// Request settings.
pub(crate) fn settings(settings: &RequestSettings) -> wire::RequestSettings {
    wire::RequestSettings {
        request_timeout_seconds: settings.request_timeout_seconds,
        max_concurrent_requests_per_instance: settings.max_concurrent_requests_per_instance,
        max_queue_wait_seconds: settings.max_queue_wait_seconds,
        idempotent: Some(settings.idempotent),
    }
}

/// A replica.
pub(crate) fn replica(job_id: &str, replica: &Replica, deployment: &Deployment) -> wire::Replica {
    let state = match (&replica.draining_at, &replica.address) {
        (Some(_), _) => "stopping",
        (None, Some(_)) => "ready",
        (None, None) => "starting",
    };
    let slot = deployment.slots.get(&(replica.revision, replica.ordinal));
    wire::Replica {
        job_id: job_id.to_owned(),
        attempt: replica.attempt,
        node_id: replica.node_id.clone(),
        state: state.to_owned(),
        address: replica.address.clone().unwrap_or_default(),
        restarts: slot.map_or(0, |slot| slot.restarts),
    }
}
