//! What an endpoint's replicas call for now, and when to look again. Pure.

use contracts::compute as wire;
use jiff::{SignedDuration, Timestamp};
use vocabulary::job::{JobSpec, Resources, ServiceSpec};

use crate::endpoint::{Deployment, DeploymentRevised, Endpoint, Replica, RequestSettings, Slot};

/// The longest wait before a replica that ended is started again, in seconds.
const BACK_OFF_MAX_SECONDS: i64 = 60;
/// After the longest answer: for the table to reach the routers.
const DRAIN_MARGIN: SignedDuration = SignedDuration::from_millis(1_500);
/// How long a model may load; not request time.
const START_TIMEOUT_SECONDS: f64 = 300.0;
/// Before trials that wait: an endpoint that is asked for is waited for by people.
const PRIORITY: i32 = 1_000;
/// For a worker that gets SIGTERM when it has no requests left.
const STOP_GRACE_SECONDS: f64 = 5.0;

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Places without a replica: (deployment, revision, ordinal).
    pub request: Vec<(String, i64, u32)>,
    /// Jobs of replicas that are wanted; they are queued, or were.
    pub keep: Vec<String>,
    /// Jobs whose requests have ended.
    pub stop: Vec<String>,
    /// When to look again though nothing happens.
    pub due: Option<Timestamp>,
}

/// Looks at an endpoint.
pub(crate) fn plan(endpoint: &Endpoint, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for (name, deployment) in &endpoint.deployments {
        for revision in deployment.kept() {
            for ordinal in 0..revision.spec.instance_count {
                plan.place(name, deployment, revision.revision, ordinal, now);
            }
        }
        for (job_id, replica) in &deployment.replicas {
            match drained_at(replica) {
                None => plan.keep.push(job_id.clone()),
                Some(at) if at <= now => plan.stop.push(job_id.clone()),
                Some(at) => plan.look_again(at),
            }
        }
    }
    plan
}

impl Plan {
    fn place(&mut self, name: &str, deployment: &Deployment, revision: i64, ordinal: u32, now: Timestamp) {
        let is_taken = deployment
            .replicas
            .values()
            .any(|replica| (replica.revision, replica.ordinal) == (revision, ordinal) && replica.draining_at.is_none());
        if is_taken {
            return;
        }
        let slot = deployment.slots.get(&(revision, ordinal));
        match slot.and_then(back_off_until) {
            Some(at) if at > now => self.look_again(at),
            _ => self.request.push((name.to_owned(), revision, ordinal)),
        }
    }

    fn look_again(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// 1, 2, 4 … seconds after the last end.
fn back_off_until(slot: &Slot) -> Option<Timestamp> {
    let doublings = slot.failures.saturating_sub(1).min(6);
    let wait = (1_i64 << doublings).min(BACK_OFF_MAX_SECONDS);
    slot.failed_at?.checked_add(SignedDuration::from_secs(wait)).ok()
}

/// When a replica has no requests left; `None` = it is to go on.
fn drained_at(replica: &Replica) -> Option<Timestamp> {
    let since = replica.draining_at?;
    if replica.address.is_none() {
        return Some(since);
    }
    let longest = SignedDuration::try_from_secs_f64(replica.request_timeout_seconds).unwrap_or(SignedDuration::ZERO);
    since.checked_add(longest + DRAIN_MARGIN).ok()
}

/// The job of a replica.
pub(crate) fn job_spec(revision: &DeploymentRevised) -> JobSpec {
    let spec = &revision.spec;
    JobSpec {
        cluster: spec.cluster.clone(),
        environment_variables: spec.environment_variables.clone(),
        python: Some(spec.python.clone()).filter(|python| !python.is_empty()),
        resources: Resources {
            cpu_count: spec.cpu_count,
            gpu_count: 0,
            memory_bytes: spec.memory_bytes,
            node_count: 1,
        },
        priority: PRIORITY,
        grace_seconds: Some(STOP_GRACE_SECONDS),
        service: Some(ServiceSpec {
            workspace: revision.workspace.clone(),
            endpoint: revision.endpoint.clone(),
            deployment: revision.deployment.clone(),
            revision: revision.revision,
            model: revision.model.model.clone(),
            model_version: revision.model.version,
            files: revision.model.files.clone(),
            start_timeout_seconds: START_TIMEOUT_SECONDS,
        }),
        ..JobSpec::default()
    }
}

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
            replicas: deployment.serving().map(|(job_id, replica)| shown(job_id, replica, deployment)).collect(),
            instance_count: revision.spec.instance_count,
        }
    });
    wire::EndpointRoute {
        workspace: endpoint.workspace.clone(),
        endpoint: endpoint.name.clone(),
        deployments: deployments.collect(),
    }
}

/// Request settings as others see them.
pub(crate) fn settings(settings: &RequestSettings) -> wire::RequestSettings {
    wire::RequestSettings {
        request_timeout_seconds: settings.request_timeout_seconds,
        max_concurrent_requests_per_instance: settings.max_concurrent_requests_per_instance,
        max_queue_wait_seconds: settings.max_queue_wait_seconds,
    }
}

/// A replica as others see it.
pub(crate) fn shown(job_id: &str, replica: &Replica, deployment: &Deployment) -> wire::Replica {
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
