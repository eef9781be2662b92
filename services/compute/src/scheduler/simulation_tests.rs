//! The scheduler under a virtual clock: random jobs, preemptions and losses, with the real deciders. No I/O, no
//! waiting.

use std::collections::{BTreeMap, BTreeSet};

use documents::Format;
use proptest::prelude::*;
use vocabulary::job::{AttemptPhase, JobEnd, JobSpec, Outcome, Resources, ServiceSpec};
use vocabulary::{Decider, Entropy, JobId, NodeId, SeededEntropy};

use super::*;
use crate::cluster::{self, Cluster, NodeEnd, NodeState, Taker};
use crate::job::{self, Job, JobKey, JobPhase};
use crate::stream::{Change, ClusterName};

const SECOND: i64 = 1_000_000;

/// Deciders, a fleet and a clock; what the engine and its surroundings do, in memory.
struct World {
    now_us: i64,
    position: i64,
    fleet: Fleet,
    name: ClusterName,
    cluster: (Cluster, i64),
    jobs: BTreeMap<JobId, (Job, i64)>,
    ends: BTreeMap<JobId, u32>,
    random: SeededEntropy,
    /// Nodes that a lowered maximum has found; their number may only fall.
    surplus: usize,
}

impl World {
    fn new(document: &str, seed: u64) -> Self {
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

    fn cluster(&mut self, command: cluster::Command) {
        let Ok(events) = self.cluster.0.decide(&command) else { return };
        for event in events {
            self.cluster.0.evolve(&event);
            self.cluster.1 += 1;
            self.position += 1;
            let change = Change::Cluster(self.name.clone(), event);
            self.fleet.apply(&change, self.cluster.1, self.position, self.now_us);
        }
    }

    fn job(&mut self, job_id: JobId, command: &job::Command) {
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

    fn submit(&mut self, cpus: f64, memory_bytes: u64, priority: i32) -> JobId {
        self.queue(cpus, memory_bytes, priority, None)
    }

    fn replica(&mut self, deployment: &str) -> JobId {
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

    fn queue(&mut self, cpus: f64, memory_bytes: u64, priority: i32, service: Option<ServiceSpec>) -> JobId {
        let job_id = JobId::new(self.random.uuid());
        let resources = Resources { cpu_count: cpus, memory_bytes, node_count: 1, gpu_count: 0 };
        let spec =
            JobSpec { cluster: "spot".into(), resources, priority, max_retries: 1, service, ..JobSpec::default() };
        let key = JobKey { workspace: "w".into(), run_id: job_id.to_string(), cluster: "spot".into() };
        self.job(job_id, &job::Command::Queue { job: key, spec: Box::new(spec), at_us: self.now_us });
        job_id
    }

    fn end(&mut self, job_id: JobId, outcome: Outcome) {
        if let Some((node_id, attempt)) = self.jobs[&job_id].0.live() {
            let end = JobEnd::new(outcome);
            self.job(job_id, &job::Command::EndAttempt { attempt, node_id, end, at_us: self.now_us });
        }
    }

    /// Looks and acts until there is nothing to do; answers when to look again.
    fn settle(&mut self) -> Option<i64> {
        for _ in 0..10_000 {
            for node in self.fleet.nodes().map(|(node, ..)| node).collect::<Vec<_>>() {
                if !self.silent().contains(&node) {
                    self.fleet.heard(node, self.now_us);
                }
            }
            let Plan { actions, next_us } = plan(&self.fleet, self.now_us);
            if actions.is_empty() {
                return next_us;
            }
            for action in actions {
                self.act(action);
            }
        }
        panic!("the scheduler does not come to rest: {:?}", plan(&self.fleet, self.now_us).actions.first());
    }

    /// Nodes whose connection was lost.
    fn silent(&self) -> BTreeSet<NodeId> {
        let lost = |(node, _, pool): (NodeId, &ClusterName, &Pool)| {
            let ready = pool.cluster.nodes[&node].state == NodeState::Ready;
            (ready && !pool.places[&node].connected).then_some(node)
        };
        self.fleet.nodes().filter_map(lost).collect()
    }

    fn act(&mut self, action: Action) {
        let at_us = self.now_us;
        match action {
            Action::Place { job_id, attempt, node_id, reason } => {
                self.job(job_id, &job::Command::Place { attempt, node_id, reason, at_us });
                let phase = AttemptPhase::Running;
                self.job(job_id, &job::Command::Reach { attempt, node_id, phase, at_us });
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
                assert!(self.fleet.node(node_id).unwrap().2.jobs.is_empty(), "only idle nodes are given back");
                self.cluster(cluster::Command::Leave { node_id, reason, at_us });
            }
            Action::Remove { node_id, end, reason, .. } => {
                self.cluster(cluster::Command::NodeIsGone { node_id, end, reason, at_us });
            }
            Action::FinishDelete { .. } => self.cluster(cluster::Command::FinishDelete { at_us }),
        }
    }

    /// Nodes that were asked for come up.
    fn boot(&mut self) {
        let requested = |(node, _, pool): (NodeId, &ClusterName, &Pool)| {
            (pool.cluster.nodes[&node].state == NodeState::Requested).then_some(node)
        };
        for node_id in self.fleet.nodes().filter_map(requested).collect::<Vec<_>>() {
            self.cluster(cluster::Command::NodeIsReady { node_id, at_us: self.now_us });
            self.fleet.set_connected(node_id, true, self.now_us);
        }
    }

    fn live(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|(_, (job, _))| job.live().is_some()).map(|(id, _)| *id).collect()
    }

    fn unfinished(&self) -> usize {
        self.jobs.values().filter(|(job, _)| job.phase != JobPhase::Ended).count()
    }

    /// Claims never exceed a node, counted from the jobs themselves; and the fleet has them where they are.
    fn check(&self) {
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
        }
        let most = pool.cluster.spec.scale.max_nodes as usize;
        assert!(pool.places.len() <= most.max(self.surplus));
    }

    /// Changes the maximum, as PATCH does.
    fn rescale(&mut self, max_nodes: u32) {
        self.surplus = self.fleet.nodes().count();
        let change = cluster::ScaleChange { max_nodes: Some(max_nodes), ..cluster::ScaleChange::default() };
        self.cluster(cluster::Command::Rescale { change, at_us: self.now_us });
    }
}

const SPOT: &str = "vm_size: D8\nvm_priority: low_priority\nscale: {max_nodes: 3, idle_seconds_before_scaledown: 20}";

#[test]
fn a_small_job_is_not_blocked_by_large_ones() {
    // One large job at the head must not leave the rest of a node empty (kueue#14477).
    let mut world = World::new(&SPOT.replace("max_nodes: 3", "max_nodes: 1"), 1);
    let first = world.submit(5.0, 0, 0);
    let large: Vec<_> = (0..500).map(|_| world.submit(8.0, 0, 0)).collect();
    let small = world.submit(1.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    let phase = |world: &World, id: JobId| world.jobs[&id].0.phase;
    assert_eq!((phase(&world, first), phase(&world, small)), (JobPhase::Running, JobPhase::Running));
    assert_eq!(phase(&world, large[0]), JobPhase::Queued);
    let why = world.fleet.explain(large[0]);
    assert!(why.contains("8 vCPU") && why.contains("max_nodes"), "{why}");
}

#[test]
fn a_node_has_time_to_connect_after_a_restart() {
    // The server was away while the node came up: it must not be given up because of that.
    let mut world = World::new(SPOT, 1);
    world.submit(1.0, 0, 0);
    world.settle();
    world.now_us += 3600 * SECOND;
    let mut restarted = Fleet::default();
    restarted.load_cluster(world.name.clone(), world.cluster.0.clone(), world.cluster.1, world.now_us);
    let gives_up = |fleet: &Fleet, now_us| {
        plan(fleet, now_us).actions.iter().any(|action| matches!(action, Action::Remove { end: NodeEnd::Failed, .. }))
    };
    assert!(!gives_up(&restarted, world.now_us + 59 * SECOND));
    assert!(gives_up(&restarted, world.now_us + 61 * SECOND), "but not for ever");
    assert!(gives_up(&world.fleet, world.now_us), "without a restart its time is over");
}

#[test]
fn priority_goes_first_then_the_order_of_arrival() {
    let mut world = World::new(&SPOT.replace("max_nodes: 3", "max_nodes: 1"), 1);
    let low = world.submit(8.0, 0, 0);
    let second = world.submit(8.0, 0, 5);
    let third = world.submit(8.0, 0, 5);
    world.settle();
    world.boot();
    world.settle();
    assert_eq!(world.live(), [second]);
    world.end(second, Outcome::Completed);
    world.settle();
    assert_eq!(world.live(), [third]);
    world.end(third, Outcome::Completed);
    world.settle();
    assert_eq!(world.live(), [low]);
}

#[test]
fn nodes_come_with_demand_and_go_with_idleness() {
    // 0 -> n -> 0: what a newcomer sees in the first minute.
    let mut world = World::new(SPOT, 1);
    assert_eq!(world.settle(), None);
    let jobs: Vec<_> = (0..12).map(|_| world.submit(1.0, 0, 0)).collect();
    world.settle();
    assert_eq!(world.fleet.nodes().count(), 2, "12 jobs of one CPU need two nodes of 8, not three");
    world.boot();
    world.settle();
    assert_eq!(world.live().len(), 12);
    jobs.iter().for_each(|job| world.end(*job, Outcome::Completed));
    let again = world.settle().unwrap();
    world.now_us = again.max(world.now_us + 20 * SECOND);
    world.settle();
    assert_eq!(world.fleet.nodes().count(), 0);
}

#[test]
fn a_lowered_maximum_is_reached_though_jobs_wait_and_none_is_cut_off() {
    // Whoever lowers the maximum to save money must not pay on for as long as the queue is not empty.
    let mut world = World::new(SPOT, 1);
    for _ in 0..60 {
        world.submit(2.0, 0, 0);
    }
    world.settle();
    world.boot();
    world.settle();
    assert_eq!((world.fleet.nodes().count(), world.live().len()), (3, 12));
    world.rescale(1);
    world.settle();
    assert_eq!(world.live().len(), 12, "what runs goes on");
    assert!(world.cluster.0.is_resizing(), "three nodes are not the one that is wanted");
    let mut ended = 0;
    while world.fleet.nodes().count() > 1 {
        // Each node in turn ends a job: the full ones must not be filled again.
        let live = world.live();
        world.end(live[ended % live.len()], Outcome::Completed);
        world.settle();
        world.surplus = world.fleet.nodes().count();
        ended += 1;
        assert!(ended < 60, "the queue has run dry first");
    }
    assert!(ended <= 24, "{ended} jobs ended before two nodes of four jobs were empty");
    assert_eq!(world.live().len(), 4, "the node that stays is full");
    assert!(world.unfinished() > 4 && !world.cluster.0.is_resizing());
    world.rescale(0);
    world.settle();
    assert!(world.cluster.0.is_resizing());
}

#[test]
fn replicas_of_a_deployment_are_spread_over_the_nodes() {
    // Two replicas are wanted so that one node may go; on one node they are worth one.
    let mut world = World::new(SPOT, 1);
    let node_of = |world: &World, job: JobId| world.jobs[&job].0.live().map(|(node, _)| node);
    let blue = [world.replica("blue"), world.replica("blue"), world.replica("blue")];
    world.settle();
    world.boot();
    world.settle();
    let nodes: BTreeSet<_> = blue.iter().map(|job| node_of(&world, *job).unwrap()).collect();
    assert_eq!(nodes.len(), 3, "each has its own");
    // Where they cannot be, they share: a replica is better than none. Others are packed as ever.
    let (fourth, green) = (world.replica("blue"), world.replica("green"));
    let trial = world.submit(1.0, 0, 0);
    world.settle();
    assert_eq!(world.fleet.nodes().count(), 3);
    assert!(node_of(&world, fourth).is_some() && node_of(&world, green).is_some());
    assert_eq!(node_of(&world, trial), node_of(&world, fourth), "the fullest node that fits");
    // The only node of a revision goes: its replica is not put where another one is while a place is free.
    world.end(blue[0], Outcome::Completed);
    let next = world.replica("blue");
    world.settle();
    assert!(!blue[1..].iter().any(|job| node_of(&world, *job) == node_of(&world, next)));
}

#[test]
fn a_replica_does_not_wait_for_nodes_that_do_not_come() {
    let mut world = World::new(SPOT, 1);
    let first = world.replica("blue");
    world.settle();
    world.boot();
    world.settle();
    let second = world.replica("blue");
    world.settle();
    assert_eq!((world.fleet.nodes().count(), world.live()), (2, vec![first]));
    let (node_id, ..) =
        world.fleet.nodes().find(|(node, ..)| world.fleet.node(*node).unwrap().2.jobs.is_empty()).unwrap();
    let (end, reason, at_us) = (NodeEnd::Failed, "no capacity".to_owned(), world.now_us);
    world.cluster(cluster::Command::NodeIsGone { node_id, end, reason, at_us });
    world.settle();
    assert!(world.live().contains(&second), "beside the first, until nodes come again");
}

#[test]
fn nodes_that_still_boot_are_the_first_that_a_lowered_maximum_gives_back() {
    let mut world = World::new(SPOT, 1);
    let first = world.submit(8.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    let second = world.submit(8.0, 0, 0);
    world.settle();
    assert_eq!(world.fleet.nodes().count(), 2);
    world.rescale(1);
    world.settle();
    assert_eq!((world.fleet.nodes().count(), world.live()), (1, vec![first]));
    world.end(first, Outcome::Completed);
    world.settle();
    assert_eq!(world.live(), [second]);
}

#[test]
fn a_silent_node_is_given_up_and_its_jobs_run_elsewhere() {
    let mut world = World::new(SPOT, 1);
    let job = world.submit(1.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    let (node, _) = world.jobs[&job].0.live().unwrap();
    world.fleet.set_connected(node, false, world.now_us);
    world.now_us += 9 * SECOND;
    world.settle();
    assert_eq!(world.jobs[&job].0.live().map(|(node, _)| node), Some(node), "not before the grace is over");
    world.now_us += 2 * SECOND;
    world.settle();
    world.boot();
    world.settle();
    let now = &world.jobs[&job].0;
    assert_eq!((now.attempt, now.lost), (2, 1));
    assert_ne!(now.live().map(|(node, _)| node), Some(node));
}

#[test]
fn what_can_never_run_says_so_instead_of_waiting() {
    let mut world = World::new(SPOT, 1);
    let job = world.submit(9.0, 0, 0);
    world.settle();
    let end = world.jobs[&job].0.end.clone().unwrap();
    assert_eq!((end.outcome, end.reason.as_str()), (Outcome::Failed, "does_not_fit"));
    assert!(end.stderr_tail.contains("9 vCPU") && end.stderr_tail.contains("8 vCPU"), "{}", end.stderr_tail);
}

#[test]
fn a_deleted_cluster_ends_what_it_has() {
    let mut world = World::new(&SPOT.replace("max_nodes: 3", "max_nodes: 1"), 1);
    for _ in 0..10 {
        world.submit(1.0, 0, 0);
    }
    world.settle();
    world.boot();
    world.settle();
    world.cluster(cluster::Command::Delete { carries: Vec::new(), at_us: world.now_us });
    world.settle();
    assert_eq!(world.unfinished(), 0);
    assert!(world.fleet.pool(&world.name.clone()).is_none());
    let canceled =
        world.jobs.values().filter(|(job, _)| job.end.as_ref().is_some_and(|end| end.outcome == Outcome::Canceled));
    assert_eq!(canceled.count(), 10);
}

#[test]
fn a_fleet_read_from_the_log_is_the_one_that_was_folded() {
    // After a crash the plan must go on as if nothing had happened.
    let mut world = World::new(SPOT, 1);
    for n in 0..20 {
        world.submit(f64::from(n % 3 + 1), 0, n % 2);
    }
    world.settle();
    world.boot();
    world.settle();
    let mut loaded = Fleet::default();
    loaded.load_cluster(world.name.clone(), world.cluster.0.clone(), world.cluster.1, world.now_us);
    for (id, (job, version)) in &world.jobs {
        let order = world.fleet.job(*id).map_or(0, |entry| entry.order);
        loaded.load_job(*id, job.clone(), *version, order);
    }
    for node in world.fleet.nodes().map(|(node, ..)| node).collect::<Vec<_>>() {
        loaded.set_connected(node, true, world.now_us);
    }
    let job = world.live()[0];
    let end = JobEnd::new(Outcome::Completed);
    let (node_id, attempt) = world.jobs[&job].0.live().unwrap();
    let (mut aggregate, version) = world.jobs[&job].clone();
    let Ok(events) = aggregate.decide(&job::Command::EndAttempt { attempt, node_id, end, at_us: world.now_us });
    for (index, event) in events.into_iter().enumerate() {
        aggregate.evolve(&event);
        let change = Change::Job(job, event);
        let version = version + i64::try_from(index).unwrap() + 1;
        loaded.apply(&change, version, 1000, world.now_us);
        world.fleet.apply(&change, version, 1000, world.now_us);
        loaded.apply(&change, version, 1000, world.now_us);
    }
    let (ours, theirs) = (plan(&world.fleet, world.now_us).actions, plan(&loaded, world.now_us).actions);
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs);
}

#[derive(Clone, Debug)]
enum Happening {
    Submit(u8, u8, u8),
    Boot,
    End(u8, Outcome),
    Preempt(u8),
    Lose(u8),
    Rescale(u8),
    Pass(u8),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let outcome = prop_oneof![3 => Just(Outcome::Completed), 1 => Just(Outcome::Failed), 1 => Just(Outcome::Lost)];
    prop_oneof![
        4 => (1..16u8, 0..8u8, 0..3u8).prop_map(|(cpus, gib, priority)| Happening::Submit(cpus, gib, priority)),
        2 => Just(Happening::Boot),
        3 => (any::<u8>(), outcome).prop_map(|(which, outcome)| Happening::End(which, outcome)),
        1 => any::<u8>().prop_map(Happening::Preempt),
        1 => any::<u8>().prop_map(Happening::Lose),
        1 => (1..5u8).prop_map(Happening::Rescale),
        2 => (0..40u8).prop_map(Happening::Pass),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    let nodes: Vec<NodeId> = world.fleet.nodes().map(|(node, ..)| node).collect();
    let chosen = |which: u8| nodes.get(usize::from(which) % nodes.len().max(1)).copied();
    match *happening {
        Happening::Submit(cpus, gib, priority) => {
            // Halves of a CPU, and now and then more than a node has.
            world.submit(f64::from(cpus) / 2.0, u64::from(gib) << 30, i32::from(priority));
        }
        Happening::Boot => world.boot(),
        Happening::End(which, outcome) => {
            let live = world.live();
            if let Some(job) = live.get(usize::from(which) % live.len().max(1)) {
                world.end(*job, outcome);
            }
        }
        Happening::Preempt(which) => {
            if let Some(node_id) = chosen(which) {
                let (at_us, deadline_us) = (world.now_us, world.now_us + 10 * SECOND);
                world.cluster(cluster::Command::Notice {
                    node_id,
                    by: Taker::User,
                    deadline_us,
                    reason: "test".into(),
                    at_us,
                });
            }
        }
        Happening::Lose(which) => {
            if let Some(node_id) = chosen(which) {
                let end = NodeEnd::Failed;
                let at_us = world.now_us;
                world.cluster(cluster::Command::NodeIsGone { node_id, end, reason: "test".into(), at_us });
            }
        }
        Happening::Rescale(most) => world.rescale(u32::from(most)),
        Happening::Pass(seconds) => world.now_us += i64::from(seconds) * SECOND,
    }
    world.settle();
}

proptest! {
    #![proptest_config(testkit::properties(96))]
    #[test]
    fn every_job_ends_once_and_no_node_is_overcommitted(
        happenings in proptest::collection::vec(any_happening(), 1..120),
        seed in any::<u64>(),
    ) {
        let document = "vm_size: D8\nvm_priority: low_priority\n\
            scale: {max_nodes: 4, idle_seconds_before_scaledown: 20}\n\
                        provider: {preemption: {mean_seconds: 60, seed: 3}}";
        let mut world = World::new(document, seed);
        for happening in &happenings {
            happen(&mut world, happening);
        }
        // Left alone, everything comes to an end.
        for _ in 0..2000 {
            if world.unfinished() == 0 {
                break;
            }
            world.now_us += SECOND;
            world.settle();
            world.boot();
            world.settle();
            world.live().into_iter().for_each(|job| world.end(job, Outcome::Completed));
        }
        prop_assert_eq!(world.unfinished(), 0);
        prop_assert!(world.ends.values().all(|count| *count == 1));
        prop_assert_eq!(world.ends.len(), world.jobs.len());
        // And the nodes go again.
        for _ in 0..100 {
            world.now_us += 5 * SECOND;
            world.settle();
            world.boot();
        }
        prop_assert_eq!(world.fleet.nodes().count(), 0);
    }
}
