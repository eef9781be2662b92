//! A disk that takes nothing for a while: whatever is refused then is done when there is room again.

use std::path::PathBuf;

use crate::harness::{Node, appears};

/// A script that keeps the attempt's file `name` from being written, by a folder where it is written first.
fn refusing(name: &str) -> String {
    format!("mkdir $(dirname $TRIALOG_PARAMS_FILE)/{name}.tmp")
}

fn in_the_way(node: &Node, name: &str) -> PathBuf {
    node.attempt_folder("job_a").join(format!("{name}.tmp"))
}

#[tokio::test]
async fn an_agent_that_cannot_write_its_log_loses_nothing() {
    // The log lies on the disk that is full. A line that was not written once ended the sender that had it to write,
    // and the run completed without its metrics.
    let mut node = Node::without_agent().await;
    node.log = Some("/dev/full");
    node.start_agent();
    node.fake.faults.lock().unwrap().broken = 2;
    let metric = r#"{"trialog":"metric","name":"m","value":1,"step":1}"#;
    let script = format!("echo '{metric}'; {}; exit 3", refusing("ended.json"));
    node.run("job_a", node.spec(&script)).await;
    node.fake.hear("the metric", |heard| (heard.points.len() == 1).then_some(())).await;
    // Nor did an attempt end whose end was refused.
    node.fake
        .hear("that it is tried again", |heard| {
            let notices = heard.logs.get("trialog")?;
            String::from_utf8_lossy(notices).contains("tried again").then_some(())
        })
        .await;
    std::fs::remove_dir(in_the_way(&node, "ended.json")).unwrap();
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("failed", Some(3)), "{end:?}");
    node.fake.look(|heard| assert_eq!(heard.points.len(), 1));
    assert!(node.agent_lives());
}

#[tokio::test]
async fn an_exit_code_waits_for_room() {
    // Nobody but the shim knows it: without it a training that has completed would be lost and run again.
    let node = Node::start().await;
    node.run("job_a", node.spec(&format!("{}; exit 7", refusing("exit.json")))).await;
    appears(&node.attempt_folder("job_a").join("shim.log")).await;
    std::fs::remove_dir(in_the_way(&node, "exit.json")).unwrap();
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("failed", Some(7)), "{end:?}");
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_command_runs_although_nobody_can_write_down_that_it_does() {
    // Once that ended it, as if it could not be started.
    let node = Node::start().await;
    let mut spec = node.spec("rmdir $(dirname $TRIALOG_PARAMS_FILE)/state.json.tmp; sleep 100");
    spec.prepare = ["sh", "-c", &refusing("state.json")].map(str::to_owned).to_vec();
    node.run("job_a", spec).await;
    node.fake.phase("job_a", "running").await;
}

#[tokio::test]
async fn a_stop_that_cannot_be_written_down_is_carried_out() {
    // A job on a full disk must end all the same: what it writes may be what fills it.
    let node = Node::start().await;
    let up = node.folder.join("up");
    let script = format!("{}; : > {}; sleep 100", refusing("stop.json"), up.display());
    node.run("job_a", node.spec(&script)).await;
    appears(&up).await;
    node.fake.order(crate::stopping::stop("job_a", 0.1)).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.by.as_str()), ("canceled", "policy"), "{end:?}");
    node.assert_nothing_left().await;
}
