//! What the scheduler does when something is in its way: a log that takes nothing, events that cannot be read, a task
//! that breaks off.

use contracts::compute::agent_order::Order;
use contracts::compute::agent_report::Report;
use contracts::compute::{AttemptStatus, PreemptionNotice};
use eventlog::sql;
use vocabulary::job::StopBy;
use vocabulary::{JobId, NodeId};

use super::{perform, run};
use crate::cluster::{self, Cluster, NodeEnd, Taker};
use crate::job;
use crate::providers::NodeEvent;
use crate::scheduler::Action;
use crate::stream::ClusterName;
use crate::tests::harness::{PATIENCE, Running, run_id, spec};

const SPOT: &str = "vm_size: D2\nvm_priority: low_priority\n\
    scale: {max_nodes: 2, idle_seconds_before_scaledown: 60}\nprovider: {boot_seconds: 0}";

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_breaks_off_loses_no_order() {
    // The agent that stays connected would wait for its order for ever, and the job with it.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, agent, first) = running.with_a_job(SPOT).await;
    running.break_scheduler().await;
    running.runs.create(&run_id(2), spec("spot"));
    let second = running.until(&run_id(2), |job| job.state == "placed").await;
    assert_eq!(second.node_id, order.node_id.to_string());
    let (commands, node_id) = (running.engine.commands.clone(), order.node_id);
    let at_us = commands.clock.now_us();
    let stop = job::Command::Stop { by: StopBy::User, decision: String::new(), at_us };
    commands.of_job(JobId::parse(&first.job_id).unwrap(), stop, "test").await.unwrap();
    let (by, deadline_us) = (Taker::Provider, at_us + 60_000_000);
    let notice = cluster::Command::Notice { node_id, by, deadline_us, reason: "reclaimed".into(), at_us };
    commands.of_cluster(&ClusterName::new("w", "spot"), notice, "test").await.unwrap();
    running.begin_scheduler();
    agent.cut_off().await;
    let status = AttemptStatus { job_id: first.job_id.clone(), attempt: 1, phase: "running".into() };
    let mut agent = running.agent(&order, vec![status]).await;
    assert!(matches!(agent.next().await, Order::Notice(notice) if notice.reason == "reclaimed"));
    let (mut started, mut stopped) = (String::new(), String::new());
    for _ in 0..2 {
        match agent.next().await {
            Order::Start(start) => started = start.job_id,
            Order::Stop(stop) => stopped = stop.job_id,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!((started, stopped), (second.job_id, first.job_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_holds_nobody_up() {
    // A scheduler that ended with it would read the whole fleet again and again, and cut every agent off each time.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, mut agent, first) = running.with_a_job(SPOT).await;
    let from = *running.engine.commands.log.head().borrow();
    running.engine.fleet.caught_up(from).await.unwrap();
    running.break_scheduler().await;
    agent.phase(&first.job_id, 1, "finalizing").await;
    running.until(&first.run_id, |job| job.state == "finalizing").await;
    running.runs.create(&run_id(2), spec("spot"));
    let second = running.until(&run_id(2), |job| job.state == "placed").await;
    let mut page = running.engine.commands.log.read(from, 100).await.unwrap();
    assert_eq!(page.len(), 3);
    page[0].data = "{}".into();
    {
        let mut fleet = running.engine.fleet.lock();
        for event in &page {
            run::take_in(&running.engine, &mut fleet, event);
        }
    }
    assert_eq!(agent.next_start().await.job_id, second.job_id);
    let left = running.job(&first.run_id).await.unwrap();
    assert!(left.reason.contains("leaves it alone") && left.reason.contains("position"), "{}", left.reason);
    let fleet = running.engine.fleet.lock();
    let (.., place) = fleet.node(order.node_id).unwrap();
    assert!(place.jobs.len() == 1 && !place.is_empty());
}

/// The node went by preemption, and its job goes on elsewhere.
async fn is_preempted(running: &mut Running, node_id: NodeId) {
    assert_eq!(tokio::time::timeout(PATIENCE, running.removed.recv()).await.unwrap(), Some(node_id));
    let second = running.next_node().await;
    let mut agent = running.agent(&second, Vec::new()).await;
    assert_eq!(agent.next_start().await.attempt, 2);
    let errors = running.cluster("spot").await.errors;
    assert!(errors.is_empty(), "a preemption is no failure, and spends no retry: {errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preemption_that_cannot_be_recorded_at_once_is_one_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, _agent, _) = running.with_a_job(SPOT).await;
    let (goes_on, node_id) = (running.overload().await, order.node_id);
    running.observed(NodeEvent::Lost { node_id, preempted: true, reason: "taken back".into() });
    running.heard().await;
    goes_on.send_replace(true);
    is_preempted(&mut running, node_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_outlives_the_connection_that_it_came_by() {
    // The node that was told that it goes is the one whose connection ends soon.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, mut agent, _) = running.with_a_job(SPOT).await;
    let goes_on = running.overload().await;
    agent.say(Report::Notice(PreemptionNotice { reason: "taken back".into(), ..Default::default() })).await;
    // What means nothing is acknowledged at once: by then the notice has been heard.
    agent.end("nothing", 1, "failed").await;
    drop(agent);
    goes_on.send_replace(true);
    is_preempted(&mut running, order.node_id).await;
}

/// Makes the events of a stream unreadable, or readable again.
async fn rewrite(running: &Running, data: &'static str) {
    let commands = &running.engine.commands;
    let work = commands.log.record::<job::Job, _>("test", None, commands.context("test"), move |_, tx| {
        Box::pin(async move {
            let update = format!("UPDATE events SET data = {data} WHERE stream_id = 'cluster-w/spot'");
            sql(update).execute(tx).await?;
            Ok(eventlog::Recorded { events: Vec::new(), reply: Vec::new() })
        })
    });
    work.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_end_cannot_be_recorded_says_so_until_it_can() {
    // Its jobs wait for that end: somebody has to see what is in the way, and need not start the server anew after.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, _agent, _) = running.with_a_job(SPOT).await;
    let (name, node_id) = (ClusterName::new("w", "spot"), order.node_id);
    let known = running.engine.fleet.lock().pool(&name).unwrap().clone();
    rewrite(&running, "'-' || data").await;
    let mut running = running.restart(data.path()).await;
    running.break_scheduler().await;
    running.engine.fleet.lock().load_cluster(name.clone(), known.cluster, known.version, 1);
    let remove = Action::Remove { cluster: name.clone(), node_id, end: NodeEnd::Preempted, reason: "gone".into() };
    perform::perform(&running.engine, vec![remove]).await;
    let look = async || {
        let shown = running.cluster("spot").await;
        let says = shown.errors.iter().any(|error| error.contains("its end cannot be recorded"));
        if says && shown.node_state_counts["unusable"] == 1 { Ok(()) } else { Err(format!("{shown:?}")) }
    };
    testkit::await_that_async(PATIENCE, look).await;
    rewrite(&running, "substr(data, 2)").await;
    let look = async || {
        let nodes =
            running.engine.commands.log.inspect(&name.stream(), |cluster: &Cluster, _| cluster.nodes.len()).await;
        if nodes.as_ref().is_ok_and(|nodes| *nodes == 0) { Ok(()) } else { Err(format!("{nodes:?}")) }
    };
    testkit::await_that_async(PATIENCE, look).await;
}
