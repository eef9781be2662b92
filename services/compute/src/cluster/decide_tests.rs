//! Given, when, then for clusters.

use documents::Format;
use uuid::Uuid;
use vocabulary::{Decider, NodeId, Problem};

use super::*;

fn node(number: u128) -> NodeId {
    NodeId::new(Uuid::from_u128(number))
}

fn put(text: &str, at_us: i64) -> Command {
    let (spec, size) = read_spec("spot", text.as_bytes(), Format::Yaml).unwrap();
    Command::Put { workspace: "w".into(), name: "spot".into(), spec: Box::new(spec), size: Box::new(size), at_us }
}

fn create() -> Command {
    put("vm_size: D2\nvm_priority: low_priority\nscale: {max_nodes: 2}", 1)
}

fn request(number: u128) -> Command {
    Command::RequestNode { node_id: node(number), token_sha256: "ab".into(), reason: "2 wait".into(), at_us: 2 }
}

fn ready(number: u128) -> Command {
    Command::NodeIsReady { node_id: node(number), at_us: 3 }
}

fn notice(number: u128) -> Command {
    Command::Notice { node_id: node(number), by: Taker::User, deadline_us: 9, reason: "asked for".into(), at_us: 4 }
}

fn delete(at_us: i64) -> Command {
    Command::Delete { used_by: Vec::new(), at_us }
}

fn gone(number: u128, end: NodeEnd) -> Command {
    Command::NodeIsGone { node_id: node(number), end, reason: "why".into(), at_us: 5 }
}

fn given(commands: &[Command]) -> Cluster {
    let mut cluster = Cluster::default();
    for command in commands {
        for event in cluster.decide(command).unwrap() {
            cluster.evolve(&event);
        }
    }
    cluster
}

#[test]
fn the_same_document_twice_changes_nothing() {
    // A client that repeats its PUT must not move the version under others.
    let cluster = given(&[create()]);
    assert_eq!(cluster.decide(&create()), Ok(Vec::new()));
    let more = put("vm_size: D2\nvm_priority: low_priority\nscale: {max_nodes: 5}", 2);
    assert!(matches!(cluster.decide(&more).unwrap()[..], [ClusterEvent::ScaleChanged(_)]));
}

#[test]
fn what_cannot_change_is_named() {
    // Whoever changes a size in a file must learn that a new cluster is needed, not get nodes of the old size.
    let cluster = given(&[create()]);
    let other = put("vm_size: D8\nvm_priority: dedicated\nscale: {max_nodes: 2}", 2);
    let rejection = cluster.decide(&other).unwrap_err();
    assert_eq!(rejection, Rejection::Immutable { cluster: "spot".into(), fields: vec!["vm_size", "vm_priority"] });
    let problem = Problem::from(rejection);
    assert_eq!((problem.status, problem.code.as_str(), problem.errors.len()), (409, "Immutable", 2));
}

#[test]
fn a_rescale_is_checked_against_what_is_there() {
    let cluster = given(&[create()]);
    let change = ScaleChange { min_nodes: Some(3), ..ScaleChange::default() };
    assert_eq!(cluster.decide(&Command::Rescale { change, at_us: 2 }), Err(Rejection::BadScale { min: 3, max: 2 }));
    assert_eq!(Cluster::default().decide(&Command::Rescale { change, at_us: 2 }), Err(Rejection::Absent));
}

#[test]
fn there_are_never_more_nodes_than_allowed() {
    // Two plans that overlap must not cost a third node.
    let cluster = given(&[create(), request(1), request(2)]);
    assert_eq!(cluster.decide(&request(3)), Ok(Vec::new()));
    assert_eq!(cluster.nodes[&node(2)].ordinal, 1);
    assert!(cluster.is_resizing());
    let steady = given(&[create(), request(1), ready(1)]);
    assert!(!steady.is_resizing());
    assert_eq!(steady.allocation_changed_us, 3);
}

#[test]
fn only_a_ready_node_is_noticed_and_only_once() {
    let booting = given(&[create(), request(1)]);
    let refused = Problem::from(booting.decide(&notice(1)).unwrap_err());
    assert_eq!((refused.status, refused.code.as_str()), (409, "NodeNotReady"));
    assert!(refused.detail.contains("is preparing; only a ready node"), "{}", refused.detail);
    assert_eq!(booting.decide(&notice(7)), Err(Rejection::NodeAbsent(node(7))));
    let noticed = given(&[create(), request(1), ready(1), notice(1)]);
    assert_eq!(noticed.nodes[&node(1)].state, NodeState::Noticed { deadline_us: 9 });
    assert_eq!(noticed.decide(&notice(1)), Ok(Vec::new()), "a second notice must not move the deadline");
    let preempted = given(&[create(), request(1), ready(1), notice(1), gone(1, NodeEnd::Preempted)]);
    assert_eq!(preempted.end_of(node(1)), Some(NodeEnd::Preempted));
    assert_eq!(preempted.decide(&gone(1, NodeEnd::Failed)), Ok(Vec::new()), "a node goes once");
}

#[test]
fn nodes_that_never_came_up_are_counted_until_one_does() {
    // Without the count a wrong executable would be started for ever without a pause.
    let failed = [create(), request(1), gone(1, NodeEnd::Failed), request(2), gone(2, NodeEnd::Failed)];
    let cluster = given(&failed);
    assert_eq!((cluster.boot_failures, cluster.errors.len()), (2, 2));
    let cluster = given(&[&failed[..], &[request(3), ready(3)]].concat());
    assert_eq!(cluster.boot_failures, 0);
    // Those that are taken away while they boot would be asked for as fast as they go.
    let ended = |end| given(&[create(), request(1), gone(1, end), request(2), gone(2, end)]);
    let taken = ended(NodeEnd::Preempted);
    assert_eq!((taken.boot_failures, taken.errors.len()), (2, 2));
    let given_back = ended(NodeEnd::Released);
    assert_eq!((given_back.boot_failures, given_back.errors.len()), (0, 0));
}

#[test]
fn a_deleted_cluster_leaves_its_name_free() {
    let deleting = given(&[create(), request(1), delete(6)]);
    assert_eq!(deleting.decide(&delete(7)), Ok(Vec::new()));
    let refused = Problem::from(deleting.decide(&create()).unwrap_err());
    assert_eq!((refused.status, refused.code.as_str()), (409, "ClusterDeleting"));
    assert!(refused.detail.contains("'spot' is being deleted; wait until it is gone"), "{}", refused.detail);
    assert_eq!(deleting.decide(&Command::FinishDelete { at_us: 7 }), Ok(Vec::new()), "a node is left");
    let again = given(&[
        create(),
        request(1),
        delete(6),
        gone(1, NodeEnd::Released),
        Command::FinishDelete { at_us: 7 },
        create(),
        request(2),
    ]);
    assert_eq!(again.phase, Phase::Live);
    assert_eq!(again.nodes[&node(2)].ordinal, 1, "ordinals are not used twice: simulated lives follow from them");
}

#[test]
fn a_cluster_is_not_taken_from_under_an_endpoint() {
    // A clean-up of clusters must not take an endpoint down by the way.
    let cluster = given(&[create()]);
    let carries = vec!["digits/blue".to_owned(), "digits/green".to_owned()];
    let problem = Problem::from(cluster.decide(&Command::Delete { used_by: carries, at_us: 6 }).unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (409, "ClusterInUse"));
    // One that is being deleted still has its replicas: whoever has asked for that is to know what is missing.
    for said in ["digits/blue, digits/green", "wait until they are gone", "force=true"] {
        assert!(problem.detail.contains(said), "{}", problem.detail);
    }
    let deleting = given(&[create(), delete(6)]);
    let again = Command::Delete { used_by: vec!["digits/blue".to_owned()], at_us: 7 };
    assert_eq!(deleting.decide(&again), Ok(Vec::new()), "what is decided already is no news");
}

#[test]
fn dedicated_nodes_are_emptied_by_an_administrator_or_their_provider_only() {
    // Whoever pays for dedicated nodes was promised that nobody takes them away.
    let dedicated = put("vm_size: D2\nscale: {max_nodes: 2}", 1);
    let cluster = given(&[dedicated, request(1), ready(1)]);
    let problem = Problem::from(cluster.decide(&notice(1)).unwrap_err());
    assert_eq!((problem.status, problem.code.as_str()), (409, "NotPreemptible"));
    for by in [Taker::Administrator, Taker::Provider] {
        let wish = Command::Notice { node_id: node(1), by, deadline_us: 9, reason: "disk".into(), at_us: 4 };
        assert!(matches!(cluster.decide(&wish).unwrap()[..], [ClusterEvent::NodeNoticed(_)]));
    }
}

#[test]
fn a_node_that_is_to_be_cleared_away_is_known_as_such_from_the_first_moment() {
    // What runs there until it is gone must be all that ever runs there again.
    let fail = Command::Fail { node_id: node(1), reason: "silent".into(), at_us: 4 };
    for before in [&[create(), request(1)][..], &[create(), request(1), ready(1)]] {
        let failing = given(&[before, std::slice::from_ref(&fail)].concat());
        assert_eq!((failing.nodes[&node(1)].state, failing.staying()), (NodeState::Failing, 0));
        assert_eq!(failing.decide(&ready(1)), Ok(Vec::new()), "nor is it ready again");
        assert_eq!(failing.decide(&notice(1)), Err(Rejection::NodeNotReady(node(1), "leaving")));
        assert_eq!(failing.decide(&fail), Ok(Vec::new()));
    }
    let noticed = given(&[create(), request(1), ready(1), notice(1)]);
    assert_eq!(noticed.decide(&fail), Ok(Vec::new()), "it was preempted, whatever comes after that");
    let by = Taker::Provider;
    let reclaim = Command::Notice { node_id: node(1), by, deadline_us: 9, reason: "reclaimed".into(), at_us: 4 };
    let booting = given(&[create(), request(1), reclaim]);
    assert_eq!(booting.nodes[&node(1)].state, NodeState::Noticed { deadline_us: 9 });
}
