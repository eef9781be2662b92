//! Replicas of deployments, and commands that say a lot.

use std::io::{Read, Write};
use std::time::Duration;

use contracts::compute::agent_report::Report;
use contracts::compute::{JobSpec, ModelFile, ServiceSpec};

use crate::harness::Node;

fn service(node: &Node, score: &str) -> JobSpec {
    let sha256 = node.fake.store(score.as_bytes().to_vec());
    let file = ModelFile { path: "score.py".into(), sha256, size_bytes: score.len().try_into().unwrap() };
    JobSpec { service: Some(ServiceSpec { files: vec![file], ..ServiceSpec::default() }), ..JobSpec::default() }
}

async fn ready(node: &Node, count: usize) -> String {
    node.fake
        .hear("a replica is ready", |heard| {
            let mut ready = heard.reports.iter().filter_map(|report| match report {
                Report::ReplicaReady(ready) => Some(ready.address.clone()),
                _ => None,
            });
            ready.nth(count - 1)
        })
        .await
}

#[tokio::test]
async fn a_model_is_served_also_after_the_agent_came_back() {
    // An endpoint must not go down because a server was restarted.
    let mut node = Node::start().await;
    let score = "print('loading', flush=True)\ndef init(): pass\ndef run(raw): return raw.upper()\n";
    let mut spec = service(&node, score);
    node.run("job_a", spec.clone()).await;
    let address = ready(&node, 1).await;
    for count in 2..4 {
        let mut replica = std::os::unix::net::UnixStream::connect(address.strip_prefix("unix:").unwrap()).unwrap();
        let header = r#"{"id":"r","kind":"score","deadline_ms":5000,"content_type":"text/plain","length":2}"#;
        replica.write_all(&u32::try_from(header.len()).unwrap().to_be_bytes()).unwrap();
        replica.write_all(format!("{header}hi").as_bytes()).unwrap();
        let mut answer = vec![0; 4];
        replica.read_exact(&mut answer).unwrap();
        drop(replica.shutdown(std::net::Shutdown::Write));
        replica.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"HI"), "{}", String::from_utf8_lossy(&answer));
        node.kill_agent();
        node.start_agent();
        ready(&node, count).await;
    }
    node.fake.order(crate::stopping::stop("job_a", 5.0)).await;
    let end = node.fake.end("job_a").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("canceled", Some(0)));
    let said = node.fake.look(|heard| {
        let logs = heard.reports.iter().filter_map(|report| match report {
            Report::ReplicaLog(log) => Some(log.data.clone()),
            _ => None,
        });
        String::from_utf8(logs.flatten().collect()).unwrap()
    });
    assert!(said.contains("loading"), "{said}");
    spec.service.as_mut().unwrap().files = service(&node, "def init(): pass\n").service.unwrap().files;
    node.run("job_b", spec).await;
    let end = node.fake.end("job_b").await;
    assert_eq!((end.outcome.as_str(), end.exit_code), ("failed", Some(78)));
    assert!(end.stderr_tail.contains("no function run()"), "{end:?}");
}

#[tokio::test]
async fn a_replica_serves_on_after_a_notice_until_it_is_stopped() {
    // Its replacement needs the time of the notice; until then this one answers.
    let node = Node::start().await;
    let score = "def init(): pass\ndef run(raw): return raw.upper()\n";
    node.run("job_a", service(&node, score)).await;
    let address = ready(&node, 1).await;
    node.fake.order(crate::stopping::notice(Duration::from_secs(60))).await;
    // A trial on the same node is told, so the notice has been taken in.
    node.run("job_b", node.spec("sleep 100")).await;
    assert_eq!(node.fake.end("job_b").await.outcome, "preempted");
    let mut replica = std::os::unix::net::UnixStream::connect(address.strip_prefix("unix:").unwrap()).unwrap();
    let header = r#"{"id":"r","kind":"score","deadline_ms":5000,"content_type":"text/plain","length":2}"#;
    replica.write_all(&u32::try_from(header.len()).unwrap().to_be_bytes()).unwrap();
    replica.write_all(format!("{header}hi").as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(replica.shutdown(std::net::Shutdown::Write));
    replica.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"HI"), "{}", String::from_utf8_lossy(&answer));
    node.fake.order(crate::stopping::stop("job_a", 5.0)).await;
    assert_eq!(node.fake.end("job_a").await.outcome, "canceled");
}

#[tokio::test]
async fn a_flood_of_output_costs_no_metric_and_little_disk() {
    // A forgotten debug print must neither fill the node's disk nor hide the results.
    let node = Node::start().await;
    let script = r#"echo '{"trialog":"metric","name":"m","value":1}'
        head -c 3000000 /dev/zero | tr '\0' x; echo
        yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 80000000
        echo; printf '{"trialog":"metric","name":"m","value":2}'"#;
    node.fake.faults.lock().unwrap().deaf = true;
    node.run("job_a", node.spec(script)).await;
    let end = node.fake.end("job_a").await;
    assert_eq!(end.outcome, "completed", "{end:?}");
    let values: Vec<f64> = node.fake.look(|heard| heard.points.iter().map(|point| point.value).collect());
    assert_eq!(values, [1.0, 2.0]);
    let kept = node.fake.look(|heard| heard.logs["stdout"].len());
    assert!((64 << 20..80_000_000).contains(&kept), "{kept}");
    assert!(node.fake.log("trialog").contains("the rest is not kept"));
    let facts = std::fs::metadata(node.attempt_folder("job_a").join("stdout.log")).unwrap();
    let blocks = std::os::unix::fs::MetadataExt::blocks(&facts) * 512;
    assert!(facts.len() > 80_000_000 && blocks < 20_000_000, "{blocks}");
}

#[tokio::test]
async fn many_attempts_run_at_once() {
    // A node of many small trials is the usual one.
    let node = Node::start().await;
    let script = r#"sleep 0.1; echo '{"trialog":"metric","name":"m","value":1}'; exit 0"#;
    node.fake.faults.lock().unwrap().any_sequence = true;
    for job in 0..24 {
        node.run(&format!("job_{job}"), node.spec(script)).await;
    }
    for job in 0..24 {
        let end = node.fake.end(&format!("job_{job}")).await;
        assert_eq!(end.outcome, "completed", "{end:?}");
    }
    assert_eq!(node.fake.look(|heard| heard.points.len()), 24);
    node.assert_nothing_left().await;
}
