//! How long the agent's own part takes. Printed, and bounded only loosely: machines that run tests are busy.

use std::time::{Duration, Instant};

use crate::harness::Node;

#[tokio::test]
async fn a_job_costs_little_more_than_its_command() {
    // With a thousand short trials this is most of what a user waits for.
    let node = Node::start().await;
    node.fake.faults.lock().unwrap().any_sequence = true;
    let (mut starts, mut wholes) = (Vec::new(), Vec::new());
    for number in 0..30 {
        let job = format!("job_{number}");
        let spec = node.spec(r#"echo '{"trialog":"metric","name":"m","value":1}'"#);
        #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
        let before = Instant::now();
        node.run(&job, spec).await;
        node.fake.phase(&job, "running").await;
        starts.push(before.elapsed());
        node.fake.end(&job).await;
        wholes.push(before.elapsed());
    }
    starts.sort();
    wholes.sort();
    println!("order to running: median {:?}; order to end: median {:?}", starts[15], wholes[15]);
    assert!(wholes[15] < Duration::from_secs(10), "{wholes:?}");
}
