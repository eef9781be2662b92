//! A server whose services get each other's facts through Kafka: what follows from them is the same, though it dies
//! meanwhile, and everybody sees how far each relay is.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, await_that, http, kafka, new_schema, put_cluster};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);

const PATIENCE: Duration = Duration::from_secs(60);
const TRIALS: usize = 6;

/// What jobs wait at until the test lets them through: a FIFO, of which each takes a line.
struct Gate {
    path: PathBuf,
    lines: File,
}

impl Gate {
    fn new(home: &Home) -> Self {
        let path = home.join("gate");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        // For both, so that it is open before somebody reads, and does not end for those that do.
        let lines = File::options().read(true).write(true).open(&path).expect("a FIFO");
        Self { path, lines }
    }

    fn let_through(&mut self, jobs: usize) {
        self.lines.write_all(&vec![b'\n'; jobs]).expect("it holds so many");
    }
}

/// A sweep whose jobs wait at the gate.
fn submit(client: &Client, gate: &Gate) {
    put_cluster(client, "local", &json!({}));
    let sweep = json!({
        "name": "carried", "cluster": "local",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 2},
        "trial": {
            "command": [
                "sh", "-c", "read line < \"$0\"; echo '{\"trialog\": \"metric\", \"name\": \"score\", \"value\": 1.5}'",
                gate.path,
            ],
            "resources": {"cpu_count": 1},
        },
    });
    client.post("sweeps", &sweep).expect(201);
}

fn ended(client: &Client) -> usize {
    client.list("sweeps/carried/trials", "trials").iter().filter(|trial| trial["state"] == "Completed").count()
}

/// The followers and relays, by name: where each is.
fn consumers(client: &Client) -> Vec<(String, String, i64)> {
    let listed = client.get("/api/v1/feed/consumers").expect(200);
    let text = |consumer: &Value, name: &str| consumer[name].as_str().unwrap_or_default().to_owned();
    let shown = |consumer: &Value| {
        (text(consumer, "consumer"), text(consumer, "state"), consumer["position"].as_i64().unwrap_or_default())
    };
    listed["consumers"].as_array().expect("a list").iter().map(shown).collect()
}

/// What `/readyz` waits for.
fn waiting(server: &Server) -> Vec<String> {
    let answer =
        http().build().and_then(|http| http.get(format!("{}/readyz", server.url())).send()).expect("an answer");
    let body: Value = serde_json::from_str(&answer.text().expect("a text")).expect("JSON");
    serde_json::from_value(body["waiting"].clone()).unwrap_or_default()
}

#[test]
fn services_that_meet_through_kafka_lead_to_the_same() {
    let Some(servers) = kafka() else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a server whose facts go through Kafka");
    let config = home.write(
        "trialog.toml",
        &format!("[feed.kafka]\nbootstrap = {servers:?}\nprefix = {:?}\npartitions = 3\n", new_schema()),
    );
    let mut server = Server::start(Options::up(&home).with(&["--config", config.to_str().expect("plain")]));
    let client = server.client();
    let mut gate = Gate::new(&home);
    submit(&client, &gate);
    gate.let_through(2);
    await_that(PATIENCE, || if ended(&client) == 2 { Ok(()) } else { Err("two trials have not ended") });
    server.kill();
    gate.let_through(TRIALS - 2);
    server.restart();
    let client = server.client();
    let over = |sweep: &Value| sweep["state"] == "Completed" || sweep["state"] == "Failed";
    let swept = client.await_version("sweeps/carried", PATIENCE, over);
    assert_eq!((swept["state"].as_str(), ended(&client)), (Some("Completed"), TRIALS), "{swept}");
    client.assert_verified("sweeps/carried");
    let followed = await_that(PATIENCE, || {
        let all = consumers(&client);
        let relays =
            all.iter().filter(|(name, state, _)| name.ends_with(".kafka_relay") && state == "Following").count();
        let is_well = all.iter().all(|(_, state, _)| state == "Following");
        if relays == 5 && is_well { Ok(all) } else { Err(format!("{all:?}")) }
    });
    assert!(followed.len() > 5, "followers too: {followed:?}");
    let page = client.get("/metrics").text();
    assert!(page.contains("trialog_feed_lag_events{consumer=\"sweeps.kafka_relay\"} "), "{page}");
    assert!(waiting(&server).is_empty());
    server.stop();
}
