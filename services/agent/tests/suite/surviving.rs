//! Deaths of the agent, of the shim and of connections.

use std::time::Duration;

use contracts::compute::agent_report::Report;

use crate::harness::{Node, appears};

/// Prints `count` metrics with a pause after each.
fn metrics(count: u32, pause: &str) -> String {
    format!(
        r#"i=0; while [ $i -lt {count} ]; do
            echo "{{\"trialog\":\"metric\",\"name\":\"m\",\"value\":$i,\"step\":$i}}"; i=$((i+1)); sleep {pause}; done"#
    )
}

#[tokio::test]
async fn metrics_arrive_exactly_once_when_the_agent_is_killed() {
    // A point that is lost or counted twice changes which trial wins.
    let mut node = Node::start().await;
    node.fake.faults.lock().unwrap().slow = Duration::from_millis(30);
    node.run("job_a", node.spec(&metrics(200, "0.01"))).await;
    for count in [10, 60, 120] {
        node.fake.hear("some points", |heard| (heard.points.len() >= count).then_some(())).await;
        node.kill_agent();
        node.start_agent();
    }
    let end = node.fake.end("job_a").await;
    assert_eq!(end.outcome, "completed", "{end:?}");
    let steps: Vec<_> = node.fake.look(|heard| heard.points.iter().map(|point| point.step.unwrap()).collect());
    assert_eq!(steps, (0..200).collect::<Vec<_>>());
    let log = node.fake.log("stdout");
    assert_eq!(log.lines().count(), 200);
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_not_taken_twice() {
    // The network may eat any answer.
    let node = Node::start().await;
    node.fake.faults.lock().unwrap().answers_lost = 2;
    node.run("job_a", node.spec(&metrics(5, "0.05"))).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "completed");
    node.fake.look(|heard| {
        assert_eq!(heard.points.len(), 5);
        assert!(heard.repeated >= 1);
    });
}

#[tokio::test]
async fn a_job_outlives_its_agent_and_its_exit_code_is_kept() {
    // Restarting a server must not cost a week of training.
    let mut node = Node::start().await;
    let gate = node.folder.join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; echo done; exit 7", gate.display());
    node.run("job_a", node.spec(&script)).await;
    node.fake.phase("job_a", "running").await;
    node.kill_agent();
    std::fs::write(&gate, "").unwrap();
    appears(&node.attempt_folder("job_a").join("exit.json")).await;
    node.start_agent();
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("failed", Some(7)));
    assert_eq!(node.fake.log("stdout"), "done\n");
    let attempts = node.fake.look(|heard| heard.hellos.last().unwrap().attempts.clone());
    assert_eq!((attempts.len(), attempts[0].job_id.as_str()), (1, "job_a"));
}

#[tokio::test]
async fn a_living_job_is_adopted() {
    // After the restart the job is still under control.
    let mut node = Node::start().await;
    node.run("job_a", node.spec("sleep 100")).await;
    node.fake.phase("job_a", "running").await;
    node.kill_agent();
    node.start_agent();
    node.fake.hear("a second hello", |heard| (heard.hellos.len() == 2).then_some(())).await;
    // The same order again must not start it again.
    node.run("job_a", node.spec("sleep 100")).await;
    node.fake
        .order(contracts::compute::agent_order::Order::Stop(contracts::compute::StopAttempt {
            job_id: "job_a".into(),
            attempt: 1,
            grace_seconds: 5.0,
            by: "user".into(),
            reason: "canceled".into(),
            ..Default::default()
        }))
        .await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.by.as_str(), end.signal), ("canceled", "user", Some(15)));
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_killed_shim_leaves_nothing_and_is_told_as_lost() {
    // A process that nobody knows of burns a node for ever.
    let node = Node::start().await;
    let begun = node.folder.join("begun");
    let script = format!("setsid sleep 100 & (sleep 100 & : > {}; wait) & sleep 100", begun.display());
    node.run("job_a", node.spec(&script)).await;
    node.fake.phase("job_a", "running").await;
    appears(&begun).await;
    assert!(node.left().len() >= 4, "{:?}", node.left());
    let [shim] = node.shims()[..] else { panic!("{:?}", node.shims()) };
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.reason.as_str()), ("lost", "lost"));
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn an_end_is_told_until_it_is_acknowledged() {
    // Otherwise a job hangs in Running for ever after a short break of the network.
    let mut node = Node::start().await;
    node.fake.faults.lock().unwrap().deaf = true;
    node.run("job_a", node.spec("exit 0")).await;
    node.fake.end("job_a").await;
    node.kill_agent();
    node.start_agent();
    let twice = |heard: &crate::fakes::Heard| {
        let ends = heard.reports.iter().filter(|report| matches!(report, Report::Ended(_))).count();
        (ends >= 2).then_some(())
    };
    node.fake.hear("the end again", twice).await;
    node.fake.faults.lock().unwrap().deaf = false;
    node.fake.hang_up();
    appears(&node.attempt_folder("job_a").join("acknowledged")).await;
    assert_eq!(node.order_bytes("job_a"), 0, "the run's token must not stay");
}

#[tokio::test]
async fn an_attempt_that_has_ended_does_not_begin_again() {
    // Compute may order it once more before it has taken in the end: the command would run twice.
    let node = Node::start().await;
    let ran = node.folder.join("ran");
    let spec = node.spec(&format!("echo once >> {}; exit 3", ran.display()));
    node.run("job_a", spec.clone()).await;
    node.fake.end("job_a").await;
    appears(&node.attempt_folder("job_a").join("acknowledged")).await;
    node.run("job_a", spec).await;
    let ends = |heard: &crate::fakes::Heard| -> Option<Vec<Option<i32>>> {
        let codes = heard.reports.iter().filter_map(|report| match report {
            Report::Ended(ended) => Some(ended.end.as_ref()?.exit_code),
            _ => None,
        });
        Some(codes.collect::<Vec<_>>()).filter(|codes| codes.len() >= 2)
    };
    assert_eq!(node.fake.hear("the same end again", ends).await, [Some(3), Some(3)]);
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "once\n");
    assert_eq!(node.order_bytes("job_a"), 0, "nor is the token written down again");
}

#[tokio::test]
async fn an_agent_whose_server_stays_away_ends_once_nothing_runs() {
    // Nothing may stay for ever of an installation that was given up; but a job must not lose its keeper for that.
    let mut node = Node::without_agent().await;
    node.away = Some(0.0);
    node.start_agent();
    let gate = node.folder.join("gate");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; echo done; exit 7", gate.display());
    node.run("job_a", node.spec(&script)).await;
    node.fake.phase("job_a", "running").await;
    node.end_compute();
    // After the first refusal it has looked whether it may end; by the second it has stayed.
    node.fake.hear("two calls in vain", |heard| (heard.refused >= 2).then_some(())).await;
    assert!(node.agent_lives(), "the job still runs");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(node.agent_ends().await, Some(0));
    assert!(node.attempt_folder("job_a").join("exit.json").exists());
    assert_ne!(node.order_bytes("job_a"), 0, "the next agent brings what is left");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn an_agent_that_was_told_to_leave_says_so_whenever_it_connects() {
    // Another server need not know it, and a job that it places there would be lost.
    let node = Node::start().await;
    node.fake.faults.lock().unwrap().deaf = true;
    node.run("job_a", node.spec("sleep 100")).await;
    node.fake.phase("job_a", "running").await;
    let reason = "given back".to_owned();
    node.fake.order(contracts::compute::agent_order::Order::Leave(contracts::compute::Leave { reason })).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "lost");
    node.fake.hang_up();
    let second = node.fake.hear("a second hello", |heard| heard.hellos.get(1).cloned()).await;
    assert!(second.leaving && !node.fake.look(|heard| heard.hellos[0].leaving));
}

#[tokio::test]
async fn a_node_is_taken_down_without_its_server() {
    // What `trialog down` does: jobs may save what they have, and nothing stays.
    let mut node = Node::start().await;
    let script = "trap 'cat $TRIALOG_PREEMPT_FILE > $TRIALOG_CHECKPOINT_DIR/why; exit 0' TERM; \
        touch $TRIALOG_CHECKPOINT_DIR/up; while :; do sleep 0.02; done";
    node.run("job_a", node.spec(script)).await;
    node.run("job_b", node.spec("trap '' TERM; sleep 100; sleep 100")).await;
    node.fake.phase("job_b", "running").await;
    appears(&node.checkpoints().join("up")).await;
    let folder = node.folder.clone();
    let down = tokio::task::spawn_blocking(move || trialog_agent::take_down(&folder, Duration::from_secs(1)));
    let down = down.await.unwrap().unwrap();
    assert_eq!((down.agents, down.attempts), (1, 2));
    node.agent_ends().await;
    let why = std::fs::read_to_string(node.checkpoints().join("why")).unwrap();
    assert!(why.contains("taken down"), "{why}");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_secret_does_not_leave_the_node() {
    // A script that prints its environment would hand its rights to everybody who reads logs or the job's end.
    let node = Node::start().await;
    let script = "env; printf '%s' run-; sleep 0.5; echo secret; echo $TRIALOG_TOKEN $MY_PASSWORD >&2; exit 3";
    let mut spec = node.spec(script);
    spec.environment_variables.insert("MY_PASSWORD".into(), "correct horse".into());
    node.run("job_a", spec).await;
    let end = node.fake.end("job_a").await;
    let (stdout, stderr) = (node.fake.log("stdout"), node.fake.log("stderr"));
    for said in [&stdout, &stderr, &end.stderr_tail] {
        assert!(!said.contains("run-secret") && !said.contains("correct horse"), "{said}");
    }
    assert!(stdout.contains("TRIALOG_TOKEN=**********\n") && stdout.ends_with("**********\n"), "{stdout}");
    assert_eq!((stderr.as_str(), end.stderr_tail.as_str()), ("********** *************\n", stderr.as_str()));
}

#[tokio::test]
async fn a_fenced_run_takes_nothing_more_and_the_attempt_still_ends() {
    // An attempt that compute has given up must not wait for runs for ever.
    let node = Node::start().await;
    node.fake.faults.lock().unwrap().over = "StaleAttempt".into();
    node.run("job_a", node.spec(&metrics(3, "0.01"))).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "completed");
    node.fake.look(|heard| assert!(heard.points.is_empty()));
}
