//! The same services as several processes that talk gRPC over TCP: a small sweep goes through although each process is
//! killed once in the middle, the database and Kafka with them; and a node whose agent is refused says so.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Layout, Places, Server, Watchdog, processes_of, put_cluster};

const FOUR: Layout = &[
    ("workspaces", &["front"]),
    ("gateway", &["front"]),
    ("runs", &["runs"]),
    ("sweeps", &["sweeps"]),
    ("models", &["sweeps"]),
    ("compute", &["compute"]),
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

/// A cluster with one node.
fn make_cluster(client: &Client) {
    put_cluster(client, "nodes", &json!({"provider": {"boot_seconds": 0.1}}));
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
    let places = Places::new(FOUR);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "the split sweep");
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
    is_right(&client, &path);
    all_ends(&client, &places, servers);
}

/// The sweep has made its trials, each once and whole, and everything that was decided is decided again.
fn is_right(client: &Client, path: &str) {
    let end = client.await_version(path, SWEEP_LIMIT, |sweep| sweep["state"] == "Completed");
    assert_eq!(end["best"]["value"], json!(1.0), "{end}");
    assert_eq!(end["best"]["parameters"], json!({"whole": 1}), "{end}");
    let trials = client.list(&format!("{path}/trials"), "trials");
    assert_eq!(trials.len() as u64, TRIALS);
    for trial in &trials {
        assert_eq!((&trial["state"], &trial["intervals"]), (&json!("Completed"), &json!(STEPS)), "{trial}");
    }
    client.assert_verified(path);
}

/// Nothing is left of nodes and processes.
fn all_ends(client: &Client, places: &Places, mut servers: Vec<Server>) {
    assert!([200, 202].contains(&client.delete("clusters/nodes").status));
    let watch = runtime::Stopwatch::start();
    while client.get("clusters/nodes?wait=1s").status != 404 {
        assert!(watch.elapsed() < SWEEP_LIMIT, "the cluster is not gone");
    }
    servers.iter_mut().for_each(Server::stop);
    let left = processes_of(places.home().path());
    assert!(left.is_empty(), "left over: {left:#?}");
}

#[cfg(feature = "postgres")]
mod scaled {
    use trialog_testkit::{Broker, Database, S3Server, kafka, objects_in_s3, postgres, s3};

    use super::*;

    /// Each service by itself, runs and sweeps twice.
    const EIGHT: Layout = &[
        ("workspaces", &["workspaces"]),
        ("runs", &["runs-a", "runs-b"]),
        ("sweeps", &["sweeps-a", "sweeps-b"]),
        ("models", &["models"]),
        ("compute", &["compute"]),
        ("gateway", &["gateway"]),
    ];

    /// Waits until so many trials have ended. What ends by itself meanwhile is started again, as whoever runs a server
    /// does it: a writer ends that cannot find out in time what became of its last commit.
    fn await_ended(client: &Client, path: &str, (servers, away): (&mut [Server], &[usize]), wanted: u64) {
        let watch = runtime::Stopwatch::start();
        let mut version = 0;
        loop {
            let sweep = client.get(&format!("{path}?wait=1s&after_version={version}")).expect(200);
            if ended_trials(&sweep) >= wanted {
                return;
            }
            version = sweep["version"].as_u64().unwrap_or_default();
            assert!(watch.elapsed() < SWEEP_LIMIT, "{wanted} trials have not ended: {sweep}");
            for (_, server) in servers.iter_mut().enumerate().filter(|(place, _)| !away.contains(place)) {
                if server.await_end(Duration::ZERO).is_some() {
                    eprintln!("scaled: {} has ended by itself and is started again", server.data().display());
                    server.begin();
                }
            }
        }
    }

    #[test]
    fn each_service_by_itself_the_database_and_the_broker_are_killed_in_turn_and_the_sweep_is_right() {
        if postgres().is_none() || s3().is_none() {
            return;
        }
        // Beside the home, whose owner's secrets others must not read: a server does not run as root.
        let outside = tempfile::Builder::new().prefix("trialog-scaled-").tempdir_in("/tmp").expect("a folder");
        let database = Database::start(outside.path());
        let broker = kafka().map(|_| Broker::start(outside.path()));
        let bucket = S3Server::start(outside.path());
        let mut text = format!("[store]\nurl = {:?}\n{}", database.url(), objects_in_s3(&bucket.endpoint, "objects"));
        if let Some(broker) = &broker {
            text += &format!("[feed.kafka]\nbootstrap = {:?}\npartitions = 3\n", broker.servers);
        }
        let places = Places::new(EIGHT).configured(&text);
        let _watchdog = Watchdog::new(LIMIT, places.home().path(), "the scaled sweep");
        let mut servers: Vec<Server> =
            ["workspaces", "runs-a", "sweeps-a", "models", "compute"].map(|name| places.start(name)).into();
        servers.push(Server::launch(places.options("sweeps-b")));
        let second = Server::launch(places.options("runs-b"));
        let gateway = places.start("gateway");
        let token = servers[0].token();
        let client = gateway.client_with(&token);
        servers.extend([gateway, second]);
        make_cluster(&client);
        let sweep = client.post("sweeps", &document()).expect(201)["id"].as_str().expect("an id").to_owned();
        let path = format!("sweeps/{sweep}");
        // A writer that is started again at once goes on with its lease; of runs and sweeps it stays away, and the
        // other one takes over.
        let mut away = Vec::new();
        for (wanted, place) in [1, 4, 2, 0, 3, 6].into_iter().enumerate() {
            await_ended(&client, &path, (&mut servers, &away), wanted as u64);
            eprintln!("scaled: killing {}", servers[place].data().display());
            servers[place].kill();
            match (place, &broker) {
                (1, _) => {
                    away.push(place);
                    continue;
                }
                (2, _) => {
                    away.push(place);
                    eprintln!("scaled: killing the database");
                    database.kill_and_restart();
                    continue;
                }
                (3, Some(broker)) => {
                    eprintln!("scaled: killing the broker");
                    broker.kill();
                    broker.restart();
                }
                _ => {}
            }
            servers[place].restart();
        }
        await_ended(&client, &path, (&mut servers, &away), TRIALS);
        is_right(&client, &path);
        servers[1].begin();
        servers[2].begin();
        all_ends(&client, &places, servers);
    }
}

#[test]
fn a_node_whose_agent_runs_refuses_says_so_until_it_does_not() {
    // Its trials were starting for ever, and nobody said why.
    let places = Places::new(FOUR);
    let _watchdog = Watchdog::new(LIMIT, places.home().path(), "a refused agent");
    let mut runs = Server::start(places.options_with_key("runs", &"6b".repeat(32)));
    let _others = ["sweeps", "compute"].map(|process| places.start(process));
    let front = places.start("front");
    let client = front.client();
    make_cluster(&client);
    client.post("sweeps", &document()).expect(201);
    let troubled = |cluster: &Value| cluster["errors"].to_string().contains("runs refuses its agent");
    let shown = client.await_version("clusters/nodes", SWEEP_LIMIT, troubled);
    assert_eq!(shown["node_state_counts"]["unusable"], 1, "{shown}");
    let why = client.get("sweeps/split/trials/0/why").expect(200);
    assert!(why["reason"].as_str().is_some_and(|reason| reason.contains("runs refuses its agent")), "{why}");
    let trial = client.get("sweeps/split/trials/0").expect(200);
    assert!(trial["reason"].as_str().is_some_and(|reason| reason.contains("runs refuses its agent")), "{trial}");
    let log = std::fs::read_to_string(places.home().join("compute.log")).expect("its log");
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
