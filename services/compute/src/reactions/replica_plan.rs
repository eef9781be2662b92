//! What an endpoint's replicas call for now, and when to look again. Pure.

use jiff::{SignedDuration, Timestamp};
use vocabulary::job::{JobSpec, Resources, ServiceSpec};

use crate::endpoint::{Deployment, DeploymentRevised, Endpoint, Leaving, Replica, Slot};

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
pub(super) struct Plan {
    /// Places without a replica: (deployment, revision, ordinal).
    pub request: Vec<(String, i64, u32)>,
    /// Jobs of replicas that are wanted; they are queued, or were.
    pub keep: Vec<String>,
    /// Jobs of replicas that must not get requests any more: their nodes go soon.
    pub drain: Vec<String>,
    /// Jobs whose requests have ended.
    pub stop: Vec<String>,
    /// When to look again though nothing happens.
    pub due: Option<Timestamp>,
}

/// Looks at an endpoint.
pub(super) fn plan(endpoint: &Endpoint, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for (name, deployment) in &endpoint.deployments {
        for revision in deployment.kept() {
            for ordinal in 0..revision.spec.instance_count {
                plan.place(name, deployment, revision.revision, ordinal, now);
            }
        }
        for (job_id, replica) in &deployment.replicas {
            match drained_at(replica) {
                None => {
                    plan.keep.push(job_id.clone());
                    match last_call(replica) {
                        Some(at) if at <= now => plan.drain.push(job_id.clone()),
                        Some(at) => plan.look_again(at),
                        None => {}
                    }
                }
                Some(at) if at <= now => plan.stop.push(job_id.clone()),
                Some(at) => plan.look_again(at),
            }
        }
    }
    plan
}

impl Plan {
    fn place(&mut self, name: &str, deployment: &Deployment, revision: i64, ordinal: u32, now: Timestamp) {
        let is_taken = deployment.replicas.values().any(|replica| replica.holds(revision, ordinal));
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

/// When a replica whose node goes gets its last requests, if no other has taken its place by then: early enough to
/// answer them, but not in the first half of the notice, which is the replacement's. One that does not serve yet goes
/// at once.
fn last_call(replica: &Replica) -> Option<Timestamp> {
    let Leaving { noticed_at, deadline } = replica.leaving?;
    if replica.address.is_none() {
        return Some(noticed_at);
    }
    let half = noticed_at.checked_add(deadline.duration_since(noticed_at) / 2).unwrap_or(deadline);
    Some(deadline.checked_sub(longest(replica)).map_or(half, |early| early.max(half)))
}

/// How long the last request may take, and the news of the drain to reach the routers.
fn longest(replica: &Replica) -> SignedDuration {
    let longest = SignedDuration::try_from_secs_f64(replica.request_timeout_seconds).unwrap_or(SignedDuration::ZERO);
    longest.saturating_add(DRAIN_MARGIN)
}

/// When a replica has no requests left; `None` = it is to go on.
fn drained_at(replica: &Replica) -> Option<Timestamp> {
    let since = replica.draining_at?;
    if replica.address.is_none() {
        return Some(since);
    }
    since.checked_add(longest(replica)).ok()
}

/// The job of a replica.
pub(super) fn job_spec(revision: &DeploymentRevised) -> JobSpec {
    let spec = &revision.spec;
    JobSpec {
        cluster: spec.cluster.clone(),
        environment_variables: spec.environment_variables.clone(),
        python: Some(spec.python.clone()).filter(|python| !python.is_empty()),
        requirements: spec.requirements.clone(),
        code_sha256: spec.code_sha256.clone(),
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

#[cfg(test)]
mod tests {
    use vocabulary::Decider;

    use super::*;
    use crate::endpoint::{
        DeploymentSpec, EndpointEvent, ReplicaDraining, ReplicaNoticed, ReplicaReady, ReplicaRequested,
        RequestSettings, ServedModel,
    };

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    /// One replica that is ready and noticed at 0 with a deadline, in milliseconds.
    fn noticed(deadline: i64, timeout_seconds: f64) -> Endpoint {
        let request_settings = RequestSettings { request_timeout_seconds: timeout_seconds, ..Default::default() };
        let (job_id, deployment) = ("job_a".to_owned(), "blue".to_owned());
        let revised = DeploymentRevised {
            workspace: "w".into(),
            endpoint: "digits".into(),
            deployment: deployment.clone(),
            revision: 1,
            model: ServedModel::default(),
            spec: DeploymentSpec { instance_count: 1, request_settings, ..DeploymentSpec::default() },
            at: at(0),
        };
        let requested = ReplicaRequested { deployment, revision: 1, ordinal: 0, job_id: job_id.clone(), at: at(0) };
        let (address, node_id) = ("unix:/a".to_owned(), "node_1".to_owned());
        let ready = ReplicaReady { job_id: job_id.clone(), attempt: 1, address, node_id, at: at(0) };
        let events: [EndpointEvent; 4] = [
            revised.into(),
            requested.into(),
            ready.into(),
            ReplicaNoticed { job_id, deadline: at(deadline), at: at(0) }.into(),
        ];
        let mut endpoint = Endpoint::default();
        events.iter().for_each(|event| endpoint.evolve(event));
        endpoint
    }

    #[test]
    fn a_notice_asks_for_a_replacement_first_and_drains_in_time() {
        // What is asked of a replica just before its node goes must still be answered.
        let mut endpoint = noticed(10_000, 5.0);
        let first = plan(&endpoint, at(1));
        assert_eq!(first.request, [("blue".to_owned(), 1, 0)]);
        assert_eq!((first.drain.len(), first.due), (0, Some(at(5_000))), "not in the first half");
        let later = plan(&endpoint, at(5_000));
        assert_eq!(later.drain, ["job_a"]);
        endpoint.evolve(&ReplicaDraining { job_id: "job_a".into(), at: at(5_000) }.into());
        assert_eq!(plan(&endpoint, at(5_000)).due, Some(at(11_500)));
        assert_eq!(plan(&noticed(10_000, 1.0), at(1)).due, Some(at(7_500)), "an answer and its margin before the end");
    }
}
