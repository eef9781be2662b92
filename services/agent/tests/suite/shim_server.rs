//! The process that forks shims: it may die, be none, or lose its agent; the jobs notice nothing.

use std::os::unix::ffi::OsStrExt;

use crate::harness::{Node, appears};

/// Runs until the file is there.
fn until(file: &std::path::Path) -> String {
    format!("echo on; while [ ! -e {} ]; do sleep 0.02; done; exit 5", file.display())
}

#[tokio::test]
async fn shims_are_forked_and_look_like_shims() {
    // Whoever looks for the process of a job finds it by its command line.
    let mut node = Node::start().await;
    let go = node.folder.join("go");
    let begun = node.folder.join("begun");
    node.run("job_a", node.spec(&format!("touch {}; {}", begun.display(), until(&go)))).await;
    // Not before its program runs: until then it is a second process that looks like the shim.
    appears(&begun).await;
    let server = node.parent_of_the_shim("job_a");
    assert_eq!(runtime::process::parent_of(server.pid), Some(node.agent_id()), "forked by a process of the agent's");
    let shims = node.shims();
    let [shim] = shims[..] else { panic!("{shims:?}") };
    let words = runtime::process::command_line(shim);
    let folder = node.attempt_folder("job_a");
    let expected = [b"shim".as_slice(), folder.as_os_str().as_bytes()];
    assert_eq!(words[1..3], expected, "{words:?}");
    assert!(words[3..].iter().all(Vec::is_empty), "nothing is left of the line before: {words:?}");
    // An agent that dies takes the server along, not the shim.
    node.kill_agent();
    server.ended().await.unwrap();
    assert_eq!(node.shims(), shims);
    node.start_agent();
    std::fs::write(&go, "").unwrap();
    assert_eq!(node.fake.end("job_a").await.exit_code, Some(5));
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn a_shim_server_that_dies_takes_no_job_along_and_is_started_again() {
    let node = Node::start().await;
    let go = node.folder.join("go");
    node.run("job_a", node.spec(&until(&go))).await;
    appears(&node.attempt_folder("job_a").join("state.json")).await;
    let first = node.parent_of_the_shim("job_a");
    first.kill();
    first.ended().await.unwrap();
    // The first to ask finds it dead and starts its shim alone; the next is forked again.
    for job in ["job_b", "job_c"] {
        node.run(job, node.spec("exit 3")).await;
        assert_eq!(node.fake.end(job).await.exit_code, Some(3), "{job}");
    }
    node.run("job_d", node.spec(&until(&go))).await;
    appears(&node.attempt_folder("job_d").join("state.json")).await;
    let second = node.parent_of_the_shim("job_d");
    assert!(second != first && second.lives());
    assert_ne!(second.pid, node.agent_id(), "forked, not started by the agent");
    std::fs::write(&go, "").unwrap();
    for job in ["job_a", "job_d"] {
        assert_eq!(node.fake.end(job).await.exit_code, Some(5), "{job}");
    }
    node.assert_nothing_left().await;
}

#[tokio::test]
async fn without_a_shim_server_every_shim_is_started_alone() {
    // A program that ends at once, and one that is not there.
    for program in ["/bin/true", "/no/such/program"] {
        let mut node = Node::without_agent().await;
        node.shim_server = Some(program);
        node.start_agent();
        let go = node.folder.join("go");
        node.run("job_a", node.spec(&until(&go))).await;
        appears(&node.attempt_folder("job_a").join("state.json")).await;
        assert_eq!(node.parent_of_the_shim("job_a").pid, node.agent_id(), "{program}");
        std::fs::write(&go, "").unwrap();
        assert_eq!(node.fake.end("job_a").await.exit_code, Some(5), "{program}");
        node.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_shim_server_that_hangs_holds_nothing_up() {
    // Somebody stops it, or the machine cannot fork: the job starts without it.
    let node = Node::start().await;
    let go = node.folder.join("go");
    node.run("job_a", node.spec(&until(&go))).await;
    appears(&node.attempt_folder("job_a").join("state.json")).await;
    let server = node.parent_of_the_shim("job_a");
    runtime::process::signal(server.pid, rustix::process::Signal::STOP);
    node.run("job_b", node.spec("exit 3")).await;
    assert_eq!(node.fake.end("job_b").await.exit_code, Some(3));
    assert!(!server.lives(), "it is of no use, and would wake up later");
    std::fs::write(&go, "").unwrap();
    assert_eq!(node.fake.end("job_a").await.exit_code, Some(5));
    node.assert_nothing_left().await;
}
