//! What becomes of the checkpoints of runs that are deleted.

use std::path::Path;

use contracts::compute::{JobSpec, StartAttempt};

use super::harness::{Agent, PATIENCE, Running, run_id, spec};

const SPOT: &str = "vm_size: D2\nscale: {max_nodes: 1}\nprovider: {boot_seconds: 0}";

/// Starts a run that saves a checkpoint.
async fn begin(running: &Running, agent: &mut Agent, run: &str, spec: JobSpec) -> StartAttempt {
    running.runs.create(run, spec);
    let start = agent.next_start().await;
    std::fs::create_dir_all(Path::new(&start.checkpoint_folder).join("best")).unwrap();
    std::fs::write(Path::new(&start.checkpoint_folder).join("best/weights"), "1").unwrap();
    agent.phase(&start.job_id, 1, "running").await;
    start
}

async fn end(running: &Running, agent: &mut Agent, start: &StartAttempt) {
    agent.end(&start.job_id, 1, "completed").await;
    running.until(&start.run_id, |job| job.state == "ended").await;
}

async fn goes(folder: &str) {
    let look = async || if Path::new(folder).exists() { Err(format!("{folder} is there")) } else { Ok(()) };
    testkit::await_that_async(PATIENCE, look).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoints_of_a_deleted_run_go_as_soon_as_nobody_takes_from_them() {
    // They are the largest of what a run leaves, and nobody can reach them any more.
    let data = tempfile::tempdir().unwrap();
    let mut running = Running::start(data.path(), None).await;
    let (order, mut agent, first) = running.with_a_job(SPOT).await;
    let weights = Path::new(&first.checkpoint_folder).join("weights");
    std::fs::create_dir_all(&first.checkpoint_folder).unwrap();
    std::fs::write(&weights, "1").unwrap();
    end(&running, &mut agent, &first).await;
    let other = begin(&running, &mut agent, &run_id(2), spec("spot")).await;
    end(&running, &mut agent, &other).await;
    let from = JobSpec { checkpoint_from: first.run_id.clone(), ..spec("spot") };
    let child = begin(&running, &mut agent, &run_id(3), from).await;
    // In this order: by the time the second is gone the first was looked at.
    running.runs.delete(&first.run_id);
    running.runs.delete(&other.run_id);
    goes(&other.checkpoint_folder).await;
    assert!(weights.exists(), "a job that is not over begins with it, maybe once more");
    // What is to go is remembered: the fact does not come again.
    drop(agent);
    let mut running = running.restart(data.path()).await;
    assert_eq!(running.next_node().await.node_id, order.node_id);
    let status = |start: &StartAttempt| contracts::compute::AttemptStatus {
        job_id: start.job_id.clone(),
        attempt: 1,
        phase: "running".into(),
    };
    let mut agent = running.agent(&order, vec![status(&child)]).await;
    assert!(weights.exists());
    end(&running, &mut agent, &child).await;
    goes(&first.checkpoint_folder).await;
    assert!(Path::new(&child.checkpoint_folder).exists(), "its own run was not deleted");
    let left: Vec<_> = std::fs::read_dir(data.path().join("checkpoints")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
