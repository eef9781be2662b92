//! The same services as four processes that talk gRPC over Unix sockets: a small sweep goes through although each
//! process is killed once in the middle.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Home, Options, Server, Watchdog, processes_of};

/// Every service and the process that it runs in.
const PLACES: [(&str, &str); 6] = [
    ("workspaces", "front"),
    ("gateway", "front"),
    ("runs", "runs"),
    ("sweeps", "sweeps"),
    ("models", "sweeps"),
    ("compute", "compute"),
];
const PROCESSES: [&str; 4] = ["front", "runs", "sweeps", "compute"];
const TRIALS: u64 = 8;
const STEPS: u64 = 3;
/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(240);
const SWEEP_LIMIT: Duration = Duration::from_secs(120);

const TRIAL: &str = r#"
step=0
if [ -f "$TRIALOG_CHECKPOINT_DIR/step" ]; then step=$(cat "$TRIALOG_CHECKPOINT_DIR/step"); fi
while [ "$step" -lt 3 ]; do
  sleep 0.15
  echo "{\"trialog\": \"metric\", \"name\": \"loss\", \"value\": $1.$step, \"step\": $step}"
  step=$((step + 1))
  echo "$step" > "$TRIALOG_CHECKPOINT_DIR/step"
done
"#;

/// A port that was free a moment ago: the processes must know the gateway's address before it runs.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("a bound address").port()
}

fn options(home: &Home, process: &str, key: &Path, port: u16) -> Options {
    let here: Vec<_> = PLACES.iter().filter(|(_, place)| *place == process).map(|(service, _)| *service).collect();
    let mut options = Options::serve(home, process, &here.join(","));
    options = options.with(&["--signing-key-file", &key.display().to_string()]);
    for (service, place) in PLACES.iter().filter(|(_, place)| *place != process) {
        let address = match *service {
            "gateway" => format!("http://127.0.0.1:{port}"),
            _ => format!("unix:{}", home.join(place).join("run/trialog.sock").display()),
        };
        options = options.with(&["--peer", &format!("{service}={address}")]);
    }
    if process == "front" { options.with(&["--http", &format!("127.0.0.1:{port}")]) } else { options }
}

fn document() -> Value {
    json!({
        "name": "split",
        "cluster": "nodes",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"whole": {"type": "choice", "values": [3, 1, 4, 15, 9, 2, 6, 5]}},
        "sampling_algorithm": "grid",
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 2, "max_failed_trials": TRIALS},
        "trial": {
            "command": ["/bin/sh", "-c", TRIAL, "trial", "${{search_space.whole}}"],
            "resources": {"cpu_count": 1, "memory_bytes": 1 << 26},
            "checkpoint": true
        }
    })
}

#[test]
fn four_processes_are_killed_once_each_and_the_sweep_is_right() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the split sweep");
    let key = home.write("signing.key", &"5a".repeat(32));
    let port = free_port();
    let mut servers: Vec<Server> = Vec::new();
    // The others are begun first: the front says that it is ready only when all answer.
    for process in ["runs", "sweeps", "compute", "front"] {
        servers.push(Server::start(options(&home, process, &key, port)));
    }
    servers.rotate_right(1);
    let client = servers[0].client();
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 300},
        "provider": {"kind": "local", "boot_seconds": 0.1}
    });
    client.put("clusters/nodes", &cluster).expect(201);
    let ready = |cluster: &Value| cluster["provisioning_state"] == "Succeeded";
    client.await_version("clusters/nodes", SWEEP_LIMIT, ready);
    let sweep = client.post("sweeps", &document()).expect(201)["id"].as_str().expect("an id").to_owned();
    let path = format!("sweeps/{sweep}");

    // One kill after each of the first four ends: always in the middle of other trials.
    for (place, server) in servers.iter_mut().enumerate() {
        let wanted = place as u64 + 1;
        client.await_version(&path, SWEEP_LIMIT, |sweep| ended_trials(sweep) >= wanted);
        eprintln!("split: killing {}", PROCESSES[place]);
        server.restart();
    }
    let end = client.await_version(&path, SWEEP_LIMIT, |sweep| sweep["state"] == "Completed");
    assert_eq!(end["best"]["value"], json!(1.0), "{end}");
    assert_eq!(end["best"]["parameters"], json!({"whole": 1}), "{end}");
    let trials = client.list(&format!("{path}/trials"), "trials");
    assert_eq!(trials.len() as u64, TRIALS);
    for trial in &trials {
        assert_eq!((&trial["state"], &trial["intervals"]), (&json!("Completed"), &json!(STEPS)), "{trial}");
    }
    let verified = client.post(&format!("{path}:verify"), &json!({})).expect(200);
    assert_eq!(verified["differences"], json!([]), "{verified}");

    assert!([200, 202].contains(&client.delete("clusters/nodes").status));
    let watch = runtime::Stopwatch::start();
    while client.get("clusters/nodes?wait=1s").status != 404 {
        assert!(watch.elapsed() < SWEEP_LIMIT, "the cluster is not gone");
    }
    servers.iter_mut().for_each(Server::stop);
    let left = processes_of(home.path());
    assert!(left.is_empty(), "left over: {left:#?}");
}

fn ended_trials(sweep: &Value) -> u64 {
    let count = |state: &str| sweep["trial_counts"][state].as_u64().unwrap_or_default();
    ["Completed", "Failed", "Canceled", "EarlyStopped"].into_iter().map(count).sum()
}
