//! A server whose logs are on PostgreSQL: what was acknowledged survives its death, and everything that was decided is
//! decided again.

#![cfg(feature = "postgres")]

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, binary, postgres};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);

/// Trials of the sweep, and after how many the server is killed.
const TRIALS: u64 = 12;
const KILLED_AFTER: u64 = 5;

fn sweep() -> Value {
    json!({
        "name": "told", "mode": "external",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "rule": "sobol", "seed": 3},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 1},
    })
}

/// Asks for a trial and tells its value; its parameter.
fn round(client: &Client) -> f64 {
    let asked = client.post("sweeps/told/trials:ask", &json!({"count": 1})).expect(200);
    let trial = &asked["trials"][0];
    let x = trial["parameters"]["x"].as_f64().expect("a number");
    let (index, attempt) = (&trial["index"], &trial["attempt"]);
    let told = json!({"attempt": attempt, "value": (x - 0.3).abs(), "final": true});
    client.post(&format!("sweeps/told/trials/{index}:tell"), &told).expect(200);
    x
}

#[test]
fn a_server_on_postgres_survives_its_death_and_is_verified() {
    let Some(url) = postgres() else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a server on PostgreSQL");
    let prefix = format!("p{}", std::process::id());
    let config = home.join("trialog.toml");
    std::fs::write(&config, format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n")).expect("the configuration");
    let config = config.to_str().expect("plain").to_owned();
    let mut server = Server::start(Options::up(&home).with(&["--config", &config]));
    server.client().post("sweeps", &sweep()).expect(201);
    let mut seen: Vec<f64> = (0..KILLED_AFTER).map(|_| round(&server.client())).collect();
    server.kill();
    server.restart();
    let client = server.client();
    seen.extend((KILLED_AFTER..TRIALS).map(|_| round(&client)));
    let trials = client.list("sweeps/told/trials", "trials");
    let stored: Vec<f64> = trials.iter().map(|trial| trial["parameters"]["x"].as_f64().expect("a number")).collect();
    assert_eq!((stored, trials.len() as u64), (seen, TRIALS));
    assert!(trials.iter().all(|trial| trial["state"] == "Completed"), "{trials:?}");
    let verified = client.post("sweeps/told:verify", &json!({})).expect(200);
    assert_eq!(verified["differences"], json!([]), "{verified}");
    assert!(!server.data().join("db/runs.sqlite").exists(), "nothing lies beside the database");
    server.stop();
    let doctor = Command::new(binary()).args(["doctor", "--config", &config, "--data"]).arg(server.data()).output();
    let doctor = doctor.expect("doctor");
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success() && text.contains("sound"), "{text}{}", String::from_utf8_lossy(&doctor.stderr));
    // The folder knows which database it has: another one in its place is refused.
    std::fs::write(&config, format!("[store]\nurl = {url:?}\nprefix = \"{prefix}other\"\n"))
        .expect("the configuration");
    let up = ["up", "--listen", "127.0.0.1:0", "--config", &config, "--data"];
    let refused = Command::new(binary()).args(up).arg(server.data()).output().expect("up");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("missing or empty"), "{said}");
}
