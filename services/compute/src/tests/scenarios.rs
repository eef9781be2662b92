//! Stories from the first document to the last acknowledgement.

use contracts::CallContext;
use contracts::compute::agent_order::Order;
use contracts::compute::{AttemptStatus, GetClusterRequest, Hello, ListJobsRequest, PreemptNodeRequest};
use tokio_stream::StreamExt;

use vocabulary::token::{RunToken, node_secret};

use super::harness::{KEY, PATIENCE, Running, damage, run_id, spec};
use crate::providers::{FailureCause, NodeEvent};

const SPOT: &str = "vm_size: D2\nvm_priority: low_priority\n\
    scale: {max_nodes: 2, idle_seconds_before_scaledown: 60}\nprovider: {boot_seconds: 0}";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_placed_runs_and_ends() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let created = running.put("spot", SPOT).await.unwrap();
    assert_eq!((created.version, created.node_state_counts.len()), (1, 6));
    assert_eq!(running.put("spot", SPOT).await.unwrap().version, 1);
    let run = run_id(1);
    running.runs.create(&run, spec("spot"));
    let waiting = running.until(&run, |job| job.reason.contains("booting")).await;
    assert_eq!(waiting.state, "queued");
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let start = agent.next_start().await;
    assert_eq!((start.attempt, start.run_id.as_str(), start.workspace.as_str()), (1, run.as_str(), "w"));
    assert_eq!(start.run_token, RunToken { workspace: "w".into(), run_id: run.clone(), attempt: 1 }.mint(&KEY));
    assert_eq!(start.checkpoint_folder, data.path().join("checkpoints").join(&run).display().to_string());
    agent.phase(&start.job_id, 1, "starting").await;
    agent.phase(&start.job_id, 1, "running").await;
    let seen = running.until(&run, |job| job.state == "running").await;
    assert_eq!(seen.placements.len(), 1);
    assert!(seen.placements[0].reason.contains("1 vCPU"), "{}", seen.placements[0].reason);
    assert_eq!(running.cluster("spot").await.node_state_counts["running"], 1);
    agent.end(&start.job_id, 1, "completed").await;
    let ended = running.until(&run, |job| job.state == "ended").await;
    assert_eq!(ended.end.unwrap().outcome, "completed");
    assert_eq!(running.job(&start.job_id).await.unwrap().run_id, run, "found by either id");
    let (workspace, state) = ("w".to_owned(), "ended".to_owned());
    let listed =
        running.peers.compute_client().list_jobs(ListJobsRequest { workspace, state, ..Default::default() }).await;
    assert_eq!(listed.unwrap().into_inner().jobs.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preempted_job_goes_on_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", SPOT).await.unwrap();
    let run = run_id(1);
    running.runs.create(&run, spec("spot"));
    let first = running.next_node().await;
    let mut agent = running.agent(&first, Vec::new()).await;
    let start = agent.next_start().await;
    agent.phase(&start.job_id, 1, "running").await;
    running.until(&run, |job| job.state == "running").await;
    let request = PreemptNodeRequest {
        workspace: "w".into(),
        cluster: "spot".into(),
        node_id: first.node_id.to_string(),
        reason: String::new(),
        drain: false,
    };
    let node = running.peers.compute_client().preempt_node(request).await.unwrap().into_inner();
    assert_eq!((node.node_state.as_str(), node.jobs.len()), ("preempted", 1));
    assert!(matches!(agent.next().await, Order::Notice(notice) if !notice.deadline.is_empty()));
    agent.end(&start.job_id, 1, "preempted").await;
    assert_eq!(tokio::time::timeout(PATIENCE, running.removed.recv()).await.unwrap(), Some(first.node_id));
    let second = running.next_node().await;
    assert_ne!(second.node_id, first.node_id);
    let mut agent = running.agent(&second, Vec::new()).await;
    let again = agent.next_start().await;
    assert_eq!((again.attempt, &again.job_id, &again.checkpoint_folder), (2, &start.job_id, &start.checkpoint_folder));
    // The end of the first attempt, said again, must not touch the second.
    agent.end(&start.job_id, 1, "failed").await;
    assert_eq!(running.job(&run).await.unwrap().attempt, 2);
    agent.end(&start.job_id, 2, "completed").await;
    let job = running.until(&run, |job| job.state == "ended").await;
    assert_eq!(job.placements.iter().map(|placement| placement.attempt).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_what_runs_goes_on_and_what_was_lost_is_queued_again() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", SPOT).await.unwrap();
    let (kept, lost) = (run_id(1), run_id(2));
    running.runs.create(&kept, spec("spot"));
    running.runs.create(&lost, spec("spot"));
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let starts = [agent.next_start().await, agent.next_start().await];
    for start in &starts {
        agent.phase(&start.job_id, 1, "running").await;
        running.until(&start.run_id, |job| job.state == "running").await;
    }
    drop(agent);
    let mut running = running.restart(data.path()).await;
    let again = running.next_node().await;
    assert_eq!(
        (again.node_id, &again.secret),
        (order.node_id, &order.secret),
        "the node is tended again, with its secret"
    );
    let find = |run: &str| starts.iter().find(|start| start.run_id == run).unwrap().job_id.clone();
    let (kept_job, lost_job) = (find(&kept), find(&lost));
    let status = |job_id: &str, attempt| AttemptStatus { job_id: job_id.into(), attempt, phase: "running".into() };
    let stranger = vocabulary::JobId::new(uuid::Uuid::from_u128(99)).to_string();
    let mut agent = running.agent(&order, vec![status(&kept_job, 1), status(&stranger, 1)]).await;
    let (mut fenced, mut restarted) = (false, false);
    while !(fenced && restarted) {
        match agent.next().await {
            Order::Stop(stop) => {
                assert_eq!((stop.job_id.as_str(), stop.reason.as_str()), (stranger.as_str(), "fenced"));
                fenced = true;
            }
            Order::Start(start) => {
                assert_eq!((start.job_id.as_str(), start.attempt), (lost_job.as_str(), 2));
                restarted = true;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    agent.end(&kept_job, 1, "completed").await;
    agent.end(&lost_job, 2, "completed").await;
    let (kept, lost) = (
        running.until(&kept, |job| job.state == "ended").await,
        running.until(&lost, |job| job.state == "ended").await,
    );
    assert_eq!((kept.attempt, lost.attempt), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_not_delivered_is_given_again() {
    // The connection may break between the placement and its delivery.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", SPOT).await.unwrap();
    running.runs.create(&run_id(1), spec("spot"));
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let first = agent.next_start().await;
    drop(agent);
    let mut agent = running.agent(&order, Vec::new()).await;
    assert_eq!(agent.next_start().await, first);
    running.runs.stop(&first.run_id, "policy");
    assert!(matches!(agent.next().await, Order::Stop(stop)
        if stop.reason == "stopped" && stop.decision == "sweep_1@7" && stop.attempt == 1));
    agent.end(&first.job_id, 1, "canceled").await;
    let job = running.until(&first.run_id, |job| job.state == "ended").await;
    assert_eq!(job.end.unwrap().by, "policy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_known_by_its_secret() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", &SPOT.replace("max_nodes: 2", "min_nodes: 1, max_nodes: 2")).await.unwrap();
    let order = running.next_node().await;
    let mut stranger = running.connect(&order.node_id.to_string(), "guess", Vec::new()).await;
    let refused = tokio::time::timeout(PATIENCE, stranger.orders.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert_eq!(running.cluster("spot").await.node_state_counts["preparing"], 1, "it has not become ready by that");
    // A node that is gone is told to leave, so that nothing of it stays; but first it may say what it still has.
    let gone = vocabulary::NodeId::new(uuid::Uuid::from_u128(5)).to_string();
    let mut agent = running.connect(&gone, &node_secret(&gone, &KEY), Vec::new()).await;
    assert!(matches!(agent.next().await, Order::Welcome(welcome) if welcome.runs_address == "unix:/runs"));
    assert!(matches!(agent.next().await, Order::Leave(_)));
    agent.end(&vocabulary::JobId::new(uuid::Uuid::from_u128(6)).to_string(), 1, "preempted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cluster_cancels_its_jobs_and_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", &SPOT.replace("max_nodes: 2", "max_nodes: 1")).await.unwrap();
    for number in 1..=3 {
        running.runs.create(&run_id(number), spec("spot"));
    }
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let starts = [agent.next_start().await, agent.next_start().await];
    let mut client = running.peers.compute_client();
    let named = || GetClusterRequest { workspace: "w".into(), name: "spot".into(), ..Default::default() };
    // A clean-up of clusters must not end by the way what others wait for.
    let meant = GetClusterRequest { used_by: vec!["sweep digits (Running)".into()], ..named() };
    let refused = client.delete_cluster(CallContext::default().attach(meant.clone())).await.unwrap_err();
    let problem = contracts::problem_of(&refused);
    assert_eq!(problem.code, "ClusterInUse");
    let are_named = (1..=3).all(|number| problem.detail.contains(&format!("run {}", run_id(number))));
    assert!(are_named && problem.detail.contains("in use by sweep digits (Running), run"), "{}", problem.detail);
    let forced = GetClusterRequest { force: true, ..meant };
    let deleting = client.delete_cluster(CallContext::default().attach(forced)).await.unwrap().into_inner();
    assert_eq!(deleting.provisioning_state, "Deleting");
    for _ in &starts {
        let Order::Stop(stop) = agent.next().await else { panic!("a stop was expected") };
        assert_eq!((stop.reason.as_str(), stop.by.as_str()), ("canceled", "cluster"));
    }
    for start in &starts {
        agent.end(&start.job_id, 1, "canceled").await;
    }
    for number in 1..=3 {
        let job = running.until(&run_id(number), |job| job.state == "ended").await;
        assert_eq!(job.end.unwrap().outcome, "canceled");
    }
    assert!(matches!(agent.next().await, Order::Leave(_)));
    let gone = async || match client.get_cluster(named()).await {
        Ok(cluster) => Err(format!("it is still there: {cluster:?}")),
        Err(_) => Ok(()),
    };
    testkit::await_that_async(PATIENCE, gone).await;
    assert_eq!(running.put("spot", SPOT).await.unwrap().provisioning_state, "Succeeded", "the name is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_cluster_that_is_not_there_fails_and_says_so() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path(), None).await;
    running.runs.create(&run_id(1), spec("spott"));
    let job = running.until(&run_id(1), |job| job.state == "ended").await;
    let end = job.end.unwrap();
    assert_eq!((end.outcome.as_str(), end.reason.as_str()), ("failed", "no_cluster"));
    assert!(end.stderr_tail.contains("'spott'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_gets_no_jobs_though_the_server_starts_again() {
    // Its agent takes none any more: each would be lost at once, until the job has failed for good.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", &SPOT.replace("max_nodes: 2", "max_nodes: 1")).await.unwrap();
    running.runs.create(&run_id(1), spec("spot"));
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let start = agent.next_start().await;
    agent.phase(&start.job_id, 1, "running").await;
    running.until(&start.run_id, |job| job.state == "running").await;
    running.halt_nothing();
    let node_id = order.node_id;
    running.observed(NodeEvent::Failed { node_id, cause: FailureCause::Broken, reason: "the disk is gone".into() });
    assert_eq!(tokio::time::timeout(PATIENCE, running.removed.recv()).await.unwrap(), Some(node_id));
    assert!(matches!(agent.next().await, Order::Leave(leave) if leave.reason == "the disk is gone"));
    drop(agent);
    let mut running = running.restart(data.path()).await;
    let mut agent = running.agent(&order, Vec::new()).await;
    assert!(matches!(agent.next().await, Order::Leave(_)));
    // The job goes on where a node stays.
    let other = running.next_node().await;
    assert_ne!(other.node_id, node_id);
    let mut agent = running.agent(&other, Vec::new()).await;
    assert_eq!(
        (agent.next_start().await.attempt, running.job(&start.run_id).await.unwrap().state.as_str()),
        (2, "placed")
    );
    let errors = running.cluster("spot").await.errors;
    assert!(errors[0].contains("the disk is gone"), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_leaves_says_so_and_gets_no_jobs() {
    // A server that was set up again from an older copy of its data does not know that it told the agent to leave.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", &SPOT.replace("max_nodes: 2", "min_nodes: 1, max_nodes: 1")).await.unwrap();
    let order = running.next_node().await;
    drop(running.agent(&order, Vec::new()).await);
    let (node_id, token) = (order.node_id.to_string(), order.secret.clone());
    let mut agent = running.hello(Hello { node_id, token, leaving: true, ..Hello::default() }).await;
    // The scheduler may be faster than the greeting.
    while !matches!(agent.next().await, Order::Leave(_)) {}
    running.runs.create(&run_id(1), spec("spot"));
    let other = running.next_node().await;
    let mut agent = running.agent(&other, Vec::new()).await;
    assert_eq!(agent.next_start().await.attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_read_stops_nobody_else() {
    // One damaged row must not keep all clusters of an installation from starting, nor a node from reporting.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("spot", SPOT).await.unwrap();
    for number in 1..=2 {
        running.runs.create(&run_id(number), spec("spot"));
    }
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    let starts = [agent.next_start().await, agent.next_start().await];
    for start in &starts {
        agent.phase(&start.job_id, 1, "running").await;
        running.until(&start.run_id, |job| job.state == "running").await;
    }
    let runs = running.stop().await;
    let [damaged, whole] = starts.map(|start| start.job_id);
    damage(data.path(), crate::job::stream(vocabulary::JobId::parse(&damaged).unwrap())).await;
    let running = Running::start(data.path(), Some(runs)).await;
    let job = running.job(&damaged).await.unwrap();
    assert!(job.state == "running" && job.reason.contains("cannot be read"), "{}", job.reason);
    let status = |job_id: &str| AttemptStatus { job_id: job_id.into(), attempt: 1, phase: "running".into() };
    let mut agent = running.agent(&order, vec![status(&damaged), status(&whole)]).await;
    let end = contracts::compute::JobEnd { outcome: "completed".into(), phase: "run".into(), ..Default::default() };
    let ended = contracts::compute::AttemptEnded { job_id: damaged, attempt: 1, end: Some(end) };
    agent.say(contracts::compute::agent_report::Report::Ended(ended)).await;
    // By the next report it is clear that the one before it holds nobody up.
    agent.phase(&whole, 1, "finalizing").await;
    running.until(&whole, |job| job.state == "finalizing").await;
    agent.end(&whole, 1, "completed").await;
    running.until(&whole, |job| job.state == "ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_cluster_that_cannot_be_read_wait_and_its_nodes_stay() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    running.put("other", SPOT).await.unwrap();
    let (order, _agent, _) = running.with_a_job(SPOT).await;
    let runs = running.stop().await;
    damage(data.path(), "cluster-w/spot".into()).await;
    let mut running = Running::start(data.path(), Some(runs)).await;
    let mut agent = running.connect(&order.node_id.to_string(), &order.secret, Vec::new()).await;
    let refused = tokio::time::timeout(PATIENCE, agent.orders.next()).await.unwrap().unwrap().unwrap_err();
    let problem = contracts::problem_of(&refused);
    assert_eq!((problem.status, problem.code.as_str()), (503, "NodeNotKnown"), "not told to leave, it comes again");
    running.runs.create(&run_id(2), spec("spot"));
    running.runs.create(&run_id(3), spec("other"));
    let order = running.next_node().await;
    let mut agent = running.agent(&order, Vec::new()).await;
    assert_eq!(agent.next_start().await.run_id, run_id(3));
    for (number, state) in [(1, "running"), (2, "queued")] {
        let job = running.job(&run_id(number)).await.unwrap();
        assert_eq!(job.state, state);
        assert!(number == 1 || job.reason.contains("'spot' is left alone"), "{}", job.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_waits_for_what_the_one_before_it_wrote() {
    // It would go on from an older state, and report again what lies on the disk of the node that is gone.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, _agent, _start) = running.with_a_job(SPOT).await;
    running.deliver(false);
    let (node_id, reason) = (order.node_id, "taken back".to_owned());
    running.observed(NodeEvent::Lost { node_id, preempted: true, reason });
    assert_eq!(tokio::time::timeout(PATIENCE, running.removed.recv()).await.unwrap(), Some(node_id));
    // Others need not wait for it.
    running.runs.create(&run_id(2), spec("spot"));
    let other = running.next_node().await;
    let mut agent = running.agent(&other, Vec::new()).await;
    assert_eq!(agent.next_start().await.run_id, run_id(2));
    let waiting = running.job(&run_id(1)).await.unwrap();
    assert_eq!((waiting.state.as_str(), waiting.attempt), ("running", 1));
    running.deliver(true);
    let again = agent.next_start().await;
    assert_eq!((again.run_id, again.attempt), (run_id(1), 2));
    assert_eq!(running.job(&run_id(1)).await.unwrap().placements.len(), 2);
}
