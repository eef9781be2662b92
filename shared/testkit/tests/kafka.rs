//! A server whose services get each other's facts through Kafka: what follows from them is the same, though it dies
//! meanwhile, and everybody sees how far each relay is.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, await_that, http, kafka, new_schema};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);

const PATIENCE: Duration = Duration::from_secs(60);
const TRIALS: usize = 6;

/// A sweep whose jobs take a moment each.
fn submit(client: &Client) {
    let cluster = json!({
        "vm_size": "D2", "vm_priority": "dedicated",
        "scale": {"min_nodes": 0, "max_nodes": 1, "idle_seconds_before_scaledown": 600},
        "provider": {"kind": "local", "boot_seconds": 0, "notice_seconds": 1}
    });
    let put = client.put("clusters/local", &cluster);
    assert!([200, 201].contains(&put.status), "{}", put.text());
    let sweep = json!({
        "name": "carried", "cluster": "local",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 2},
        "trial": {
            "command": ["sh", "-c", "sleep 0.5; echo '{\"trialog\": \"metric\", \"name\": \"score\", \"value\": 1.5}'"],
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
    submit(&client);
    await_that(PATIENCE, || if ended(&client) >= 2 { Ok(()) } else { Err("no trial has ended") });
    server.kill();
    server.restart();
    let client = server.client();
    let over = |sweep: &Value| sweep["state"] == "Completed" || sweep["state"] == "Failed";
    let swept = client.await_version("sweeps/carried", PATIENCE, over);
    assert_eq!((swept["state"].as_str(), ended(&client)), (Some("Completed"), TRIALS), "{swept}");
    let verified = client.post("sweeps/carried:verify", &json!({})).expect(200);
    assert_eq!(verified["differences"], json!([]), "{verified}");
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
