//! Given a history, when something is wanted, then these events or this refusal.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use vocabulary::{Decider, Problem, StoredEvent};

use super::state::shares;
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(second)).unwrap()
}

fn put() -> Command {
    Command::Put(EndpointCreated {
        workspace: "default".to_owned(),
        name: "digits".to_owned(),
        spec: EndpointSpec::default(),
        at: at(0),
    })
}

fn revise(deployment: &str, version: i64, instances: u32) -> Command {
    let revision = Box::new(DeploymentRevised {
        workspace: "default".to_owned(),
        endpoint: "digits".to_owned(),
        deployment: deployment.to_owned(),
        revision: 0,
        model: ServedModel { model: "digits".to_owned(), version, ..ServedModel::default() },
        spec: DeploymentSpec { cluster: "cpu".to_owned(), instance_count: instances, ..DeploymentSpec::default() },
        at: at(1),
    });
    Command::Revise { revision, is_archived: false }
}

fn archived(command: Command) -> Command {
    let Command::Revise { revision, .. } = command else { panic!("only a revision has a model: {command:?}") };
    Command::Revise { revision, is_archived: true }
}

fn request(deployment: &str, revision: i64, ordinal: u32, job_id: &str) -> Command {
    Command::RequestReplica(ReplicaRequested {
        deployment: deployment.to_owned(),
        revision,
        ordinal,
        job_id: job_id.to_owned(),
        at: at(2),
    })
}

fn ready(job_id: &str, attempt: u32) -> Command {
    Command::ReportReady(ReplicaReady {
        job_id: job_id.to_owned(),
        attempt,
        address: format!("unix:/run/{job_id}.{attempt}"),
        node_id: "node_1".to_owned(),
        at: at(3),
    })
}

fn ended(job_id: &str, second: i64) -> Command {
    let (reason, log_tail) = ("failed, exit code 1".to_owned(), "no module named x\n".to_owned());
    let how = Replacement { reason, log_tail, cannot_serve: false };
    Command::ReportEnded { job_id: job_id.to_owned(), how, at: at(second) }
}

fn traffic(shares: &[(&str, u32)]) -> Command {
    let traffic = shares.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect();
    Command::SetTraffic(TrafficSet { traffic, at: at(4) })
}

fn wish(endpoint: &mut Endpoint, command: Command) -> Result<Vec<&'static str>, Rejection> {
    let events = endpoint.decide(&command)?;
    for event in &events {
        // What is stored must lead to the same state as what was decided.
        let stored = EndpointEvent::decode(event.kind(), event.schema(), &event.encode().unwrap()).unwrap();
        assert_eq!(&stored, event);
        endpoint.evolve(&stored);
    }
    Ok(events.iter().map(StoredEvent::kind).collect())
}

fn given(commands: Vec<Command>) -> Endpoint {
    let mut endpoint = Endpoint::default();
    for command in commands {
        wish(&mut endpoint, command).unwrap();
    }
    endpoint
}

/// One deployment with one ready replica that has all traffic.
fn serving() -> Endpoint {
    given(vec![
        put(),
        revise("blue", 1, 1),
        request("blue", 1, 0, "job_a"),
        ready("job_a", 1),
        traffic(&[("blue", 100)]),
    ])
}

#[test]
fn a_deployment_answers_once_all_its_replicas_are_ready() {
    let mut endpoint = given(vec![put(), revise("blue", 1, 2), traffic(&[("blue", 100)])]);
    wish(&mut endpoint, request("blue", 1, 0, "job_a")).unwrap();
    wish(&mut endpoint, request("blue", 1, 1, "job_b")).unwrap();
    assert_eq!(wish(&mut endpoint, ready("job_a", 1)).unwrap(), ["ReplicaReady"]);
    assert_eq!(endpoint.deployments["blue"].provisioning_state(), "Creating");
    assert!(endpoint.effective_traffic().is_empty());
    assert_eq!(wish(&mut endpoint, ready("job_b", 1)).unwrap(), ["ReplicaReady", "RevisionWentLive"]);
    assert_eq!(endpoint.deployments["blue"].provisioning_state(), "Succeeded");
    assert_eq!(endpoint.effective_traffic(), BTreeMap::from([("blue".to_owned(), 100.0)]));
    assert_eq!(wish(&mut endpoint, ready("job_b", 1)).unwrap(), [""; 0], "said again on a new connection");
}

#[test]
fn a_new_revision_takes_over_only_when_it_is_ready() {
    let mut endpoint = serving();
    assert_eq!(wish(&mut endpoint, revise("blue", 2, 1)).unwrap(), ["DeploymentRevised"]);
    assert_eq!(endpoint.deployments["blue"].provisioning_state(), "Updating");
    assert_eq!(wish(&mut endpoint, revise("blue", 3, 1)), Err(Rejection::Busy("blue".to_owned())));
    wish(&mut endpoint, request("blue", 2, 0, "job_b")).unwrap();
    let serves = |endpoint: &Endpoint| {
        endpoint.deployments["blue"].serving().map(|(job_id, _)| job_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(serves(&endpoint), ["job_a"]);
    wish(&mut endpoint, ready("job_b", 1)).unwrap();
    assert_eq!(serves(&endpoint), ["job_b"]);
    let old = &endpoint.deployments["blue"].replicas["job_a"];
    assert_eq!(old.draining_at, Some(at(3)), "it ends its requests first");
    assert_eq!(wish(&mut endpoint, ended("job_a", 9)).unwrap(), ["ReplicaEnded"]);
    assert_eq!(endpoint.deployments["blue"].provisioning_state(), "Succeeded");
    assert_eq!(wish(&mut endpoint, revise("blue", 2, 1)).unwrap(), [""; 0], "the same wish again");
}

#[test]
fn a_revision_that_cannot_start_fails_and_the_old_one_goes_on() {
    let mut endpoint = serving();
    wish(&mut endpoint, revise("blue", 2, 1)).unwrap();
    for round in 0..4 {
        wish(&mut endpoint, request("blue", 2, 0, "job_b")).unwrap();
        assert_eq!(wish(&mut endpoint, ended("job_b", 10 + round)).unwrap(), ["ReplicaEnded"]);
    }
    wish(&mut endpoint, request("blue", 2, 0, "job_b")).unwrap();
    assert_eq!(wish(&mut endpoint, ended("job_b", 20)).unwrap(), ["ReplicaEnded", "DeploymentFailed"]);
    let blue = &endpoint.deployments["blue"];
    assert_eq!(blue.provisioning_state(), "Failed");
    assert!(blue.failure.as_ref().unwrap().ends_with("exit code 1\nno module named x"));
    assert_eq!(blue.serving().count(), 1);
    assert_eq!(wish(&mut endpoint, request("blue", 2, 0, "job_c")), Err(Rejection::Outdated));
    assert_eq!(wish(&mut endpoint, revise("blue", 2, 1)).unwrap(), ["DeploymentRevised"], "tried again when asked");
}

#[test]
fn a_model_that_cannot_be_served_is_not_started_again() {
    // Five starts of a script without run() say the same five times, and whoever deployed it waits for them.
    let mut endpoint = serving();
    wish(&mut endpoint, revise("blue", 2, 1)).unwrap();
    wish(&mut endpoint, request("blue", 2, 0, "job_b")).unwrap();
    let (reason, log_tail) = ("failed, exit code 78".to_owned(), "score.py defines no function run()\n".to_owned());
    let how = Replacement { reason, log_tail, cannot_serve: true };
    let report = Command::ReportEnded { job_id: "job_b".to_owned(), how, at: at(10) };
    assert_eq!(wish(&mut endpoint, report).unwrap(), ["ReplicaEnded", "DeploymentFailed"]);
    let blue = &endpoint.deployments["blue"];
    let failure = blue.failure.as_ref().unwrap();
    assert!(failure.contains("another start would say the same: failed, exit code 78\n"), "{failure}");
    assert!(failure.ends_with("no function run()"), "{failure}");
    assert_eq!(blue.serving().count(), 1, "what served goes on");
}

#[test]
fn a_lost_replica_gets_no_requests_until_its_next_attempt_is_ready() {
    let mut endpoint = serving();
    let lost = |attempt| {
        let cause = vocabulary::job::RequeueCause::Preempted;
        Command::ReportLost(ReplicaLost { job_id: "job_a".to_owned(), attempt, cause, at: at(5) })
    };
    assert_eq!(wish(&mut endpoint, lost(1)).unwrap(), ["ReplicaLost"]);
    assert!(endpoint.effective_traffic().is_empty());
    assert_eq!(wish(&mut endpoint, lost(1)).unwrap(), [""; 0]);
    assert_eq!(wish(&mut endpoint, ready("job_a", 2)).unwrap(), ["ReplicaReady"]);
    let fenced = Problem::from(wish(&mut endpoint, ready("job_a", 1)).unwrap_err());
    assert_eq!((fenced.status, fenced.code.as_str()), (409, "Outdated"));
    assert_eq!(endpoint.deployments["blue"].serving().count(), 1);
}

fn noticed(job_id: &str, deadline: i64) -> Command {
    Command::ReportNoticed(ReplicaNoticed { job_id: job_id.to_owned(), deadline: at(deadline), at: at(5) })
}

#[test]
fn a_replica_whose_node_goes_serves_until_another_has_its_place() {
    // A preemption of a node with 10 s of notice must not take an endpoint with one replica down.
    let mut endpoint = serving();
    assert_eq!(wish(&mut endpoint, noticed("job_a", 15)).unwrap(), ["ReplicaNoticed"]);
    assert_eq!(wish(&mut endpoint, noticed("job_a", 15)).unwrap(), [""; 0], "said again");
    assert_eq!(endpoint.effective_traffic(), BTreeMap::from([("blue".to_owned(), 100.0)]));
    assert_eq!(wish(&mut endpoint, request("blue", 1, 0, "job_b")).unwrap(), ["ReplicaRequested"]);
    assert_eq!(wish(&mut endpoint, request("blue", 1, 0, "job_c")), Err(Rejection::Outdated), "one is enough");
    wish(&mut endpoint, ready("job_b", 1)).unwrap();
    let blue = &endpoint.deployments["blue"];
    assert_eq!(blue.serving().map(|(job_id, _)| job_id.as_str()).collect::<Vec<_>>(), ["job_b"]);
    assert_eq!(blue.replicas["job_a"].draining_at, Some(at(3)), "it ends its requests");
    wish(&mut endpoint, ended("job_a", 9)).unwrap();
    let blue = &endpoint.deployments["blue"];
    assert_eq!((blue.provisioning_state(), blue.broken_slots(at(9)).count()), ("Succeeded", 0), "that is no failure");
}

#[test]
fn a_replica_whose_node_is_gone_before_another_is_ready_does_not_come_up_twice() {
    let mut endpoint = serving();
    wish(&mut endpoint, noticed("job_a", 15)).unwrap();
    wish(&mut endpoint, request("blue", 1, 0, "job_b")).unwrap();
    let cause = vocabulary::job::RequeueCause::Preempted;
    let lost = Command::ReportLost(ReplicaLost { job_id: "job_a".to_owned(), attempt: 1, cause, at: at(15) });
    assert_eq!(wish(&mut endpoint, lost).unwrap(), ["ReplicaLost"]);
    assert!(endpoint.deployments["blue"].replicas["job_a"].draining_at.is_some(), "its job is to be stopped");
    assert_eq!(wish(&mut endpoint, ready("job_a", 2)), Err(Rejection::Outdated));
    let drain = |job_id: &str| Command::Drain(ReplicaDraining { job_id: job_id.to_owned(), at: at(16) });
    assert_eq!(wish(&mut endpoint, drain("job_b")).unwrap(), [""; 0], "only what was noticed is drained");
}

#[test]
fn traffic_sums_to_0_or_100_over_known_deployments() {
    let mut endpoint = serving();
    wish(&mut endpoint, revise("green", 1, 1)).unwrap();
    let refusal = Problem::from(wish(&mut endpoint, traffic(&[("blue", 60), ("green", 30)])).unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (422, "BadTraffic"));
    assert!(refusal.detail.contains("90"), "{}", refusal.detail);
    let refusal = Problem::from(wish(&mut endpoint, traffic(&[("red", 100)])).unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (422, "UnknownDeployment"));
    wish(&mut endpoint, traffic(&[("blue", 10), ("green", 90)])).unwrap();
    // green is not ready: its share goes to blue.
    assert_eq!(endpoint.effective_traffic(), BTreeMap::from([("blue".to_owned(), 100.0)]));
    wish(&mut endpoint, traffic(&[])).unwrap();
    assert!(endpoint.effective_traffic().is_empty());
}

#[test]
fn a_deployment_with_traffic_is_not_deleted() {
    let mut endpoint = serving();
    let delete = || Command::DeleteDeployment { deployment: "blue".to_owned(), at: at(6) };
    let refusal = Problem::from(wish(&mut endpoint, delete()).unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (409, "DeploymentInUse"));
    wish(&mut endpoint, traffic(&[])).unwrap();
    assert_eq!(wish(&mut endpoint, delete()).unwrap(), ["DeploymentDeleting"]);
    assert_eq!(wish(&mut endpoint, delete()).unwrap(), [""; 0]);
    let refusal = Problem::from(wish(&mut endpoint, revise("blue", 2, 1)).unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (409, "OperationInProgress"));
    assert_eq!(wish(&mut endpoint, ended("job_a", 7)).unwrap(), ["ReplicaEnded", "DeploymentDeleted"]);
    wish(&mut endpoint, revise("blue", 2, 1)).unwrap();
    assert_eq!(endpoint.deployments["blue"].target.revision, 2, "a name's revisions are never counted twice");
}

#[test]
fn an_archived_version_is_not_deployed_but_what_serves_may_be_resized() {
    // A version is archived because nobody is to use it any more; an alias may still point to it.
    let mut endpoint = serving();
    let refusal = Problem::from(wish(&mut endpoint, archived(revise("blue", 2, 1))).unwrap_err());
    assert_eq!((refusal.status, refusal.code.as_str()), (409, "VersionArchived"));
    assert_eq!(
        wish(&mut endpoint, archived(revise("green", 1, 1))).unwrap_err(),
        Rejection::VersionArchived { model: "digits".to_owned(), version: 1 }
    );
    assert_eq!(wish(&mut endpoint, archived(revise("blue", 1, 3))).unwrap(), ["DeploymentRevised"]);
}

#[test]
fn an_endpoint_has_so_many_deployments_and_no_more() {
    // A script with a loop too much must not fill the routes.
    let mut endpoint = given(vec![put()]);
    let refused = (0..).find_map(|number| wish(&mut endpoint, revise(&format!("blue-{number}"), 1, 1)).err());
    let refused = Problem::from(refused.unwrap());
    assert_eq!((refused.status, refused.code.as_str()), (409, "QuotaExceeded"));
    assert!(refused.detail.contains(&endpoint.deployments.len().to_string()), "{}", refused.detail);
}

#[test]
fn an_endpoint_goes_with_its_last_replica() {
    let mut endpoint = serving();
    wish(&mut endpoint, revise("green", 1, 1)).unwrap();
    assert_eq!(wish(&mut endpoint, Command::Delete { at: at(8) }).unwrap(), ["EndpointDeleting", "DeploymentDeleted"]);
    assert_eq!(wish(&mut endpoint, put()), Err(Rejection::Deleting("endpoint 'digits'".to_owned())));
    let last = wish(&mut endpoint, ended("job_a", 9)).unwrap();
    assert_eq!(last, ["ReplicaEnded", "DeploymentDeleted", "EndpointDeleted"]);
    assert_eq!(wish(&mut endpoint, Command::Delete { at: at(8) }), Err(Rejection::Absent));
    assert_eq!(wish(&mut endpoint, put()).unwrap(), ["EndpointCreated"]);
}

proptest! {
    #![proptest_config(testkit::properties(256))]

    #[test]
    fn effective_shares_sum_to_100(weights in proptest::collection::btree_map("[a-z]{3,8}", 0_u32..=100, 0..20)) {
        let shares = shares(weights.clone().into_iter());
        prop_assert_eq!(shares.len(), weights.values().filter(|weight| **weight > 0).count());
        if !shares.is_empty() {
            let sum: f64 = shares.values().sum();
            prop_assert!((sum - 100.0).abs() < 1e-9, "{}", sum);
            let total: u32 = weights.values().sum();
            for (name, share) in shares {
                prop_assert!((share - f64::from(weights[&name]) * 100.0 / f64::from(total)).abs() < 1e-9);
            }
        }
    }
}
