//! What surrounds the scheduler, in memory and under a virtual clock: the real deciders, a fleet, nodes that boot and
//! go.

use std::collections::{BTreeMap, BTreeSet};

use documents::Format;
use vocabulary::job::{AttemptPhase, JobEnd, JobSpec, Outcome, Resources, ServiceSpec};
use vocabulary::{Decider, Entropy, JobId, NodeId, SeededEntropy};

use super::*;
use crate::cluster::{self, Cluster, NodeState, Taker};
use crate::engine::react;
use crate::job::{self, Job, JobKey, JobPhase};
use crate::providers::NodeEvent;
use crate::stream::{Change, ClusterName};

pub(super) const SECOND: i64 = 1_000_000;

/// Deciders, a fleet and a clock; what the engine and its surroundings do, in memory.
pub(super) struct World {
    pub(super) now_us: i64,
    pub(super) position: i64,
    pub(super) fleet: Fleet,
    pub(super) name: ClusterName,
    pub(super) cluster: (Cluster, i64),
    pub(super) jobs: BTreeMap<JobId, (Job, i64)>,
    pub(super) ends: BTreeMap<JobId, u32>,
    pub(super) random: SeededEntropy,
    /// Nodes that a lowered maximum has found; their number may only fall.
    pub(super) surplus: usize,
    /// Jobs whose room is kept while their command is on its way.
    pub(super) in_flight: Vec<(JobId, job::Command)>,
}

impl World {
    pub(super) fn new(document: &str, seed: u64) -> Self {
        let mut world = Self {
            now_us: SECOND,
            position: 0,
            fleet: Fleet::default(),
            name: ClusterName::new("w", "spot"),
            cluster: (Cluster::default(), 0),
            jobs: BTreeMap::new(),
            ends: BTreeMap::new(),
            random: SeededEntropy::new(seed),
            surplus: 0,
            in_flight: Vec::new(),
        };
        let (spec, size) = cluster::read_spec("spot", document.as_bytes(), Format::Yaml).unwrap();
        let (workspace, name) = ("w".to_owned(), "spot".to_owned());
        world.cluster(cluster::Command::Put {
            workspace,
            name,
            spec: Box::new(spec),
            size: Box::new(size),
            at_us: SECOND,
        });
        world
    }

    pub(super) fn cluster(&mut self, command: cluster::Command) {
        let Ok(events) = self.cluster.0.decide(&command) else { return };
        for event in events {
            self.cluster.0.evolve(&event);
            self.cluster.1 += 1;
            self.position += 1;
            let change = Change::Cluster(self.name.clone(), event);
            self.fleet.apply(&change, self.cluster.1, self.position, self.now_us);
        }
    }

    pub(super) fn job(&mut self, job_id: JobId, command: &job::Command) {
        let (job, version) = self.jobs.entry(job_id).or_default();
        let Ok(events) = job.decide(command);
        for event in events {
            job.evolve(&event);
            *version += 1;
            self.position += 1;
            if matches!(event, job::JobEvent::JobEnded(_)) {
                *self.ends.entry(job_id).or_default() += 1;
            }
            self.fleet.apply(&Change::Job(job_id, event), *version, self.position, self.now_us);
        }
        self.check();
    }

    pub(super) fn submit(&mut self, cpus: f64, memory_bytes: u64, priority: i32) -> JobId {
        self.queue(cpus, memory_bytes, priority, None)
    }

    pub(super) fn replica(&mut self, deployment: &str) -> JobId {
        let service = ServiceSpec {
            workspace: "w".into(),
            endpoint: "digits".into(),
            deployment: deployment.into(),
            revision: 1,
            model: "digits".into(),
            model_version: 1,
            files: Vec::new(),
            start_timeout_seconds: 300.0,
        };
        self.queue(1.0, 0, 0, Some(service))
    }

    pub(super) fn queue(&mut self, cpus: f64, memory_bytes: u64, priority: i32, service: Option<ServiceSpec>) -> JobId {
        let job_id = JobId::new(self.random.uuid());
        let resources = Resources { cpu_count: cpus, memory_bytes, node_count: 1, gpu_count: 0 };
        let spec =
            JobSpec { cluster: "spot".into(), resources, priority, max_retries: 1, service, ..JobSpec::default() };
        let key = JobKey { workspace: "w".into(), run_id: job_id.to_string(), cluster: "spot".into() };
        let place = if spec.service.is_none() { self.fleet.reserve(job_id, &key, &spec) } else { None };
        let is_placed = place.is_some();
        if is_placed {
            assert_eq!(self.fleet.reserve(job_id, &key, &spec), None, "a second delivery would keep room twice");
        }
        let command = job::Command::Queue { job: key, spec: Box::new(spec), place, at_us: self.now_us };
        if is_placed {
            self.in_flight.push((job_id, command));
        } else {
            self.job(job_id, &command);
        }
        job_id
    }

    pub(super) fn end(&mut self, job_id: JobId, outcome: Outcome) {
        if let Some((node_id, attempt)) = self.jobs[&job_id].0.live() {
            let end = JobEnd::new(outcome);
            self.job(job_id, &job::Command::EndAttempt { attempt, node_id, end, at_us: self.now_us });
        }
    }

    /// Looks and acts until there is nothing to do; answers when to look again.
    pub(super) fn settle(&mut self) -> Option<i64> {
        for _ in 0..10_000 {
            for node in self.fleet.nodes().map(|(node, ..)| node).collect::<Vec<_>>() {
                if !self.silent().contains(&node) {
                    self.fleet.contacted(node, self.now_us);
                }
            }
            let Plan { actions, next_us } = plan(&self.fleet, self.now_us);
            if actions.is_empty() {
                // Everything that could be done while it was on its way is done.
                let Some((job_id, command)) = self.in_flight.pop() else { return next_us };
                self.job(job_id, &command);
                self.run(job_id);
                continue;
            }
            for action in actions {
                self.act(action);
            }
        }
        panic!("the scheduler does not come to rest: {:?}", plan(&self.fleet, self.now_us).actions.first());
    }

    /// Nodes whose connection was lost.
    pub(super) fn silent(&self) -> BTreeSet<NodeId> {
        let lost = |(node, _, pool): (NodeId, &ClusterName, &Pool)| {
            let ready = pool.cluster.nodes[&node].state == NodeState::Ready;
            (ready && !pool.places[&node].connected).then_some(node)
        };
        self.fleet.nodes().filter_map(lost).collect()
    }

    pub(super) fn act(&mut self, action: Action) {
        let at_us = self.now_us;
        match action {
            Action::Place { job_id, attempt, node_id, reason } => {
                self.job(job_id, &job::Command::Place { attempt, node_id, reason, at_us });
                self.run(job_id);
            }
            Action::EndAttempt { job_id, attempt, node_id, end } => {
                self.job(job_id, &job::Command::EndAttempt { attempt, node_id, end, at_us });
            }
            Action::GiveUp { job_id, end } => self.job(job_id, &job::Command::GiveUp { end, at_us }),
            Action::Stop { job_id, by } => {
                self.job(job_id, &job::Command::Stop { by, decision: String::new(), at_us });
                self.end(job_id, Outcome::Canceled);
            }
            Action::RequestNode { reason, .. } => {
                let node_id = NodeId::new(self.random.uuid());
                self.cluster(cluster::Command::RequestNode { node_id, token_sha256: String::new(), reason, at_us });
            }
            Action::Notice { node_id, deadline_us, reason, .. } => {
                self.cluster(cluster::Command::Notice { node_id, by: Taker::Provider, deadline_us, reason, at_us });
            }
            Action::Leave { node_id, reason, .. } => {
                assert!(self.fleet.close(node_id), "only idle nodes are given back");
                self.cluster(cluster::Command::Leave { node_id, reason, at_us });
            }
            Action::Fail { node_id, reason, .. } => {
                self.cluster(cluster::Command::Fail { node_id, reason, at_us });
            }
            Action::Remove { node_id, end, reason, .. } => {
                let state = self.cluster.0.nodes[&node_id].state;
                let is_known = !matches!(state, NodeState::Requested | NodeState::Ready);
                assert!(is_known, "a server that starts again now would place jobs on {node_id}");
                self.cluster(cluster::Command::NodeIsGone { node_id, end, reason, at_us });
            }
            Action::FinishDelete { .. } => self.cluster(cluster::Command::FinishDelete { at_us }),
        }
    }

    /// The job's attempt begins where it was placed.
    fn run(&mut self, job_id: JobId) {
        if let Some((node_id, attempt)) = self.jobs[&job_id].0.live() {
            let phase = AttemptPhase::Running;
            self.job(job_id, &job::Command::Reach { attempt, node_id, phase, at_us: self.now_us });
        }
    }

    /// Nodes that were asked for come up.
    pub(super) fn boot(&mut self) {
        let requested = |(node, _, pool): (NodeId, &ClusterName, &Pool)| {
            (pool.cluster.nodes[&node].state == NodeState::Requested).then_some(node)
        };
        for node_id in self.fleet.nodes().filter_map(requested).collect::<Vec<_>>() {
            self.observe(NodeEvent::Ready { node_id });
            self.cluster(cluster::Command::NodeIsReady { node_id, at_us: self.now_us });
            self.fleet.set_connected(node_id, true, self.now_us);
        }
    }

    /// The provider says something: what follows is decided where the engine decides it.
    pub(super) fn observe(&mut self, event: NodeEvent) {
        if let Some(action) = react(&mut self.fleet, event, self.now_us) {
            self.act(action);
        }
    }

    pub(super) fn live(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, (job, _))| job.live().is_some()).map(|(id, _)| *id).collect()
    }

    pub(super) fn unfinished(&self) -> usize {
        self.jobs.values().filter(|(job, _)| job.phase != JobPhase::Ended).count()
    }

    /// Claims never exceed a node, counted from the jobs themselves; and the fleet has them where they are.
    pub(super) fn check(&self) {
        let mut claims: BTreeMap<NodeId, (Shape, usize)> = BTreeMap::new();
        for (job, _) in self.jobs.values() {
            if let Some((node, _)) = job.live() {
                let entry = claims.entry(node).or_default();
                *entry = (entry.0.plus(Shape::of_job(&job.spec)), entry.1 + 1);
            }
        }
        let Some(pool) = self.fleet.pool(&self.name) else { return };
        for (node, place) in &pool.places {
            let (claimed, count) = claims.get(node).copied().unwrap_or_default();
            assert!(claimed.fits(pool.capacity()), "{node} is overcommitted: {claimed}");
            assert_eq!((place.used, place.jobs.len()), (claimed, count));
            let kept = place.reserved.values().fold(claimed, |sum, shape| sum.plus(*shape));
            assert!(kept.fits(pool.capacity()), "{node} keeps room that it has not: {kept}");
        }
        let most = pool.cluster.spec.scale.max_nodes as usize;
        assert!(pool.places.len() <= most.max(self.surplus));
    }

    /// Changes the maximum, as PATCH does.
    pub(super) fn rescale(&mut self, max_nodes: u32) {
        self.surplus = self.fleet.nodes().count();
        let change = cluster::ScaleChange { max_nodes: Some(max_nodes), ..cluster::ScaleChange::default() };
        self.cluster(cluster::Command::Rescale { change, at_us: self.now_us });
    }
}
