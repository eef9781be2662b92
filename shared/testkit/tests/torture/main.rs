//! Forty short trials while server, agents and shims are killed at random and nodes are preempted. At the end every
//! trial has ended once, nothing is left on the machine, the log agrees with its recomputation, no acknowledged point
//! is lost or doubled, and nothing that an attempt wrote before its end is lost.
//!
//! TRIALOG_TORTURE_KILLS: how many kills (10). TRIALOG_TORTURE_SEED: repeats the choices of a run.

mod driver;
#[cfg(feature = "postgres")]
mod scaled;
mod verdict;
mod writer;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::MachineEntropy;
use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, SAY, Server, Watchdog, check_everything_written, put_cluster};
use vocabulary::Entropy;

/// Trials of the sweep.
pub const TRIALS: u64 = 40;
/// Metric points that each trial reports.
pub const STEPS: u64 = 4;
/// The name of the sweep's cluster.
pub const CLUSTER: &str = "spot";
/// Between the notice and the end of a node.
pub const NOTICE_SECONDS: u64 = 1;
/// Kills when nothing else is asked for: enough to hit each kind of process, few enough for every test run.
const KILLS_DEFAULT: u64 = 10;
/// Seconds that the whole test may take: a fixed part, and a part for each kill, which costs a restart or a new
/// attempt.
const LIMIT_SECONDS: u64 = 240;
const LIMIT_SECONDS_A_KILL: u64 = 10;
/// How long the sweep may go on after the last kill.
const AFTER_LAST_KILL: Duration = Duration::from_secs(120);
/// How long nodes may take to leave when their cluster is deleted.
const DELETE_LIMIT: Duration = Duration::from_secs(60);

/// A trial: it reports a step, then saves it; a new attempt goes on after the last saved step. The last trials wait for
/// the file `go` before their last step, so that a sweep that is faster than the killing does not end before it.
const TRIAL: &str = r#"
step=0
if [ -f "$TRIALOG_CHECKPOINT_DIR/step" ]; then step=$(cat "$TRIALOG_CHECKPOINT_DIR/step"); fi
while [ "$step" -lt "$STEPS" ]; do
  sleep 0.08
  if [ "$step" -eq $((STEPS - 1)) ] && [ "$TRIALOG_TRIAL_INDEX" -ge "$GATED_FROM" ]; then
    while [ ! -f "$GATE" ]; do sleep 0.1; done
  fi
  value=$((TRIALOG_TRIAL_INDEX * 100 + step))
  say "{\"trialog\": \"metric\", \"name\": \"score\", \"value\": $value, \"step\": $step}"
  step=$((step + 1))
  echo "$step" > "$TRIALOG_CHECKPOINT_DIR/step.draft"
  mv "$TRIALOG_CHECKPOINT_DIR/step.draft" "$TRIALOG_CHECKPOINT_DIR/step"
done
"#;

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn document(home: &Home) -> Value {
    json!({
        "name": "torture",
        "cluster": CLUSTER,
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {
            "x": {"type": "uniform", "min_value": 0, "max_value": 1},
            "kind": {"type": "choice", "values": ["a", "b", "c"]}
        },
        "sampling_algorithm": {"type": "random", "rule": "sobol", "seed": 7},
        // Killed shims make failures only after three in one trial; no number of them may end the sweep.
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 5, "max_failed_trials": TRIALS},
        "trial": {
            "command": [
                "/bin/sh", "-c", format!("{SAY}{TRIAL}"), "trial", "${{search_space.x}}", "${{search_space.kind}}"
            ],
            "environment_variables": {
                "GATE": home.join("go").display().to_string(),
                "GATED_FROM": (TRIALS - 5).to_string(),
                "SAID": home.join("said").display().to_string(),
                "STEPS": STEPS.to_string()
            },
            "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
            "checkpoint": true
        }
    })
}

fn put_the_cluster(client: &Client) {
    let provider = json!({"boot_seconds": 0.1, "notice_seconds": NOTICE_SECONDS, "preemption": "never"});
    let otherwise = json!({"vm_priority": "low_priority", "scale": {"max_nodes": 3}, "provider": provider});
    put_cluster(client, CLUSTER, &otherwise);
}

#[test]
fn forty_trials_survive_the_killing_of_everything() {
    let seed = number_from("TRIALOG_TORTURE_SEED").unwrap_or_else(|| MachineEntropy::default().seed() >> 32);
    let kills = number_from("TRIALOG_TORTURE_KILLS").unwrap_or(KILLS_DEFAULT);
    println!("torture: TRIALOG_TORTURE_SEED={seed} TRIALOG_TORTURE_KILLS={kills}");
    eprintln!("torture: TRIALOG_TORTURE_SEED={seed} TRIALOG_TORTURE_KILLS={kills}");

    let home = Home::new();
    let limit = Duration::from_secs(LIMIT_SECONDS + LIMIT_SECONDS_A_KILL * kills);
    let _watchdog = Watchdog::new(limit, home.path(), format!("the torture with seed {seed}"));
    std::fs::create_dir(home.join("said")).expect("a folder for what is said");
    let server = Mutex::new(Server::start(Options::up(&home)));
    let client = server.lock().expect("nobody else is here yet").client();
    put_the_cluster(&client);
    let sweep = client.post("sweeps", &document(&home)).expect(201)["id"].as_str().expect("an id").to_owned();

    let done = AtomicBool::new(false);
    let (story, written) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| writer::write(&client, &done));
        // Dropped also when the driver panics: the writer must not go on for ever.
        let finish = Finish(&done);
        let story = driver::drive(&home, &server, &client, seed, kills);
        std::fs::write(home.join("go"), "").expect("the gate opens");
        let ended = |sweep: &Value| ["Completed", "Failed", "Canceled"].iter().any(|state| sweep["state"] == *state);
        client.await_version(&format!("sweeps/{sweep}"), AFTER_LAST_KILL, ended);
        drop(finish);
        (story, writer.join().expect("the writer's own message says why"))
    });
    println!("torture: {story:?}, {} points acknowledged to a plain run", written.points.len());

    verdict::every_trial_ended_once(&client, &sweep);
    verdict::every_step_is_there_once(&client, &sweep);
    let lines = check_everything_written(&client, &home.join("said"));
    println!("torture: {lines} lines were written by attempts, and all are in their logs and histories");
    verdict::the_log_agrees_with_its_recomputation(&client, &sweep);
    written.check(&client);
    verdict::nothing_is_left(&home, &client, &mut server.lock().expect("the driver has ended"), DELETE_LIMIT);
}

struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
