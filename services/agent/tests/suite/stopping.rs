//! Stops, preemptions and the end of a node.

use std::time::{Duration, Instant};

use contracts::compute::agent_order::Order;
use contracts::compute::{JobSpec, Leave, NodeNotice, StopAttempt};
use vocabulary::Clock;

use crate::harness::{Node, appears};

pub fn stop(job_id: &str, grace_seconds: f64) -> Order {
    Order::Stop(StopAttempt {
        job_id: job_id.into(),
        attempt: 1,
        grace_seconds,
        reason: "stopped".into(),
        by: "policy".into(),
        decision: "sweep_x@7".into(),
        ..StopAttempt::default()
    })
}

pub fn notice(within: Duration) -> Order {
    let deadline = runtime::MachineClock.now() + within;
    Order::Notice(NodeNotice { deadline: deadline.to_string(), reason: "spot".into(), seconds_left: 0.0 })
}

#[tokio::test]
async fn a_stubborn_tree_is_gone_after_the_grace() {
    // A script that ignores signals must not hold its node.
    let node = Node::start().await;
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 100; sleep 100' & echo up; sleep 100; sleep 100";
    node.run("job_a", node.spec(script)).await;
    node.fake.phase("job_a", "running").await;
    node.fake.hear("up", |heard| heard.logs.contains_key("stdout").then_some(())).await;
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    let before = Instant::now();
    node.fake.order(stop("job_a", 0.4)).await;
    let end = node.fake.end("job_a").await;
    let took = before.elapsed();
    assert_eq!((end.outcome.as_str(), end.decision.as_str()), ("canceled", "sweep_x@7"));
    assert_eq!(end.signal, Some(9));
    assert!(took >= Duration::from_millis(380) && took < Duration::from_secs(3), "{took:?}");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn the_outputs_of_a_trial_that_went_on_for_too_long_are_kept_when_it_ends_well() {
    // It has completed: its model is as good as that of a trial that ended by itself.
    let node = Node::start().await;
    let script = "trap 'echo m >\"$1\"/m; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    for (job, by, is_kept) in [("job_a", "max_resource", true), ("job_b", "policy", false)] {
        let command = ["sh", "-c", script, "sh", "${{outputs.model}}"].map(str::to_owned).to_vec();
        node.run(job, JobSpec { command, outputs: vec!["model".into()], ..JobSpec::default() }).await;
        node.fake.hear("up", |heard| heard.logs.contains_key("stdout").then_some(())).await;
        let Order::Stop(order) = stop(job, 10.0) else { panic!() };
        node.fake.order(Order::Stop(StopAttempt { by: by.into(), ..order })).await;
        let end = node.fake.end(job).await;
        assert_eq!((end.outcome.as_str(), end.by.as_str(), end.exit_code), ("canceled", by, Some(0)));
        node.fake.change(|heard| {
            let kept: Vec<_> = heard.artifacts.drain(..).map(|artifact| artifact.path).collect();
            assert_eq!(kept, if is_kept { vec!["outputs/model/m"] } else { vec![] }, "{by}");
            heard.logs.clear();
        });
    }
}

#[tokio::test]
async fn a_notice_reaches_the_script_and_any_exit_is_a_preemption() {
    // A handler saves and exits with 0: that must not pass for a finished training.
    let node = Node::start().await;
    let script = "trap 'cat $TRIALOG_PREEMPT_FILE; echo c >$TRIALOG_CHECKPOINT_DIR/c; exit 0' TERM; echo up; \
        while :; do sleep 0.02; done";
    node.run("job_a", node.spec(script)).await;
    node.fake.hear("up", |heard| heard.logs.contains_key("stdout").then_some(())).await;
    node.fake.order(notice(Duration::from_secs(10))).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("preempted", Some(0)));
    assert!(end.checkpoint_age_seconds.is_some_and(|age| age < 5.0), "{end:?}");
    assert!(node.fake.log("stdout").contains(r#""reason":"spot""#), "{}", node.fake.log("stdout"));
    // What is placed on a node that goes does not begin.
    node.run("job_b", node.spec("sleep 100")).await;
    assert_eq!(node.fake.end("job_b").await.outcome, "preempted");
}

#[tokio::test]
async fn the_deadline_of_a_notice_is_kept() {
    // After it the node is gone: what is not ended by us is ended by the provider, without a word.
    let node = Node::start().await;
    node.run("job_a", node.spec("trap '' TERM; echo up; sleep 100; sleep 100")).await;
    node.fake.hear("up", |heard| heard.logs.contains_key("stdout").then_some(())).await;
    node.fake.order(notice(Duration::from_millis(300))).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.signal), ("preempted", Some(9)));
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_stopped_shim_does_not_switch_off_stops_and_notices() {
    // Any script can stop its parent, and would hold its node for ever: no timeout and no cancel would end it.
    for is_notice in [false, true] {
        let node = Node::start().await;
        let up = node.folder.join("up");
        let script = format!("kill -STOP $PPID; : > {}; setsid sleep 100 & sleep 100", up.display());
        node.run("job_a", node.spec(&script)).await;
        appears(&up).await;
        let wait = Duration::from_millis(100);
        node.fake.order(if is_notice { notice(wait) } else { stop("job_a", wait.as_secs_f64()) }).await;
        let end = node.fake.end("job_a").await;
        assert_eq!(end.outcome, if is_notice { "preempted" } else { "canceled" }, "{end:?}");
        assert!(node.fake.log("trialog").contains("killed"), "{}", node.fake.log("trialog"));
        node.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_stop_that_comes_before_the_start_is_kept() {
    // The order to stop may overtake the preparation, or name what never came here.
    let node = Node::start().await;
    node.fake.order(stop("job_x", 1.0)).await;
    assert_eq!(node.fake.end("job_x").await.outcome, "canceled");
    node.run("job_a", node.spec("sleep 100")).await;
    node.fake.order(stop("job_a", 0.2)).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "canceled");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn leaving_ends_everything() {
    // A released node must not go on with its jobs.
    let mut node = Node::start().await;
    node.run(
        "job_a",
        node.spec("trap '' TERM; setsid sleep 100 & touch $TRIALOG_CHECKPOINT_DIR/up; sleep 100; sleep 100"),
    )
    .await;
    appears(&node.checkpoints().join("up")).await;
    node.fake.order(Order::Leave(Leave { reason: "scale down".into() })).await;
    assert_eq!(node.agent_ends().await, Some(0));
    node.assert_nothing_left().await;
}
