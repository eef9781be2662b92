//! The same services as four processes that talk gRPC over TCP: a small sweep goes through although each process is
//! killed once in the middle; and a node whose agent is refused says so.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, processes_of};

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

/// Where everything is.
struct Places {
    home: Home,
    token: String,
    key: String,
    /// Where each process listens for gRPC, and the front for REST.
    ports: [u16; 4],
    http: u16,
}

impl Places {
    fn new() -> Self {
        let home = Home::new();
        let key = home.write("signing.key", &"5a".repeat(32)).display().to_string();
        let token = home.write("token", "a secret of this installation").display().to_string();
        Self { home, token, key, ports: std::array::from_fn(|_| free_port()), http: free_port() }
    }

    fn listen(&self, process: &str) -> String {
        let place = PROCESSES.iter().position(|name| *name == process).expect("a process");
        format!("127.0.0.1:{}", self.ports[place])
    }

    fn options(&self, process: &str, key: &str) -> Options {
        let here: Vec<_> = PLACES.iter().filter(|(_, place)| *place == process).map(|(service, _)| *service).collect();
        let mut options = Options::serve(&self.home, process, &here.join(","));
        options = options.with(&["--signing-key-file", key, "--token-file", &self.token]);
        options = options.with(&["--listen", &self.listen(process)]);
        for (service, place) in PLACES.iter().filter(|(_, place)| *place != process) {
            let address = match *service {
                "gateway" => format!("127.0.0.1:{}", self.http),
                _ => self.listen(place),
            };
            options = options.with(&["--peer", &format!("{service}=http://{address}")]);
        }
        if process == "front" { options.with(&["--http", &format!("127.0.0.1:{}", self.http)]) } else { options }
    }

    fn start(&self, process: &str) -> Server {
        Server::start(self.options(process, &self.key))
    }
}

/// A cluster with one node.
fn make_cluster(client: &Client) {
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 300},
        "provider": {"kind": "local", "boot_seconds": 0.1}
    });
    client.put("clusters/nodes", &cluster).expect(201);
    let ready = |cluster: &Value| cluster["provisioning_state"] == "Succeeded";
    client.await_version("clusters/nodes", SWEEP_LIMIT, ready);
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
    let places = Places::new();
    let _watchdog = Watchdog::new(LIMIT, places.home.path(), "the split sweep");
    // The others are begun first: the front says that it is ready only when all answer.
    let mut servers: Vec<Server> = ["runs", "sweeps", "compute", "front"].map(|name| places.start(name)).into();
    servers.rotate_right(1);
    let client = servers[0].client();
    make_cluster(&client);
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
    let left = processes_of(places.home.path());
    assert!(left.is_empty(), "left over: {left:#?}");
}

#[test]
fn a_node_whose_agent_runs_refuses_says_so_until_it_does_not() {
    // Its trials were starting for ever, and nobody said why.
    let places = Places::new();
    let _watchdog = Watchdog::new(LIMIT, places.home.path(), "a refused agent");
    let other = places.home.write("other.key", &"6b".repeat(32)).display().to_string();
    let mut runs = Server::start(places.options("runs", &other));
    let _others = ["sweeps", "compute"].map(|process| places.start(process));
    let front = places.start("front");
    let client = front.client();
    make_cluster(&client);
    client.post("sweeps", &document()).expect(201);
    let troubled = |cluster: &Value| cluster["errors"].to_string().contains("runs refuses its agent");
    let shown = client.await_version("clusters/nodes", SWEEP_LIMIT, troubled);
    assert_eq!(shown["node_state_counts"]["unusable"], 1, "{shown}");
    let log = std::fs::read_to_string(places.home.join("compute.log")).expect("its log");
    assert!(log.contains("the node has trouble: runs refuses its agent"), "{log}");
    // The key is put right.
    runs.stop();
    let _runs = places.start("runs");
    let well = |cluster: &Value| cluster["errors"] == json!([]) && cluster["node_state_counts"]["unusable"] == 0;
    client.await_version("clusters/nodes", SWEEP_LIMIT, well);
    client.await_version("sweeps/split", SWEEP_LIMIT, |sweep| sweep["state"] == "Completed");
}

fn ended_trials(sweep: &Value) -> u64 {
    let count = |state: &str| sweep["trial_counts"][state].as_u64().unwrap_or_default();
    ["Completed", "Failed", "Canceled", "EarlyStopped"].into_iter().map(count).sum()
}
