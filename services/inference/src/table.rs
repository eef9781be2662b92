//! The routes that requests are served from: what compute sent last, joined with what this process knows of each
//! replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use contracts::compute::{DeploymentRoute, EndpointRoute, RequestSettings, RouteTable};
use tokio::sync::Notify;

use crate::counts::Counts;
use crate::guard::Guard;
use crate::replica::Replica;

/// What a deployment gets when its route has no settings: those of the deployment document.
const TIMEOUT_DEFAULT_SECONDS: f64 = 5.0;
const QUEUE_WAIT_DEFAULT_SECONDS: f64 = 0.5;
/// The longest wait that a route may ask for; compute refuses more, and a bad number must not become an endless wait.
const WAIT_MAX_SECONDS: f64 = 600.0;

/// Where the requests of a deployment wait; it outlives changes of the table.
#[derive(Debug, Default)]
pub struct Gate {
    /// A place has become free.
    pub freed: Notify,
    /// The requests that ended replicas.
    pub guard: Guard,
    /// Its answers.
    pub counts: Counts,
    admitted: AtomicU32,
}

impl Gate {
    /// Lets one more request in; false when there are `most` already.
    pub fn admit(&self, most: u32) -> bool {
        let take = |count| (count < most).then_some(count + 1);
        self.admitted.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    /// A request has left.
    pub fn release(&self) {
        self.admitted.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A deployment as requests see it.
#[derive(Debug)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// Percent of the endpoint's requests.
    pub weight: u32,
    /// What request ids begin with.
    pub revision_key: i64,
    /// `name/3`.
    pub model_version: String,
    /// For an answer, once a replica has the request.
    pub timeout: Duration,
    /// For a replica.
    pub queue_wait: Duration,
    /// Requests that a replica takes at a time.
    pub concurrent: u32,
    /// Whether a request may be sent again when its replica went away without a byte of an answer.
    pub idempotent: bool,
    /// Requests that may be in flight and waiting together.
    pub admitted_max: u32,
    /// The ready ones.
    pub replicas: Vec<Arc<Replica>>,
    /// Where requests wait.
    pub gate: Arc<Gate>,
}

impl Deployment {
    /// Whether a replica can take requests.
    pub fn is_ready(&self) -> bool {
        !self.replicas.is_empty()
    }

    /// Takes a place at the replica with the fewest requests; one that broke lately, or that is among the `avoided`,
    /// only when no other is there.
    pub fn take_place(&self, avoided: &[String], now_us: i64) -> Option<Arc<Replica>> {
        let rank = |replica: &Arc<Replica>| {
            (replica.is_ejected(now_us) || avoided.contains(&replica.key), replica.in_flight())
        };
        let sound = self.replicas.iter().any(|replica| !rank(replica).0);
        let mut order: Vec<_> = self.replicas.iter().map(|replica| (rank(replica), replica)).collect();
        order.sort_by_key(|(rank, _)| *rank);
        let mut usable = order.iter().filter(|((is_last, _), _)| !(sound && *is_last));
        usable.find(|(_, replica)| replica.enter(self.concurrent)).map(|(_, replica)| Arc::clone(replica))
    }
}

/// An endpoint's deployments.
#[derive(Debug, Default)]
pub struct Endpoint {
    /// In the order of their names.
    pub deployments: Vec<Arc<Deployment>>,
    /// Answers to requests that no deployment had.
    pub counts: Arc<Counts>,
}

/// All routes by workspace and endpoint.
#[derive(Debug, Default)]
pub struct Table {
    workspaces: BTreeMap<String, BTreeMap<String, Endpoint>>,
}

impl Table {
    /// An endpoint.
    pub fn find(&self, workspace: &str, endpoint: &str) -> Option<&Endpoint> {
        self.workspaces.get(workspace)?.get(endpoint)
    }

    /// Where a request is counted; `None` for an endpoint that is not there: names that anybody may think of are many.
    pub fn counts_of(&self, workspace: &str, endpoint: &str, deployment: Option<&str>) -> Option<&Counts> {
        let endpoint = self.find(workspace, endpoint)?;
        let known = |name: &str| endpoint.deployments.iter().find(|one| one.name == name);
        Some(deployment.and_then(known).map_or(endpoint.counts.as_ref(), |one| &one.gate.counts))
    }

    /// What is counted, by workspace, endpoint and deployment; the deployment is empty where none had the request.
    pub fn counts(&self) -> impl Iterator<Item = (&str, &str, &str, &Counts)> {
        let endpoints = self.workspaces.iter().flat_map(|(workspace, endpoints)| {
            endpoints.iter().map(move |(endpoint, known)| (workspace.as_str(), endpoint.as_str(), known))
        });
        endpoints.flat_map(|(workspace, endpoint, known)| {
            std::iter::once((workspace, endpoint, "", known.counts.as_ref())).chain(
                known.deployments.iter().map(move |one| (workspace, endpoint, one.name.as_str(), &one.gate.counts)),
            )
        })
    }

    /// The table that follows this one: replicas and gates that are in both go on with their connections and counts.
    pub fn next(&self, routes: RouteTable) -> Self {
        let mut table = Self::default();
        for EndpointRoute { workspace, endpoint, deployments } in routes.endpoints {
            let before = self.find(&workspace, &endpoint);
            let known = |name: &str| before?.deployments.iter().find(|deployment| deployment.name == name);
            let mut deployments: Vec<_> = deployments
                .into_iter()
                .map(|route| {
                    let before = known(&route.deployment);
                    Arc::new(deployment(route, before.map(AsRef::as_ref)))
                })
                .collect();
            deployments.sort_by(|a, b| a.name.cmp(&b.name));
            let counts = before.map_or_else(Arc::default, |before| Arc::clone(&before.counts));
            table.workspaces.entry(workspace).or_default().insert(endpoint, Endpoint { deployments, counts });
        }
        table
    }
}

fn deployment(route: DeploymentRoute, before: Option<&Deployment>) -> Deployment {
    let settings = route.request_settings.unwrap_or(RequestSettings {
        request_timeout_seconds: TIMEOUT_DEFAULT_SECONDS,
        max_concurrent_requests_per_instance: 1,
        max_queue_wait_seconds: QUEUE_WAIT_DEFAULT_SECONDS,
        idempotent: None,
    });
    let replicas: Vec<_> = route
        .replicas
        .into_iter()
        .map(|replica| {
            let key = format!("{}/{}/{}", replica.job_id, replica.attempt, replica.address);
            let known = before.and_then(|before| before.replicas.iter().find(|known| known.key == key));
            known.map_or_else(|| Arc::new(Replica::new(key, replica.address)), Arc::clone)
        })
        .collect();
    let concurrent = settings.max_concurrent_requests_per_instance.max(1);
    let instances = route.instance_count.max(u32::try_from(replicas.len()).unwrap_or(u32::MAX)).max(1);
    Deployment {
        name: route.deployment,
        weight: route.weight,
        revision_key: route.revision_key,
        model_version: format!("{}/{}", route.model, route.model_version),
        timeout: seconds(settings.request_timeout_seconds, TIMEOUT_DEFAULT_SECONDS),
        queue_wait: seconds(settings.max_queue_wait_seconds, QUEUE_WAIT_DEFAULT_SECONDS),
        concurrent,
        idempotent: settings.idempotent.unwrap_or(true),
        admitted_max: concurrent.saturating_mul(instances).saturating_mul(2),
        replicas,
        gate: before.map_or_else(Arc::default, |before| Arc::clone(&before.gate)),
    }
}

fn seconds(value: f64, otherwise: f64) -> Duration {
    let value = if value.is_finite() && value >= 0.0 { value } else { otherwise };
    Duration::from_secs_f64(value.min(WAIT_MAX_SECONDS))
}
