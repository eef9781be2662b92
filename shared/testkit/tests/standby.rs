//! Two processes with the same services on PostgreSQL: one writes, the other one forwards to it, and takes over when it
//! is killed or stands still. Nothing that was acknowledged is lost, nothing is proposed twice.

#![cfg(feature = "postgres")]

use std::time::Duration;

use runtime::Stopwatch;
use serde_json::{Value, json};
use trialog_testkit::{Client, Home, Options, Server, Watchdog, await_that, new_schema, postgres};

/// For everything: a debug build on a busy machine needs a fifth of it.
const LIMIT: Duration = Duration::from_secs(240);
/// From the end of a writer until a command goes through again: 3 s of its lease, and what a busy machine needs.
const TAKEN_OVER_MAX: Duration = Duration::from_secs(15);
const TRIALS: u64 = 24;
/// What may have two processes: their files are in the database.
const REPLICATED: &str = "sweeps,models";

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("a bound address").port()
}

struct Fleet {
    home: Home,
    config: String,
    token: String,
    key: String,
    replicas: [u16; 2],
    front: u16,
}

impl Fleet {
    fn new(url: &str) -> Self {
        let home = Home::new();
        let prefix = new_schema();
        let config = home.write("trialog.toml", &format!("[store]\nurl = {url:?}\nprefix = {prefix:?}\n"));
        let token = home.write("token", "a secret of this installation");
        let key = home.write("signing.key", &"5a".repeat(32));
        let [config, token, key] = [config, token, key].map(|path| path.display().to_string());
        Self { home, config, token, key, replicas: [free_port(), free_port()], front: free_port() }
    }

    fn options(&self, name: &str, services: &str, port: u16) -> Options {
        let listen = format!("127.0.0.1:{port}");
        let common = ["--config", &self.config, "--token-file", &self.token, "--signing-key-file", &self.key];
        Options::serve(&self.home, name, services).with(&common).with(&["--listen", &listen])
    }

    fn replica(&self, place: usize) -> Options {
        let name = ["a", "b"][place];
        let mut options = self.options(name, REPLICATED, self.replicas[place]);
        for service in ["workspaces", "runs", "compute"] {
            options = options.with(&["--peer", &format!("{service}=http://127.0.0.1:{}", self.front)]);
        }
        options
    }

    fn front(&self) -> Options {
        let mut options =
            self.options("front", "workspaces,runs,compute,gateway", self.front).with(&["--http", "127.0.0.1:0"]);
        let [a, b] = self.replicas;
        for service in REPLICATED.split(',') {
            options = options.with(&["--peer", &format!("{service}=http://127.0.0.1:{a},http://127.0.0.1:{b}")]);
        }
        options
    }
}

fn sweep() -> Value {
    json!({
        "name": "told", "mode": "external",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "rule": "sobol", "seed": 3},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": 1},
    })
}

/// Asks for a trial and tells its value; its parameter. Whoever is told to try again does, under the same key.
fn round(client: &Client) -> f64 {
    let begin = Stopwatch::start();
    let asked = client.post("sweeps/told/trials:ask", &json!({"count": 1})).expect(200);
    let trial = &asked["trials"][0];
    let x = trial["parameters"]["x"].as_f64().unwrap_or_else(|| panic!("a number: {asked}"));
    let told = json!({"attempt": trial["attempt"], "value": (x - 0.3).abs(), "final": true});
    let path = format!("sweeps/told/trials/{}:tell", trial["index"]);
    client.post(&path, &told).expect(200);
    assert!(begin.elapsed() < TAKEN_OVER_MAX, "it took {:?}", begin.elapsed());
    x
}

#[test]
fn who_stands_by_takes_over_from_one_that_is_killed_and_from_one_that_stands_still() {
    let Some(url) = postgres() else { return };
    let fleet = Fleet::new(&url);
    let _watchdog = Watchdog::new(LIMIT, fleet.home.path(), "standing by");
    let mut first = Server::start(fleet.replica(0));
    let mut second = Server::launch(fleet.replica(1));
    let front = Server::start(fleet.front());
    let client = front.client();
    client.post("sweeps", &sweep()).expect(201);
    let mut seen: Vec<f64> = (0..TRIALS / 4).map(|_| round(&client)).collect();
    assert!(!second.is_announced(), "it stands by");

    eprintln!("standby: the writer is killed");
    first.kill();
    let begin = Stopwatch::start();
    seen.extend((TRIALS / 4..TRIALS / 2).map(|_| round(&client)));
    eprintln!("standby: six rounds are done {:.1} s later", begin.elapsed().as_secs_f64());
    await_that(TAKEN_OVER_MAX, || second.is_announced().then_some(()).ok_or_else(|| "not taken over".to_owned()));

    // The one that comes back stands by, and forwards what it is asked, until the other one stands still.
    first.begin();
    eprintln!("standby: the writer stands still");
    second.freeze(true);
    let begin = Stopwatch::start();
    seen.extend((TRIALS / 2..TRIALS * 3 / 4).map(|_| round(&client)));
    eprintln!("standby: six rounds are done {:.1} s later", begin.elapsed().as_secs_f64());
    await_that(TAKEN_OVER_MAX, || first.is_announced().then_some(()).ok_or_else(|| "not taken over".to_owned()));
    second.freeze(false);
    let ended = second.await_end(TAKEN_OVER_MAX).expect("it was replaced, and ends");
    assert!(!ended.success(), "{ended}");
    seen.extend((TRIALS * 3 / 4..TRIALS).map(|_| round(&client)));

    let trials = client.list("sweeps/told/trials", "trials");
    let stored: Vec<f64> = trials.iter().map(|trial| trial["parameters"]["x"].as_f64().expect("a number")).collect();
    assert_eq!(stored, seen, "what was answered is what is there, and nothing else");
    assert!(trials.iter().all(|trial| trial["state"] == "Completed"), "{trials:?}");
    let verified = client.post("sweeps/told:verify", &json!({})).expect(200);
    assert_eq!(verified["differences"], json!([]), "{verified}");
}

#[test]
fn nobody_stands_by_for_a_process_that_keeps_files() {
    let Some(url) = postgres() else { return };
    let fleet = Fleet::new(&url);
    let _watchdog = Watchdog::new(LIMIT, fleet.home.path(), "files of another process");
    let peers = |options: Options| {
        let peer = |service: &str| format!("{service}=http://127.0.0.1:{}", fleet.front);
        options.with(&["--peer", &peer("sweeps"), "--peer", &peer("models"), "--peer", &peer("compute")])
    };
    let _first = Server::start(peers(fleet.options("a", "workspaces,runs", fleet.replicas[0])));
    let mut second = Server::launch(peers(fleet.options("b", "workspaces,runs", fleet.replicas[1])));
    let ended = second.await_end(Duration::from_secs(20)).expect("it is refused");
    let said = std::fs::read_to_string(fleet.home.join("b.log")).expect("its log");
    assert!(!ended.success() && said.contains("runs keeps files in that process's data folder"), "{said}");
}
