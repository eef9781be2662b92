//! What is kept at the best value, and what is said where it could not be.

use contracts::compute::agent_order::Order;
use contracts::compute::{JobSpec, StopAttempt};

use crate::harness::Node;
use crate::stopping::stop;

/// `say VALUE STEP` writes the model and reports; `kept VALUE` asks whether its copy stands.
const WORDS: &str = r#"
say() {
  echo "$1" > "$TRIALOG_OUTPUT_MODEL/weights"
  echo "{\"trialog\": \"metric\", \"name\": \"acc\", \"value\": $1, \"step\": $2}"
}
kept() { grep -qs "\"value\":$1" "$TRIALOG_KEPT_FILE"; }
"#;

/// A trial that keeps its model at the best value.
fn spec(script: &str) -> JobSpec {
    JobSpec {
        command: vec!["sh".into(), "-c".into(), format!("{WORDS}{script}")],
        outputs: vec!["model".into()],
        keep_best: vec!["outputs/model".into()],
        primary_metric: "acc".into(),
        goal: "maximize".into(),
        sweep_id: "sweep_x".into(),
        ..JobSpec::default()
    }
}

/// The models that were uploaded since this was last asked.
fn models(node: &Node) -> Vec<String> {
    node.fake.change(|heard| {
        let models = heard.artifacts.drain(..).map(|artifact| heard.objects[&artifact.sha256].clone());
        models.map(|model| String::from_utf8(model).unwrap()).collect()
    })
}

#[tokio::test]
async fn what_is_reported_after_the_order_to_stop_replaces_nothing_that_was_kept() {
    // What was uploaded as the best was the model of a value that counts for nothing.
    let node = Node::start().await;
    // It does not end at SIGTERM, and finds something better.
    let script = "trap 'stopped=1' TERM; say 0.5 1; until kept 0.5; do sleep 0.02; done; echo up
        until [ \"$stopped\" = 1 ]; do sleep 0.02; done; say 0.9 2
        tries=0; until kept 0.9 || [ $tries = 50 ]; do tries=$((tries + 1)); sleep 0.02; done";
    for (job, by) in [("job_a", "policy"), ("job_b", "max_resource")] {
        node.run(job, spec(script)).await;
        let is_up = |log: &Vec<u8>| String::from_utf8_lossy(log).contains("up");
        node.fake.hear("up", |heard| heard.logs.get("stdout").is_some_and(is_up).then_some(())).await;
        let Order::Stop(order) = stop(job, 20.0) else { panic!() };
        node.fake.order(Order::Stop(StopAttempt { by: by.into(), ..order })).await;
        let end = node.fake.end(job).await;
        assert_eq!((end.outcome.as_str(), end.by.as_str(), end.exit_code), ("canceled", by, Some(0)));
        assert_eq!((models(&node), end.unkept.as_str()), (vec!["0.5\n".to_owned()], ""), "{by}");
        node.fake.change(|heard| heard.logs.clear());
    }
}

#[tokio::test]
async fn what_could_not_be_kept_is_said_with_the_end_of_the_attempt() {
    // It stood in the log of the run alone, and the model of another value was registered.
    let node = Node::start().await;
    node.run("job_a", spec("touch \"$(dirname \"$TRIALOG_KEPT_FILE\")/1-a\"; say 0.5 1")).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), models(&node)), ("completed", vec!["0.5\n".to_owned()]));
    let parts = ["the best acc, 0.5, is not kept", "could not be copied", "that of the end"];
    assert!(parts.iter().all(|part| end.unkept.contains(part)), "{}", end.unkept);
}

#[tokio::test]
async fn of_a_trial_that_went_on_for_too_long_remains_what_is_kept_although_it_was_killed() {
    // A script that has no handler for SIGTERM left nothing, however good its model was.
    let node = Node::start().await;
    node.run("job_a", spec("say 0.5 1; until kept 0.5; do sleep 0.02; done; echo up; exec tail -f /dev/null")).await;
    let is_up = |log: &Vec<u8>| String::from_utf8_lossy(log).contains("up");
    node.fake.hear("up", |heard| heard.logs.get("stdout").is_some_and(is_up).then_some(())).await;
    let Order::Stop(order) = stop("job_a", 20.0) else { panic!() };
    node.fake.order(Order::Stop(StopAttempt { by: "max_resource".into(), ..order })).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.signal), ("canceled", Some(15)));
    assert_eq!(models(&node), ["0.5\n"]);
}
