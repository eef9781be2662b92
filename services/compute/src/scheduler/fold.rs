//! Takes events into the fleet. Each job is taken out of the indexes, changed by its own `evolve`, and put in again
//! where it belongs.

use std::collections::BTreeMap;

use vocabulary::job::JobSpec;
use vocabulary::{Decider, JobId};

use super::{Entry, Fleet, Place, Pool, Shape};
use crate::cluster::{Cluster, ClusterEvent, NodeEnd, Phase};
use crate::job::{Job, JobEvent, JobPhase};
use crate::stream::{Change, ClusterName};

impl Fleet {
    /// Puts a cluster in as it was read from the log.
    pub fn load_cluster(&mut self, name: ClusterName, cluster: Cluster, version: i64, now_us: i64) {
        let places: BTreeMap<_, _> = cluster
            .nodes
            .keys()
            // When it became idle is not known any more: it idles from now on. Its agent has as long to call as a
            // silent one has.
            .map(|node| {
                (
                    *node,
                    Place { last_contact_us: now_us, awaited_us: now_us, idle_since_us: now_us, ..Place::default() },
                )
            })
            .collect();
        self.nodes.extend(places.keys().map(|node| (*node, name.clone())));
        self.pools.insert(name, Pool { cluster, version, places, ..Pool::default() });
    }

    /// Puts a job in as it was read from the log; its cluster must be there already.
    pub fn load_job(&mut self, job_id: JobId, job: Job, version: i64, order: i64) {
        if matches!(job.phase, JobPhase::Absent | JobPhase::Ended) {
            return;
        }
        let shape = Shape::of_job(&job.spec);
        self.jobs.insert(job_id, Entry { job, version, order, shape });
        self.index(job_id);
    }

    /// A cluster that cannot be read: nothing is planned for its nodes, and what runs there goes on.
    pub fn leave_cluster(&mut self, name: ClusterName, why: String) {
        if let Some(pool) = self.pools.remove(&name) {
            self.nodes.retain(|node_id, _| !pool.places.contains_key(node_id));
            self.reserved.retain(|_, node_id| !pool.places.contains_key(node_id));
        }
        self.unreadable.insert(name, why);
    }

    /// A job that cannot be read, or cannot be changed: the others are planned as if it were not there, but for the
    /// room that its attempt has.
    pub fn leave_job(&mut self, job_id: JobId, why: String) {
        let entry = self.jobs.get(&job_id).and_then(|entry| entry.job.live().map(|live| (live, entry.shape)));
        let reserved = self.reserved.get(&job_id).and_then(|node_id| {
            let (.., place) = self.node(*node_id)?;
            Some(((*node_id, 1), *place.reserved.get(&job_id)?))
        });
        self.unindex(job_id, 0);
        self.unreserve(job_id);
        self.jobs.remove(&job_id);
        self.left_alone.insert(job_id, why);
        if let Some(((node_id, attempt), shape)) = entry.or(reserved)
            && let Some(place) = self.place_mut(node_id)
        {
            place.kept.insert((job_id, attempt), shape);
        }
    }

    /// Takes an event in; one that was taken in before changes nothing.
    pub fn apply(&mut self, change: &Change, version: i64, position: i64, at_us: i64) {
        match change {
            Change::Cluster(name, event) => self.apply_cluster(name, event, version, at_us),
            Change::Job(job_id, event) => self.apply_job(*job_id, event, version, position, at_us),
        }
        self.position = self.position.max(position);
    }

    fn apply_cluster(&mut self, name: &ClusterName, event: &ClusterEvent, version: i64, at_us: i64) {
        if self.unreadable.contains_key(name) {
            return;
        }
        let pool = self.pools.entry(name.clone()).or_default();
        if version <= pool.version {
            return;
        }
        pool.version = version;
        pool.cluster.evolve(event);
        let Some(node_id) = event.node_id() else {
            if matches!(event, ClusterEvent::ClusterCreated(_)) {
                self.reconsider(name);
            }
            return;
        };
        match event {
            ClusterEvent::NodeRequested(_) => {
                let place =
                    Place { last_contact_us: at_us, awaited_us: at_us, idle_since_us: at_us, ..Place::default() };
                pool.places.insert(node_id, place);
                self.nodes.insert(node_id, name.clone());
            }
            ClusterEvent::NodeReady(_) => {
                if let Some(place) = pool.places.get_mut(&node_id) {
                    place.idle_since_us = at_us;
                    place.last_contact_us = place.last_contact_us.max(at_us);
                }
            }
            ClusterEvent::NodePreempted(_) => self.strand(name, node_id, NodeEnd::Preempted),
            ClusterEvent::NodeReleased(_) => self.strand(name, node_id, NodeEnd::Released),
            ClusterEvent::NodeFailed(_) => self.strand(name, node_id, NodeEnd::Failed),
            _ => {}
        }
    }

    /// A node is gone: what lived on it has no place any more.
    fn strand(&mut self, name: &ClusterName, node_id: vocabulary::NodeId, end: NodeEnd) {
        self.nodes.remove(&node_id);
        let place = self.pools.get_mut(name).and_then(|pool| pool.places.remove(&node_id));
        self.stranded.extend(place.into_iter().flat_map(|place| place.jobs.into_keys()).map(|job| (job, end)));
    }

    /// A cluster has come into being: jobs that named it may run after all.
    fn reconsider(&mut self, name: &ClusterName) {
        let named = |job_id: &&JobId| self.jobs.get(*job_id).is_some_and(|entry| entry.cluster() == *name);
        let jobs: Vec<JobId> = self.unschedulable.keys().filter(named).copied().collect();
        for job_id in jobs {
            self.unindex(job_id, 0);
            self.index(job_id);
        }
    }

    fn apply_job(&mut self, job_id: JobId, event: &JobEvent, version: i64, position: i64, at_us: i64) {
        if self.left_alone.contains_key(&job_id) {
            return self.apply_left_alone(job_id, event, at_us);
        }
        if let JobEvent::JobQueued(queued) = event
            && version == 1
            && !self.jobs.contains_key(&job_id)
        {
            self.unreserve(job_id);
            let shape = Shape::of_job(&queued.spec);
            self.jobs.insert(job_id, Entry { job: Job::default(), version: 0, order: position, shape });
        }
        // A job that is not there is over, and stays so.
        if self.jobs.get(&job_id).is_none_or(|entry| version <= entry.version) {
            return;
        }
        self.unindex(job_id, at_us);
        let Some(entry) = self.jobs.get_mut(&job_id) else { return };
        entry.version = version;
        entry.job.evolve(event);
        if entry.job.phase == JobPhase::Ended {
            self.jobs.remove(&job_id);
        } else {
            self.index(job_id);
        }
    }

    /// Of a job that is left alone only the ends of its attempts are of interest.
    fn apply_left_alone(&mut self, job_id: JobId, event: &JobEvent, at_us: i64) {
        let (attempt, node_id) = match event {
            JobEvent::JobRequeued(event) => (event.attempt, Some(event.node_id)),
            JobEvent::JobHeld(event) => (event.attempt, Some(event.node_id)),
            JobEvent::JobEnded(event) => (event.attempt, event.node_id),
            _ => return,
        };
        if let Some(node_id) = node_id {
            self.attempt_is_over(node_id, (job_id, attempt), at_us);
        }
        if matches!(event, JobEvent::JobEnded(_)) {
            self.left_alone.remove(&job_id);
        }
    }

    fn unindex(&mut self, job_id: JobId, at_us: i64) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        self.stranded.remove(&job_id);
        self.unschedulable.remove(&job_id);
        if let Some(due) = entry.job.timeout_us() {
            self.timeouts.remove(&(due, job_id));
        }
        let Some(pool) = self.pools.get_mut(&entry.cluster()) else { return };
        if let Some(tickets) = pool.queue.get_mut(&entry.shape) {
            tickets.remove(&entry.ticket(job_id));
            if tickets.is_empty() {
                pool.queue.remove(&entry.shape);
            }
        }
        if let Some(place) = entry.job.node_id.and_then(|node| pool.places.get_mut(&node))
            && place.jobs.remove(&job_id).is_some()
        {
            place.used = place.used.minus(entry.shape);
            if place.jobs.is_empty() {
                place.idle_since_us = place.idle_since_us.max(at_us);
            }
        }
    }

    fn index(&mut self, job_id: JobId) {
        let Some(entry) = self.jobs.get(&job_id) else { return };
        if let Some(due) = entry.job.timeout_us() {
            self.timeouts.insert((due, job_id));
        }
        let name = entry.cluster();
        if self.unreadable.contains_key(&name) {
            return;
        }
        let pool = self.pools.get_mut(&name).filter(|pool| pool.cluster.phase != Phase::Absent);
        if let Some((node_id, attempt)) = entry.job.live() {
            let end = pool.as_ref().and_then(|pool| pool.cluster.end_of(node_id));
            match pool.and_then(|pool| pool.places.get_mut(&node_id)) {
                Some(place) => {
                    place.jobs.insert(job_id, attempt);
                    place.used = place.used.plus(entry.shape);
                }
                None => {
                    self.stranded.insert(job_id, end.unwrap_or(NodeEnd::Failed));
                }
            }
            return;
        }
        // It asks for nothing until it goes on.
        if entry.job.phase == JobPhase::Held {
            return;
        }
        match pool {
            None => {
                let detail = format!("there is no cluster '{}' in workspace '{}'", name.name, name.workspace);
                self.unschedulable.insert(job_id, ("no_cluster", detail));
            }
            Some(pool) => match misfit(&entry.job.spec, entry.shape, pool) {
                Some(detail) if pool.cluster.phase == Phase::Live => {
                    self.unschedulable.insert(job_id, ("does_not_fit", detail));
                }
                _ => {
                    pool.queue.entry(entry.shape).or_default().insert(entry.ticket(job_id));
                }
            },
        }
    }
}

/// Why a job can never run on a node of the cluster.
pub(super) fn misfit(spec: &JobSpec, shape: Shape, pool: &Pool) -> Option<String> {
    let gang = spec.resources.node_count > 1;
    if gang {
        return Some("jobs on several nodes are not offered yet; set resources.node_count to 1".to_owned());
    }
    let capacity = pool.capacity();
    (!shape.fits(capacity)).then(|| {
        let (name, size) = (&pool.cluster.name, &pool.cluster.size.name);
        format!("the job claims {}; a node of cluster '{name}' ({size}) has {capacity}", shape)
    })
}
