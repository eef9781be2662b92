//! The check of histories goes red for each fault that it is there to find: the same recorder, models and checkers as
//! of the test of whole processes (`testkit/tests/history`), on two replicas of one log in this process, with a proxy
//! between each and the database. With a fail point switched on the history must be rejected, without one accepted.
//!
//! Each case is a process of its own: a fail point is chosen by the environment.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod points;

use std::process::{Command, Stdio};

use testkit::postgres;

/// Set for the process that runs one case.
const CASE: &str = "TRIALOG_FAIL_POINT";

/// Not a test by itself: one case, with the fail point that the environment names.
#[test]
fn child_with_a_fail_point() {
    if std::env::var_os(CASE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(cluster::run());
    }
}

/// What it printed when it failed; `None` when it was accepted.
fn verdict(case: &str) -> Option<String> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["child_with_a_fail_point", "--exact", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .stdin(Stdio::null())
        .output()
        .expect("its output");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    println!("{case}:\n{printed}");
    (!output.status.success()).then_some(printed)
}

/// All at once: most of a case is waiting for leases.
#[test]
fn every_fault_of_the_log_is_seen_in_its_history() {
    if postgres().is_none() {
        return;
    }
    let cases = [
        ("none", None),
        ("answer-before-commit", Some("registers: ")),
        ("append-twice", Some("registers: ")),
        ("read-after-lease", Some("registers: ")),
        ("drop-rows", Some("which was acknowledged before it")),
    ];
    let verdicts = cases.map(|(case, _)| std::thread::spawn(move || verdict(case)));
    for ((case, why), verdict) in cases.into_iter().zip(verdicts) {
        match (why, verdict.join().unwrap()) {
            (None, None) => {}
            (Some(why), Some(printed)) => assert!(printed.contains(why), "{case}: {printed}"),
            (None, Some(printed)) => panic!("a sound log is rejected: {printed}"),
            (Some(_), None) => panic!("{case} is not seen"),
        }
    }
}
