//! How many commits lie one behind the other between a request and what it leads to, and how many events that takes:
//! each commit is a wait for the disk, and each event is read, shipped and folded for ever.
//!
//! A chain is followed back by causation: an event names the fact that its command came from, and all events of a
//! command are in one commit.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, Row};
use trialog_testkit::{Client, Home, Options, Server, Watchdog};

const LIMIT: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(40);
const SERVICES: [&str; 3] = ["sweeps", "runs", "compute"];
/// How the names of the streams begin that a trial has in them.
const STREAMS: [&str; 3] = ["sweep-", "run-", "job-"];

/// An event of some log.
#[derive(Clone, Debug)]
struct Event {
    service: &'static str,
    position: i64,
    stream: String,
    kind: String,
    command: Vec<u8>,
    actor: String,
    /// SERVICE@INCARNATION:POSITION of the fact that it follows from.
    causation: Option<String>,
    data: Value,
}

impl Event {
    fn name(&self) -> String {
        format!("{} {}", self.service, self.kind)
    }
}

/// All events of the logs below a data folder.
struct Logs {
    events: Vec<Event>,
    by_place: HashMap<(String, i64), usize>,
}

impl Logs {
    fn read(data: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut events = Vec::new();
        for service in SERVICES {
            runtime.block_on(async { read_log(data, service, &mut events).await });
        }
        let places = events.iter().enumerate();
        let by_place = places.map(|(index, event)| ((event.service.to_owned(), event.position), index)).collect();
        Self { events, by_place }
    }

    fn the(&self, service: &str, kind: &str, holds: impl Fn(&Event) -> bool) -> &Event {
        let found = self.events.iter().find(|event| event.service == service && event.kind == kind && holds(event));
        found.unwrap_or_else(|| panic!("no {kind} of {service} in {:?}", self.events))
    }

    /// The commits from the one that a request led to, to the one of this event.
    fn chain(&self, event: &Event) -> Vec<String> {
        let mut commits = vec![event.name()];
        let mut at = event;
        while let Some(causation) = &at.causation {
            let (source, position) = causation.rsplit_once(':').expect("SOURCE:POSITION");
            let service = source.split('@').next().expect("a service").to_owned();
            let place = (service, position.parse().expect("a position"));
            at = &self.events[*self.by_place.get(&place).unwrap_or_else(|| panic!("{causation} is in no log"))];
            commits.push(at.name());
        }
        assert!(!at.actor.starts_with("reaction:"), "a reaction that names no cause hides commits: {at:?}");
        assert_ne!(at.actor, "scheduler", "what a scheduler finds later hides commits: {at:?}");
        commits.reverse();
        commits
    }

    /// The events of a trial's sweep, run and job up to where it runs, by commit, in the order of each log.
    fn up_to_running(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for (service, prefix) in SERVICES.into_iter().zip(STREAMS) {
            let mut last = Vec::new();
            for event in self.events.iter().filter(|event| event.service == service && event.stream.starts_with(prefix))
            {
                match found.last_mut().filter(|_| event.command == last) {
                    Some(commit) => commit.push_str(&format!(" + {}", event.kind)),
                    None => found.push(event.name()),
                }
                last.clone_from(&event.command);
                if [&event.data["state"], &event.data["phase"]]
                    .iter()
                    .any(|at| ["Running", "running"].contains(&at.as_str().unwrap_or_default()))
                {
                    break;
                }
            }
        }
        found
    }
}

async fn read_log(data: &Path, service: &'static str, events: &mut Vec<Event>) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join(format!("db/{service}.sqlite")));
    let mut connection = options.connect().await.expect("the database of a service");
    let all = "SELECT position, stream_id, type, command_id, data, meta FROM events ORDER BY position";
    for row in sqlx::query(all).fetch_all(&mut connection).await.expect("events") {
        let meta: Value = serde_json::from_str(row.get::<&str, _>("meta")).expect("meta");
        events.push(Event {
            service,
            position: row.get("position"),
            stream: row.get("stream_id"),
            kind: row.get("type"),
            command: row.get("command_id"),
            actor: meta["actor"].as_str().unwrap_or_default().to_owned(),
            causation: meta["causation"].as_str().map(str::to_owned),
            data: serde_json::from_str(row.get::<&str, _>("data")).expect("data"),
        });
    }
    connection.close().await.expect("closed");
}

/// A node that is there.
fn warm(client: &Client) {
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated", "scale": {"min_nodes": 1, "max_nodes": 1},
        "provider": {"kind": "local", "boot_seconds": 0}
    });
    client.put("clusters/warm", &cluster).expect(201);
    client.await_version("clusters/warm", PATIENCE, |cluster| cluster["node_state_counts"]["idle"] == json!(1));
}

/// Submits a sweep of so many trials beside each other; its path.
fn sweep(client: &Client, name: &str, trials: u32, script: &str, argument: &str) -> String {
    let document = json!({
        "name": name, "cluster": "warm",
        "objective": {"goal": "minimize", "primary_metric": "loss", "target": 0.7},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": trials, "max_concurrent_trials": trials},
        "trial": {
            "command": ["/bin/sh", "-c", script, "trial", argument],
            "resources": {"cpu_count": 1, "memory_bytes": 1 << 24}
        }
    });
    let sweep = client.post("sweeps", &document).expect(201);
    format!("sweeps/{}", sweep["id"].as_str().expect("an id"))
}

#[test]
fn three_commits_lie_between_a_sweep_and_its_process_and_four_between_a_report_and_its_stop() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the counted sweep");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    warm(&client);
    // The trial ends once it is seen running.
    let go = home.join("go");
    let one = sweep(&client, "one", 1, r#"while [ ! -e "$1" ]; do sleep 0.02; done"#, &go.display().to_string());
    client.await_version(&one, PATIENCE, |sweep| sweep["trial_counts"]["Running"] == json!(1));
    home.write("go", "");
    client.await_version(&one, PATIENCE, |sweep| sweep["ended_at"] != "");
    // The first trial reaches the target, which stops the other one.
    let script = r#"[ "$1" = 0 ] || exec sleep 600
        echo '{"trialog": "metric", "name": "loss", "value": 0.5, "step": 1}'"#;
    let two = sweep(&client, "two", 2, script, "${{trial.index}}");
    client.await_version(&two, PATIENCE, |sweep| sweep["state"] == "Completed");
    server.kill();
    let logs = Logs::read(&home.join("d"));
    let placed = logs.the("compute", "JobPlaced", |_| true);
    let start = logs.chain(placed);
    assert_eq!(start, ["sweeps TrialProposed", "runs RunCreated", "compute JobPlaced"]);
    let asked = logs.the("sweeps", "SweepSubmitted", |_| true);
    let proposed = logs.the("sweeps", "TrialProposed", |_| true);
    assert_eq!(asked.command, proposed.command, "its first trials are proposed with it");
    let stop = logs.chain(logs.the("compute", "StopRequested", |_| true));
    let report = stop.iter().position(|commit| commit == "runs MetricReported").expect("the report");
    assert_eq!(
        stop[report..],
        ["runs MetricReported", "sweeps TrialStopRequested", "runs RunStopRequested", "compute StopRequested"]
    );
    // Eleven events: what was not decided by the three is only that it starts, and that it runs.
    let expected = [
        "sweeps SweepSubmitted + SweepStarted + TrialProposed",
        "sweeps TrialStateChanged",
        "sweeps TrialStateChanged",
        "runs RunCreated",
        "runs RunStateChanged",
        "runs RunStateChanged",
        "compute JobQueued + JobPlaced",
        "compute JobPhaseChanged",
    ];
    assert_eq!(logs.up_to_running(), expected);
}

#[test]
fn two_commits_lie_between_a_run_and_its_process() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the counted run");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    warm(&client);
    let job = json!({
        "cluster": "warm", "command": ["/bin/true"], "resources": {"cpu_count": 1, "memory_bytes": 1 << 24}
    });
    let run = client.post("runs", &json!({"name": "start", "job": job})).expect(201);
    let path = format!("runs/{}", run["run_id"].as_str().expect("an id"));
    client.await_version(&path, PATIENCE, |run| run["state"] == "Completed");
    server.kill();
    let logs = Logs::read(&home.join("d"));
    let start = logs.chain(logs.the("compute", "JobPlaced", |_| true));
    assert_eq!(start, ["runs RunCreated", "compute JobPlaced"]);
}
