//! What the scheduler knows: every cluster, node and job that is not over, with indexes for the planning.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use vocabulary::job::JobSpec;
use vocabulary::{JobId, NodeId};

use crate::cluster::{Cluster, NodeEnd, NodeState, Phase};
use crate::job::Job;
use crate::sizes::Size;
use crate::stream::ClusterName;

/// CPUs that a job claims when it does not say.
const CPUS_DEFAULT: f64 = 1.0;
/// A claim of more CPUs than this is a claim of this many: it fits nowhere either way, and sums stay in range.
const CPUS_MAX: f64 = 1e6;

/// What a job claims, and what a node has free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// GPUs.
    pub gpus: u32,
    /// Thousandths of a CPU.
    pub millicpus: u64,
    /// Memory.
    pub memory_bytes: u64,
}

impl Shape {
    /// What a job claims.
    pub fn of_job(spec: &JobSpec) -> Self {
        let resources = spec.resources;
        let cpus = if resources.cpu_count > 0.0 { resources.cpu_count } else { CPUS_DEFAULT };
        Self {
            gpus: resources.gpu_count,
            millicpus: (cpus.min(CPUS_MAX) * 1000.0).ceil() as u64,
            memory_bytes: resources.memory_bytes,
        }
    }

    /// What an empty node has.
    pub fn of_size(size: &Size) -> Self {
        Self { gpus: size.gpus, millicpus: u64::from(size.vcpus) * 1000, memory_bytes: size.memory_bytes }
    }

    /// Whether it fits into what is free.
    pub fn fits(self, free: Self) -> bool {
        self.gpus <= free.gpus && self.millicpus <= free.millicpus && self.memory_bytes <= free.memory_bytes
    }

    /// With another claim.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            gpus: self.gpus.saturating_add(other.gpus),
            millicpus: self.millicpus.saturating_add(other.millicpus),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// Without a claim.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            gpus: self.gpus.saturating_sub(other.gpus),
            millicpus: self.millicpus.saturating_sub(other.millicpus),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} vCPU", self.millicpus as f64 / 1000.0)?;
        if self.memory_bytes > 0 {
            write!(f, ", {:.1} GiB", self.memory_bytes as f64 / crate::sizes::GIB as f64)?;
        }
        if self.gpus > 0 {
            write!(f, ", {} GPU", self.gpus)?;
        }
        Ok(())
    }
}

/// A place in a queue: higher priority first, then the order of the log.
pub(super) type Ticket = (Reverse<i32>, i64, JobId);

/// A job that is not over.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The job.
    pub job: Job,
    /// Its stream's version.
    pub version: i64,
    /// Position of its first event: a requeued job keeps its place.
    pub order: i64,
    /// What it claims.
    pub shape: Shape,
}

impl Entry {
    pub(super) fn ticket(&self, job_id: JobId) -> Ticket {
        (Reverse(self.job.spec.priority), self.order, job_id)
    }

    pub(super) fn cluster(&self) -> ClusterName {
        ClusterName::new(&self.job.key.workspace, &self.job.key.cluster)
    }
}

/// What is known of a node beside its cluster's history.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The attempts that live on it.
    pub jobs: BTreeMap<JobId, u32>,
    /// What they claim.
    pub used: Shape,
    /// Room that is kept for jobs which are being queued, and what they claim.
    pub(super) reserved: BTreeMap<JobId, Shape>,
    /// Attempts of jobs that are left alone and may live here, and the room that is kept for them.
    pub(super) kept: BTreeMap<(JobId, u32), Shape>,
    /// Whether its agent is connected.
    pub connected: bool,
    /// When its agent was heard last.
    pub last_contact_us: i64,
    /// Since when its agent could have called: since it was asked for, or since the server has started.
    pub awaited_us: i64,
    /// By when its provider has brought it up, or since when it is up; 0 = it was not asked yet.
    pub up_by_us: i64,
    /// Since when it has no jobs.
    pub idle_since_us: i64,
    /// Whether it is about to be given back: nothing is placed on it any more.
    pub(super) closed: bool,
    /// Whether its provider is taking it away.
    pub removing: bool,
    /// What is in the way of taking it away, for somebody to mend; empty when nothing is.
    pub trouble: String,
}

impl Place {
    /// Whether nothing lives here, nor is about to.
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.reserved.is_empty() && self.kept.is_empty()
    }

    /// Whether the node may be given back. What is left alone may never end: a cluster that is deleted does not wait
    /// for it.
    pub(super) fn may_go(&self, phase: Phase) -> bool {
        self.is_empty() || (phase == Phase::Deleting && self.jobs.is_empty() && self.reserved.is_empty())
    }
}

/// A cluster with its nodes and its queue.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    /// The cluster.
    pub cluster: Cluster,
    /// Its stream's version.
    pub version: i64,
    /// Its nodes.
    pub places: BTreeMap<NodeId, Place>,
    /// Waiting jobs by what they claim: one look at a shape that does not fit spares all jobs of that shape.
    pub(super) queue: BTreeMap<Shape, BTreeSet<Ticket>>,
}

impl Pool {
    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.queue.values().map(BTreeSet::len).sum()
    }

    /// What an empty node has.
    pub fn capacity(&self) -> Shape {
        Shape::of_size(&self.cluster.size)
    }

    /// The nodes beyond the maximum, which get no jobs any more and are given back once they are empty: those that
    /// boot first, then those with the fewest jobs, which are empty soonest. Between equals the youngest goes, so that
    /// the choice stays the same from look to look.
    pub(super) fn surplus(&self) -> BTreeSet<NodeId> {
        let beyond = self.cluster.staying().saturating_sub(self.cluster.spec.scale.max_nodes as usize);
        if beyond == 0 {
            return BTreeSet::new();
        }
        let mut staying: Vec<_> = self
            .places
            .iter()
            .filter_map(|(node_id, place)| {
                let node = self.cluster.nodes.get(node_id)?;
                let is_staying = matches!(node.state, NodeState::Requested | NodeState::Ready);
                let rank = (node.state == NodeState::Ready, place.jobs.len(), Reverse(node.ordinal));
                is_staying.then_some((rank, *node_id))
            })
            .collect();
        staying.sort_unstable();
        staying.into_iter().take(beyond).map(|(_, node_id)| node_id).collect()
    }

    /// What is in the way of taking nodes away.
    pub fn troubles(&self) -> impl Iterator<Item = String> {
        let troubled = self.places.iter().filter(|(_, place)| !place.trouble.is_empty());
        troubled.map(|(node_id, place)| format!("{node_id}: {}", place.trouble))
    }

    /// What a node has free.
    pub(super) fn free(&self, place: &Place) -> Shape {
        let claims = place.reserved.values().chain(place.kept.values());
        claims.fold(self.capacity().minus(place.used), |free, shape| free.minus(*shape))
    }
}

/// Everything that is not over.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The log's position that it was folded to.
    pub position: i64,
    pub(super) pools: BTreeMap<ClusterName, Pool>,
    pub(super) jobs: BTreeMap<JobId, Entry>,
    pub(super) nodes: BTreeMap<NodeId, ClusterName>,
    /// Jobs that are being queued, and the nodes that keep room for them.
    pub(super) reserved: BTreeMap<JobId, NodeId>,
    /// Attempts whose node is gone, and how it went.
    pub(super) stranded: BTreeMap<JobId, NodeEnd>,
    /// Jobs that can never run, and why.
    pub(super) unschedulable: BTreeMap<JobId, (&'static str, String)>,
    /// Jobs that can neither be read nor changed, and why: nothing is planned for them until the next start.
    pub(super) left_alone: BTreeMap<JobId, String>,
    /// Clusters that cannot be read, and why: their jobs wait, and what runs on their nodes is not touched.
    pub(super) unreadable: BTreeMap<ClusterName, String>,
    /// When the running time of a job is used up.
    pub(super) timeouts: BTreeSet<(i64, JobId)>,
}

impl Fleet {
    /// A cluster that exists.
    pub fn pool(&self, name: &ClusterName) -> Option<&Pool> {
        self.pools.get(name).filter(|pool| pool.cluster.phase != Phase::Absent)
    }

    /// All clusters that exist.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().filter(|pool| pool.cluster.phase != Phase::Absent)
    }

    /// The clusters that exist in a workspace, after a name, in order.
    pub fn pools_of<'a>(&'a self, workspace: &'a str, after: &str) -> impl Iterator<Item = &'a Pool> {
        let from = ClusterName::new(workspace, after);
        self.pools
            .range((std::ops::Bound::Excluded(from), std::ops::Bound::Unbounded))
            .take_while(move |(name, _)| name.workspace == workspace)
            .map(|(_, pool)| pool)
            .filter(|pool| pool.cluster.phase != Phase::Absent)
    }

    /// A job that is not over.
    pub fn job(&self, job_id: JobId) -> Option<&Entry> {
        self.jobs.get(&job_id)
    }

    /// Whether a job that is not over is a run's or begins with what the run has saved, as far as that is known.
    pub fn uses(&self, run_id: &str) -> bool {
        let uses = |job: &Job| job.key.run_id == run_id || job.spec.checkpoint_from.as_deref() == Some(run_id);
        !self.left_alone.is_empty() || self.jobs.values().any(|entry| uses(&entry.job))
    }

    /// Whether something may run of the job though nothing is known of it.
    pub fn is_left_alone(&self, job_id: JobId) -> bool {
        self.left_alone.contains_key(&job_id)
    }

    /// Whether nodes may exist of which nothing is known.
    pub fn has_unreadable_clusters(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Where a node belongs, and what is known of it.
    pub fn node(&self, node_id: NodeId) -> Option<(&ClusterName, &Pool, &Place)> {
        let name = self.nodes.get(&node_id)?;
        let pool = self.pools.get(name)?;
        Some((name, pool, pool.places.get(&node_id)?))
    }

    /// Every node that exists, with its cluster.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &ClusterName, &Pool)> {
        self.nodes.iter().filter_map(|(node, name)| Some((*node, name, self.pools.get(name)?)))
    }

    pub(super) fn place_mut(&mut self, node_id: NodeId) -> Option<&mut Place> {
        self.pools.get_mut(self.nodes.get(&node_id)?)?.places.get_mut(&node_id)
    }

    /// The node's agent has shown a sign of life.
    pub fn contacted(&mut self, node_id: NodeId, at_us: i64) {
        if let Some(place) = self.place_mut(node_id) {
            place.last_contact_us = place.last_contact_us.max(at_us);
        }
    }

    /// Nobody could be heard until now.
    pub fn excuse_silence(&mut self, now_us: i64) {
        for place in self.pools.values_mut().flat_map(|pool| pool.places.values_mut()) {
            place.last_contact_us = place.last_contact_us.max(now_us);
        }
    }

    /// The node's agent has connected, or its connection is lost.
    pub fn set_connected(&mut self, node_id: NodeId, connected: bool, now_us: i64) {
        if let Some(place) = self.place_mut(node_id) {
            place.connected = connected;
            place.last_contact_us = place.last_contact_us.max(now_us);
        }
    }

    /// The provider has the order, and will have brought the node up by then.
    pub fn expect_up(&mut self, node_id: NodeId, by_us: i64) {
        if let Some(place) = self.place_mut(node_id) {
            place.up_by_us = by_us;
        }
    }

    /// The node is up, earlier than it had to be: its agent has from now on to connect.
    pub fn came_up(&mut self, node_id: NodeId, at_us: i64) {
        if let Some(place) = self.place_mut(node_id) {
            place.up_by_us = place.up_by_us.min(at_us);
        }
    }

    /// The provider is taking the node away; it is not asked twice.
    pub fn set_removing(&mut self, node_id: NodeId, removing: bool) {
        if let Some(place) = self.place_mut(node_id) {
            place.removing = removing;
        }
    }

    /// What is in the way of taking the node away; empty when nothing is any more.
    pub fn set_trouble(&mut self, node_id: NodeId, why: String) {
        if let Some(place) = self.place_mut(node_id) {
            place.trouble = why;
        }
    }

    /// These attempts live on the node, says its agent. What those of jobs that are left alone claim may not be known
    /// any more: then it is the whole node.
    pub fn found_on(&mut self, node_id: NodeId, attempts: &BTreeSet<(JobId, u32)>) {
        let Some((_, pool, place)) = self.node(node_id) else { return };
        let claim = |attempt: &(JobId, u32)| (*attempt, place.kept.get(attempt).copied().unwrap_or(pool.capacity()));
        let kept = attempts.iter().filter(|(job_id, _)| self.is_left_alone(*job_id)).map(claim).collect();
        if let Some(place) = self.place_mut(node_id) {
            place.kept = kept;
        }
    }

    /// An attempt lives on the node no more, whether that can be recorded or not.
    pub fn attempt_is_over(&mut self, node_id: NodeId, attempt: (JobId, u32), at_us: i64) {
        if let Some(place) = self.place_mut(node_id)
            && place.kept.remove(&attempt).is_some()
        {
            place.idle_since_us = place.idle_since_us.max(at_us);
        }
    }

    /// Nothing is placed on the node from now on, since it is to be given back; false when something is, or is about to
    /// be.
    pub fn close(&mut self, node_id: NodeId) -> bool {
        let Some((_, pool, place)) = self.node(node_id) else { return false };
        let may_go = place.may_go(pool.cluster.phase);
        if may_go && let Some(place) = self.place_mut(node_id) {
            place.closed = true;
        }
        may_go
    }

    /// It is not given back after all.
    pub fn reopen(&mut self, node_id: NodeId) {
        if let Some(place) = self.place_mut(node_id) {
            place.closed = false;
        }
    }

    /// Whether jobs may be placed on the node now.
    pub(super) fn is_open(pool: &Pool, node_id: NodeId, place: &Place) -> bool {
        let ready = pool.cluster.nodes.get(&node_id).is_some_and(|node| node.state == NodeState::Ready);
        ready && place.connected && !place.closed && !place.removing
    }
}
