//! The agent and its shims as real processes, against a compute and a runs that are played by the test.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by a panic too")]

mod environments;
mod fakes;
mod full_disk;
mod harness;
mod keeping;
mod latency;
mod running;
mod serving;
mod shim_server;
mod stopping;
mod surviving;

/// Not a test: the process that the harness starts as the agent.
#[test]
#[ignore = "started by the harness as a process of its own"]
fn agent_process() {
    harness::agent_process();
}

/// Not a test: the process that the agent starts as a shim.
#[test]
#[ignore = "started by the agent as a process of its own"]
fn shim_process() {
    let Some(folder) = std::env::args().next_back().map(std::path::PathBuf::from).filter(|folder| folder.is_absolute())
    else {
        return;
    };
    let _ = trialog_agent::shim_main(&folder);
    // The test's own end would print into the log of the shim.
    std::process::exit(0);
}

/// Not a test: the process that forks shims.
#[test]
#[ignore = "started by the agent as a process of its own"]
fn shim_server_process() {
    if std::env::args().next_back().is_some_and(|word| word.starts_with('_')) {
        let _ = trialog_agent::shim_server_main();
        std::process::exit(0);
    }
}
