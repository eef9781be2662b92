//! Servers that are away. While one is, a node is told that it goes: what the attempt writes meanwhile lies on the
//! node's disk, and must be the run's when the server is back, although the node's time is over. And one that is not to
//! come back is taken down with all that it has started.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{
    Client, Home, Options, SAY, Server, Watchdog, await_that, binary, check_everything_written, processes_of,
    put_cluster,
};

/// For everything: a debug build on a busy machine needs a fraction of it.
const LIMIT: Duration = Duration::from_secs(180);
/// For one thing to come about.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the notice and the end of the node.
const NOTICE_SECONDS: u64 = 3;
/// How long the server stays away: longer than the node has.
const AWAY: Duration = Duration::from_millis(4_500);
/// Points of the trial.
const STEPS: u64 = 40;

/// Reports a step each tenth of a second and saves it afterwards. Told to go, it goes on for a second, then it ends.
const TRIAL: &str = r#"
step=0; left=-1
if [ -f "$TRIALOG_CHECKPOINT_DIR/step" ]; then step=$(cat "$TRIALOG_CHECKPOINT_DIR/step"); fi
trap 'left=10' TERM
while [ "$step" -lt "$STEPS" ]; do
  sleep 0.1
  if [ "$left" -eq 0 ]; then say "going"; exit 0; fi
  if [ "$left" -gt 0 ]; then left=$((left - 1)); fi
  say "{\"trialog\": \"metric\", \"name\": \"score\", \"value\": $step, \"step\": $step}"
  say "step $step of attempt $TRIALOG_ATTEMPT"
  step=$((step + 1))
  echo "$step" > "$TRIALOG_CHECKPOINT_DIR/step"
done
"#;

fn document(home: &Home) -> Value {
    json!({
        "name": "away",
        "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 1},
        "trial": {
            "command": ["/bin/sh", "-c", format!("{SAY}{TRIAL}"), "trial", "${{search_space.x}}"],
            "environment_variables": {"SAID": home.join("said").display().to_string(), "STEPS": STEPS.to_string()},
            "resources": {"cpu_count": 1},
            "checkpoint": true
        }
    })
}

/// The folder of the first attempt, once its node has been told that it goes.
fn await_notice(home: &Home) -> PathBuf {
    await_that(PATIENCE, || {
        let nodes = std::fs::read_dir(home.join("d/nodes")).into_iter().flatten().flatten();
        let jobs = nodes.flat_map(|node| std::fs::read_dir(node.path().join("jobs")).into_iter().flatten().flatten());
        let noticed = |attempt: &PathBuf| attempt.join("preempt.json").exists();
        jobs.map(|job| job.path().join("1")).find(noticed).ok_or("no notice has come")
    })
}

fn node_of(client: &Client) -> String {
    let nodes = client.get("clusters/spot/nodes").expect(200);
    let node = nodes["nodes"].as_array().into_iter().flatten().find(|node| node["node_state"] == "running");
    node.and_then(|node| node["node_id"].as_str()).unwrap_or_else(|| panic!("no node runs: {nodes}")).to_owned()
}

#[test]
fn what_an_attempt_writes_while_the_server_is_away_is_not_lost() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the server that is away");
    std::fs::create_dir(home.join("said")).expect("a folder for what is said");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    let provider = json!({"notice_seconds": NOTICE_SECONDS, "preemption": "never"});
    put_cluster(&client, "spot", &json!({"vm_priority": "low_priority", "provider": provider}));
    let sweep = client.post("sweeps", &document(&home)).expect(201)["id"].as_str().expect("an id").to_owned();
    let path = format!("sweeps/{sweep}");
    let begun = client.await_version(&path, PATIENCE, |_| {
        let trials = client.list(&format!("{path}/trials"), "trials");
        trials.first().is_some_and(|trial| trial["intervals"].as_u64() >= Some(3))
    });
    assert_eq!(begun["state"], "Running", "{begun}");
    client.post(&format!("clusters/spot/nodes/{}:preempt", node_of(&client)), &json!({"reason": "test"})).expect(202);
    await_notice(&home);
    server.kill();
    // The attempt writes on, ends, and its node's time passes: of that nobody tells a server that is away.
    std::thread::sleep(AWAY);
    server.restart();

    let end = client.await_version(&path, PATIENCE, |sweep| sweep["state"] != "Running");
    assert_eq!(end["state"], "Completed", "{end}");
    let trials = client.list(&format!("{path}/trials"), "trials");
    let run = trials[0]["run_id"].as_str().expect("a run");
    let shown = client.get(&format!("runs/{run}")).expect(200);
    assert_eq!((&shown["state"], &shown["preemptions"]), (&json!("Completed"), &json!(1)), "{shown}");
    let said = check_everything_written(&client, &home.join("said"));
    assert!(said as u64 > 2 * STEPS, "two attempts were to say {} lines, not {said}", 2 * STEPS);
    let points = client.list(&format!("runs/{run}/metrics/score"), "points");
    let mut counted: Vec<_> =
        points.iter().filter(|point| point["superseded"] != true).map(|point| point["step"].as_u64()).collect();
    counted.sort_unstable();
    assert_eq!(counted, (0..STEPS).map(Some).collect::<Vec<_>>(), "every step counts once: {points:?}");
    assert_eq!(trials[0]["intervals"].as_u64(), Some(STEPS), "the sweep has seen every step: {}", trials[0]);
}

/// Waits for a signal in its first attempt, saves and ends; the second has only to find what was saved.
const SAVES: &str = r#"
if [ "$TRIALOG_RESUME" = 1 ]; then exit "$(cat "$TRIALOG_CHECKPOINT_DIR/code")"; fi
trap 'echo 0 > "$TRIALOG_CHECKPOINT_DIR/code"; exit 0' TERM
touch "$UP"
while :; do sleep 0.05; done
"#;

#[test]
fn an_installation_is_taken_down_and_comes_up_again() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the installation that is taken down");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    put_cluster(&client, "spot", &json!({}));
    let run = json!({"job": {
        "cluster": "spot", "command": ["/bin/sh", "-c", SAVES], "checkpoint": true,
        "environment_variables": {"UP": home.join("up").display().to_string()}
    }});
    let run = client.post("runs", &run).expect(201)["run_id"].as_str().expect("a run").to_owned();
    await_that(PATIENCE, || match home.join("up").exists() {
        true => Ok(()),
        false => Err(format!("the job does not run: {}", client.get(&format!("runs/{run}")).text())),
    });
    let down = std::process::Command::new(binary()).arg("down").arg("--data").arg(home.join("d")).output();
    let down = down.expect("the command runs");
    let said = String::from_utf8_lossy(&down.stdout).into_owned();
    assert!(down.status.success(), "{said}{}", String::from_utf8_lossy(&down.stderr));
    assert!(said.contains("ended the server, 1 agent, 1 job"), "{said}");
    let left = processes_of(home.path());
    assert!(left.is_empty(), "left over: {left:#?}");

    server.restart();
    let shown = client.await_run(&run, PATIENCE, |run| run["ended_at"].as_str().is_some_and(|at| !at.is_empty()));
    assert_eq!(
        (&shown["state"], &shown["attempt"], &shown["preemptions"]),
        (&json!("Completed"), &json!(2), &json!(0))
    );
}
