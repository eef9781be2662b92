//! The scheduler under a virtual clock: random jobs, preemptions and losses, with the real deciders. No I/O, no
//! waiting.

use std::collections::BTreeSet;

use proptest::prelude::*;
use vocabulary::job::{JobEnd, Outcome, StopBy};
use vocabulary::{Decider, JobId, NodeId};

use super::simulation_world_tests::{SECOND, World};
use super::*;
use crate::cluster;
use crate::job::{self, JobPhase};
use crate::providers::{FailureCause, NodeEvent};
use crate::stream::Change;

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
fn what_waits_says_who_holds_the_node() {
    // A node full of replicas: whoever waited for it looked at "all nodes are busy" and never learned of what.
    let mut world = World::new(&SPOT.replace("max_nodes: 3", "max_nodes: 1"), 1);
    let runs = [3.0, 1.0, 1.0].map(|cpus| world.submit(cpus, 0, 0));
    for deployment in ["blue", "blue", "green"] {
        world.replica(deployment);
    }
    world.settle();
    world.boot();
    world.settle();
    assert_eq!(world.live().len(), 6, "the node is full");
    world.submit(2.0, 0, 0);
    let waiting = world.submit(1.0, 0, 0);
    world.settle();
    let held = format!("run {} 3 vCPU, deployment digits/blue 2 vCPU, deployment digits/green 1 vCPU", runs[0]);
    let standing = "its only node is busy (scale.max_nodes is 1)";
    let expected = format!("claims 1 vCPU; 1 job is before it; {standing}; busy: {held}, and 2 more");
    assert_eq!(world.fleet.explain(waiting), expected);
    // Who waits for itself knows it.
    world.end(runs[0], Outcome::Completed);
    world.settle();
    assert!(!world.fleet.explain(waiting).contains("busy"), "there is room now");
    let late = world.replica("late");
    world.settle();
    let why = world.fleet.explain_replica(late);
    let room = format!("waits for room on cluster 'spot': claims 1 vCPU; 0 jobs are before it; {standing}; busy: ");
    assert!(why.starts_with(&room) && why.contains("deployment digits/blue 2 vCPU"), "{why}");
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
    let gives_up =
        |fleet: &Fleet, now_us| plan(fleet, now_us).actions.iter().any(|action| matches!(action, Action::Fail { .. }));
    assert!(!gives_up(&restarted, world.now_us + 59 * SECOND));
    assert!(gives_up(&restarted, world.now_us + 61 * SECOND), "but not for ever");
    assert!(gives_up(&world.fleet, world.now_us), "without a restart its time is over");
}

#[test]
fn a_node_is_given_up_a_minute_after_it_came_up_or_should_have() {
    // A batch system may need minutes for a machine; the scheduler waits as long as the provider says, not for ever.
    let mut world = World::new(SPOT, 1);
    world.submit(1.0, 0, 0);
    world.settle();
    let (node_id, ..) = world.fleet.nodes().next().unwrap();
    let start_us = world.now_us;
    world.fleet.expect_up(node_id, start_us + 300 * SECOND);
    let gives_up = |world: &World, second: i64| {
        let actions = plan(&world.fleet, start_us + second * SECOND).actions;
        actions.iter().any(|action| matches!(action, Action::Fail { .. }))
    };
    assert!(!gives_up(&world, 359) && gives_up(&world, 361));
    world.now_us += 100 * SECOND;
    world.observe(NodeEvent::Ready { node_id });
    assert!(!gives_up(&world, 159) && gives_up(&world, 161));
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
    world.observe(NodeEvent::Failed { node_id, cause: FailureCause::Capacity, reason: "all taken".into() });
    world.settle();
    assert!(world.cluster.0.errors[0].contains("no capacity: all taken"));
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
    world.cluster(cluster::Command::Delete { used_by: Vec::new(), at_us: world.now_us });
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
    Fail(u8, bool),
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
        1 => any::<(u8, bool)>().prop_map(|(which, capacity)| Happening::Fail(which, capacity)),
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
                let deadline_us = world.now_us + 10 * SECOND;
                world.observe(NodeEvent::Notice { node_id, deadline_us, reason: "test".into() });
            }
        }
        Happening::Lose(which) => {
            if let Some(node_id) = chosen(which) {
                let preempted = which.is_multiple_of(2);
                world.observe(NodeEvent::Lost { node_id, preempted, reason: "test".into() });
            }
        }
        Happening::Fail(which, is_full) => {
            if let Some(node_id) = chosen(which) {
                let cause = if is_full { FailureCause::Capacity } else { FailureCause::Broken };
                world.observe(NodeEvent::Failed { node_id, cause, reason: "test".into() });
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
            scale: {max_nodes: 4, idle_seconds_before_scaledown: 20}";
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

#[test]
fn the_room_of_a_job_that_is_left_alone_is_kept() {
    // Its processes go on: what is placed beside them must fit, and their node must not be given back under them.
    let mut world = World::new(&SPOT.replace("max_nodes: 3", "max_nodes: 1"), 1);
    let job = world.submit(5.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    let (node_id, attempt) = world.jobs[&job].0.live().unwrap();
    world.fleet.leave_job(job, "its history cannot be read".into());
    let (left, version) = world.jobs.remove(&job).unwrap();
    let other = world.submit(4.0, 0, 0);
    world.settle();
    assert_eq!(world.jobs[&other].0.phase, JobPhase::Queued, "there are three of eight left");
    world.job(other, &job::Command::Stop { by: StopBy::User, decision: String::new(), at_us: world.now_us });
    world.now_us += 3600 * SECOND;
    world.settle();
    assert_eq!(world.fleet.nodes().count(), 1, "it is not idle");
    // The same after a start, when nothing is known but what the node's agent says.
    let mut restarted = Fleet::default();
    restarted.load_cluster(world.name.clone(), world.cluster.0.clone(), world.cluster.1, world.now_us);
    restarted.leave_job(job, "its history cannot be read".into());
    restarted.set_connected(node_id, true, world.now_us);
    restarted.found_on(node_id, &BTreeSet::from([(job, attempt)]));
    for fleet in [&mut world.fleet, &mut restarted] {
        let later_us = world.now_us + 3600 * SECOND;
        fleet.contacted(node_id, later_us);
        assert!(plan(fleet, later_us).actions.is_empty());
        let end = JobEnd::new(Outcome::Completed);
        let ended = job::JobEnded { job: left.key.clone(), attempt, end, node_id: Some(node_id), at_us: later_us };
        fleet.apply(&Change::Job(job, ended.into()), version + 1, world.position + 1, later_us);
        assert!(plan(fleet, later_us).actions.is_empty(), "it has idled for no time");
        let idle_us = later_us + 20 * SECOND;
        fleet.contacted(node_id, idle_us);
        assert!(matches!(plan(fleet, idle_us).actions[..], [Action::Leave { .. }]));
    }
}

#[test]
fn a_cluster_that_is_deleted_does_not_wait_for_what_is_left_alone() {
    let mut world = World::new(SPOT, 1);
    let job = world.submit(1.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    world.fleet.leave_job(job, "its history cannot be read".into());
    world.jobs.clear();
    world.cluster(cluster::Command::Delete { used_by: Vec::new(), at_us: world.now_us });
    world.settle();
    assert_eq!(world.cluster.0.phase, cluster::Phase::Absent);
}

#[test]
fn a_cluster_that_cannot_be_read_any_more_stops_nobody_else() {
    let mut world = World::new(SPOT, 1);
    let job = world.submit(1.0, 0, 0);
    world.settle();
    world.boot();
    world.settle();
    world.fleet.leave_cluster(world.name.clone(), "its event cannot be read".into());
    world.job(
        job,
        &job::Command::EndAttempt {
            attempt: 1,
            node_id: world.jobs[&job].0.live().unwrap().0,
            end: JobEnd::new(Outcome::Lost),
            at_us: world.now_us,
        },
    );
    world.cluster(cluster::Command::Rescale { change: cluster::ScaleChange::default(), at_us: world.now_us });
    world.now_us += 3600 * SECOND;
    assert!(plan(&world.fleet, world.now_us).actions.is_empty());
    assert!(world.fleet.explain(job).contains("cannot be read"));
    assert!(world.fleet.has_unreadable_clusters());
}
