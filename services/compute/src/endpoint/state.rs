//! The state of an endpoint with its deployments and their replicas.
//!
//! ```text
//! absent -> exists -> deleting -> absent
//! deployment: Creating -> Succeeded -> Updating -> Succeeded … | Failed; any -> Deleting -> absent
//! replica: requested -> ready <-> requested (its node was lost) ; any -> draining -> gone ; any -> gone
//!          noticed (its node will go): serves on, but another has its place; draining once that one is ready
//! ```

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::events::{DeploymentRevised, EndpointEvent, EndpointSpec, ServedModel};

/// A replica that was ready this long and then ended does not count as one that cannot start.
const SOUND_SECONDS: i64 = 30;

/// That the node of a replica will be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Since when it is known.
    pub noticed_at: Timestamp,
    /// When the node goes.
    pub deadline: Timestamp,
}

/// A replica as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Which revision it serves.
    pub revision: i64,
    /// Its place among the replicas of the deployment.
    pub ordinal: u32,
    /// Of its job, the newest known.
    pub attempt: u32,
    /// Where it listens; `None` until it is ready.
    pub address: Option<String>,
    /// Where it runs; empty until it is ready.
    pub node_id: String,
    /// Since when it is ready.
    pub ready_at: Option<Timestamp>,
    /// Set when its node will go: another replica has its place.
    pub leaving: Option<Leaving>,
    /// Since when it gets no requests and is to end.
    pub draining_at: Option<Timestamp>,
    /// The longest that a request may take there.
    pub request_timeout_seconds: f64,
}

impl Replica {
    /// Whether requests may go to it.
    pub fn serves(&self) -> bool {
        self.address.is_some() && self.draining_at.is_none()
    }

    /// Whether it is the one that its place among the replicas belongs to.
    pub fn holds(&self, revision: i64, ordinal: u32) -> bool {
        (self.revision, self.ordinal) == (revision, ordinal) && self.draining_at.is_none() && self.leaving.is_none()
    }
}

/// What is known of one place of a deployment beyond its present replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    /// Ends in a row without a sound life in between.
    pub failures: u32,
    /// The last end.
    pub failed_at: Option<Timestamp>,
    /// Replicas after the first.
    pub restarts: u32,
    /// How the last one ended, in words.
    pub last_reason: String,
}

/// A deployment as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// What is wanted now.
    pub target: DeploymentRevised,
    /// What answers requests; `None` until a revision has come up.
    pub live: Option<DeploymentRevised>,
    /// Why the target does not come up.
    pub failure: Option<String>,
    /// It is to go.
    pub deleting: bool,
    /// By job id.
    pub replicas: BTreeMap<String, Replica>,
    /// By (revision, ordinal).
    pub slots: BTreeMap<(i64, u32), Slot>,
    /// When the deployment was first made.
    pub created_at: Timestamp,
}

impl Deployment {
    /// The state's published name.
    pub fn provisioning_state(&self) -> &'static str {
        if self.deleting {
            "Deleting"
        } else if self.failure.is_some() {
            "Failed"
        } else {
            match &self.live {
                None => "Creating",
                Some(live) if live.revision == self.target.revision => "Succeeded",
                Some(_) => "Updating",
            }
        }
    }

    /// Whether a revision is on its way.
    pub fn is_busy(&self) -> bool {
        matches!(self.provisioning_state(), "Creating" | "Updating")
    }

    /// Whether this model version answers now.
    pub fn serves_version(&self, model: &ServedModel) -> bool {
        self.live.as_ref().is_some_and(|live| (&live.model.model, live.model.version) == (&model.model, model.version))
    }

    /// The replicas that requests may go to.
    pub fn serving(&self) -> impl Iterator<Item = (&String, &Replica)> {
        let live = self.live.as_ref().map(|live| live.revision);
        self.replicas.iter().filter(move |(_, replica)| Some(replica.revision) == live && replica.serves())
    }

    /// How many places of a revision have a replica that is ready.
    pub fn ready_of(&self, revision: i64) -> usize {
        let counts = |replica: &&Replica| replica.serves() && replica.holds(revision, replica.ordinal);
        self.replicas.values().filter(counts).count()
    }

    /// The places whose replicas ended and have not recovered: their present ones, if any, have not been up for long.
    pub fn broken_slots(&self, now: Timestamp) -> impl Iterator<Item = (&(i64, u32), &Slot)> {
        let has_recovered = move |place: &(i64, u32)| {
            self.replicas.values().any(|replica| replica.holds(place.0, place.1) && is_sound(replica, now))
        };
        let is_kept = |(revision, _): &(i64, u32)| self.kept().iter().any(|kept| kept.revision == *revision);
        self.slots.iter().filter(move |(place, slot)| slot.failures > 0 && is_kept(place) && !has_recovered(place))
    }

    /// The revisions whose replicas are kept up: what answers now, and what is to answer.
    pub fn kept(&self) -> Vec<&DeploymentRevised> {
        if self.deleting {
            return Vec::new();
        }
        let target = Some(&self.target).filter(|_| self.failure.is_none());
        let live = self.live.as_ref().filter(|live| live.revision != self.target.revision);
        target.into_iter().chain(live).collect()
    }
}

/// An endpoint as it stands; `created` is `None` when there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// The workspace.
    pub workspace: String,
    /// The endpoint's name.
    pub name: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// As the user wants it.
    pub spec: EndpointSpec,
    /// It is to go.
    pub deleting: bool,
    /// Configured percent.
    pub traffic: BTreeMap<String, u32>,
    /// By name.
    pub deployments: BTreeMap<String, Deployment>,
    /// The newest revision that each name has had, also of deployments that are gone.
    pub revisions: BTreeMap<String, i64>,
}

impl Endpoint {
    /// Percent over the deployments that can answer; sums to 100, or is empty when none with weight can.
    pub fn effective_traffic(&self) -> BTreeMap<String, f64> {
        let ready =
            |name: &String| self.deployments.get(name).is_some_and(|deployment| deployment.serving().next().is_some());
        let weights: BTreeMap<_, _> =
            self.traffic.iter().filter(|(name, percent)| **percent > 0 && ready(name)).collect();
        shares(weights.into_iter().map(|(name, percent)| (name.clone(), *percent)))
    }

    /// The deployments that keep replicas on a cluster, or have some there that still end.
    pub fn deployments_on<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a str> {
        let uses = move |deployment: &Deployment| {
            let live = deployment.live.as_ref().map(|live| &live.spec.cluster);
            let kept = !deployment.deleting || !deployment.replicas.is_empty();
            kept && (deployment.target.spec.cluster == cluster || live.is_some_and(|live| live == cluster))
        };
        self.deployments.iter().filter(move |(_, deployment)| uses(deployment)).map(|(name, _)| name.as_str())
    }

    /// The deployment that a job is a replica of.
    pub fn replica(&self, job_id: &str) -> Option<(&str, &Deployment, &Replica)> {
        self.deployments.iter().find_map(|(name, deployment)| {
            deployment.replicas.get(job_id).map(|replica| (name.as_str(), deployment, replica))
        })
    }

    fn replica_mut(&mut self, job_id: &str) -> Option<&mut Replica> {
        self.deployments.values_mut().find_map(|deployment| deployment.replicas.get_mut(job_id))
    }

    pub(super) fn take(&mut self, event: &EndpointEvent) {
        match event {
            EndpointEvent::EndpointCreated(event) => {
                self.workspace.clone_from(&event.workspace);
                self.name.clone_from(&event.name);
                self.created = Some(event.at);
                self.spec = event.spec.clone();
            }
            EndpointEvent::EndpointChanged(event) => self.spec = event.spec.clone(),
            EndpointEvent::DeploymentRevised(event) => self.take_revision(event),
            EndpointEvent::ReplicaRequested(event) => {
                let Some(deployment) = self.deployments.get_mut(&event.deployment) else { return };
                let revision = deployment.kept().into_iter().find(|kept| kept.revision == event.revision);
                let settings = revision.map(|kept| kept.spec.request_settings).unwrap_or_default();
                let slot = deployment.slots.entry((event.revision, event.ordinal)).or_default();
                slot.restarts += u32::from(slot.failed_at.is_some());
                let replica = Replica {
                    revision: event.revision,
                    ordinal: event.ordinal,
                    attempt: 0,
                    address: None,
                    node_id: String::new(),
                    ready_at: None,
                    leaving: None,
                    draining_at: None,
                    request_timeout_seconds: settings.request_timeout_seconds,
                };
                deployment.replicas.insert(event.job_id.clone(), replica);
            }
            EndpointEvent::TrafficSet(event) => self.traffic.clone_from(&event.traffic),
            EndpointEvent::EndpointDeleting(event) => {
                self.deleting = true;
                self.traffic.clear();
                for deployment in self.deployments.values_mut() {
                    delete(deployment, event.at);
                }
            }
            EndpointEvent::EndpointDeleted(_) => {
                *self = Self { revisions: std::mem::take(&mut self.revisions), ..Self::default() };
            }
            EndpointEvent::DeploymentDeleting(event) => {
                if let Some(deployment) = self.deployments.get_mut(&event.deployment) {
                    delete(deployment, event.at);
                }
            }
            EndpointEvent::DeploymentDeleted(event) => {
                self.deployments.remove(&event.deployment);
                self.traffic.remove(&event.deployment);
            }
            EndpointEvent::ReplicaReady(_)
            | EndpointEvent::RevisionWentLive(_)
            | EndpointEvent::ReplicaLost(_)
            | EndpointEvent::ReplicaNoticed(_)
            | EndpointEvent::ReplicaDraining(_)
            | EndpointEvent::ReplicaEnded(_)
            | EndpointEvent::DeploymentFailed(_) => self.take_replica(event),
        }
    }

    fn take_replica(&mut self, event: &EndpointEvent) {
        match event {
            EndpointEvent::ReplicaReady(event) => {
                let owner = |deployment: &&mut Deployment| deployment.replicas.contains_key(&event.job_id);
                let Some(deployment) = self.deployments.values_mut().find(owner) else { return };
                let Some(replica) = deployment.replicas.get_mut(&event.job_id) else { return };
                replica.attempt = event.attempt;
                replica.address = Some(event.address.clone());
                replica.node_id.clone_from(&event.node_id);
                replica.ready_at = Some(event.at);
                // What it was started in the place of has served until now.
                if replica.leaving.is_none() {
                    let place = (replica.revision, replica.ordinal);
                    let is_replaced = |old: &Replica| old.leaving.is_some() && (old.revision, old.ordinal) == place;
                    drain(deployment, event.at, is_replaced);
                }
            }
            EndpointEvent::ReplicaNoticed(event) => {
                if let Some(replica) = self.replica_mut(&event.job_id) {
                    replica.leaving = Some(Leaving { noticed_at: event.at, deadline: event.deadline });
                }
            }
            EndpointEvent::ReplicaDraining(event) => {
                if let Some(replica) = self.replica_mut(&event.job_id) {
                    replica.draining_at.get_or_insert(event.at);
                }
            }
            EndpointEvent::ReplicaLost(event) => {
                if let Some(replica) = self.replica_mut(&event.job_id) {
                    replica.attempt = event.attempt;
                    replica.address = None;
                    replica.ready_at = None;
                    replica.node_id.clear();
                    // Its place belongs to another one: its job must not come up again elsewhere.
                    if replica.leaving.is_some() {
                        replica.draining_at.get_or_insert(event.at);
                    }
                }
            }
            EndpointEvent::RevisionWentLive(event) => {
                let Some(deployment) = self.deployments.get_mut(&event.deployment) else { return };
                deployment.live = Some(deployment.target.clone());
                deployment.slots.retain(|(revision, _), _| *revision == event.revision);
                drain(deployment, event.at, |replica| replica.revision != event.revision);
            }
            EndpointEvent::DeploymentFailed(event) => {
                let Some(deployment) = self.deployments.get_mut(&event.deployment) else { return };
                deployment.failure = Some(event.reason.clone());
                drain(deployment, event.at, |replica| replica.revision == event.revision);
            }
            EndpointEvent::ReplicaEnded(event) => {
                for deployment in self.deployments.values_mut() {
                    let Some(replica) = deployment.replicas.remove(&event.job_id) else { continue };
                    // It was to go, or its node was: that is no failure.
                    if replica.draining_at.is_some() || replica.leaving.is_some() {
                        continue;
                    }
                    let slot = deployment.slots.entry((replica.revision, replica.ordinal)).or_default();
                    slot.failures = if is_sound(&replica, event.at) { 1 } else { slot.failures + 1 };
                    slot.failed_at = Some(event.at);
                    slot.last_reason.clone_from(&event.reason);
                }
            }
            _ => {}
        }
    }

    fn take_revision(&mut self, event: &DeploymentRevised) {
        self.revisions.insert(event.deployment.clone(), event.revision);
        match self.deployments.get_mut(&event.deployment) {
            Some(deployment) => {
                let live = deployment.live.as_ref().map(|live| live.revision);
                drain(deployment, event.at, |replica| Some(replica.revision) != live);
                deployment.target = event.clone();
                deployment.failure = None;
            }
            None => {
                let deployment = Deployment {
                    target: event.clone(),
                    live: None,
                    failure: None,
                    deleting: false,
                    replicas: BTreeMap::new(),
                    slots: BTreeMap::new(),
                    created_at: event.at,
                };
                self.deployments.insert(event.deployment.clone(), deployment);
            }
        }
    }
}

/// Whether a replica that ends at `at` had been up for long enough to be no failed start.
pub(super) fn is_sound(replica: &Replica, at: Timestamp) -> bool {
    replica.ready_at.is_some_and(|since| at.as_second() - since.as_second() >= SOUND_SECONDS)
}

fn delete(deployment: &mut Deployment, at: Timestamp) {
    deployment.deleting = true;
    drain(deployment, at, |_| true);
}

fn drain(deployment: &mut Deployment, at: Timestamp, which: impl Fn(&Replica) -> bool) {
    for replica in deployment.replicas.values_mut().filter(|replica| which(replica)) {
        replica.draining_at.get_or_insert(at);
    }
}

/// Weights as percent of their sum. The largest takes what rounding leaves, so that they sum to 100.
pub fn shares(weights: impl Iterator<Item = (String, u32)>) -> BTreeMap<String, f64> {
    let weights: BTreeMap<String, u32> = weights.filter(|(_, weight)| *weight > 0).collect();
    let total: f64 = weights.values().copied().map(f64::from).sum();
    let mut shares: BTreeMap<String, f64> =
        weights.iter().map(|(name, weight)| (name.clone(), f64::from(*weight) * 100.0 / total)).collect();
    if let Some((largest, _)) = weights.iter().max_by_key(|(_, weight)| **weight) {
        let others: f64 = shares.iter().filter(|(name, _)| *name != largest).map(|(_, share)| share).sum();
        shares.insert(largest.clone(), 100.0 - others);
    }
    shares
}
