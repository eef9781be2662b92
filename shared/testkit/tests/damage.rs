//! Data folders that an accident has met: the server says so instead of writing beside the damage.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;
use trialog_testkit::{Client, Fixture, Home, Options, Server, Watchdog, await_that, binary};

/// For each test: a server that starts where it should refuse would not end.
const LIMIT: Duration = Duration::from_secs(120);

/// A folder with data of every service.
fn folder() -> Home {
    let home = Home::new();
    Fixture::of("629f652").unpack(&home);
    home
}

/// The exit code and the output of a command on the folder that has to end by itself.
fn ends(home: &Home, words: &[&str]) -> (Option<i32>, String) {
    let done = Command::new(binary())
        .args(words)
        .arg("--data")
        .arg(home.join("d"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code(), text)
}

fn refused(home: &Home, service: &str, why: &str) {
    let (code, text) = ends(home, &["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(1), "{text}");
    let words = [&format!("database of {service} "), why, "backup", &format!("--accept-database {service}")];
    assert!(words.iter().all(|words| text.contains(words)), "{text}");
}

fn database(home: &Home, service: &str) -> std::path::PathBuf {
    home.join(&format!("d/db/{service}.sqlite"))
}

/// With what SQLite keeps beside it.
fn remove(database: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{ending}", database.display()));
    }
}

#[test]
fn a_database_that_is_gone_or_empty_or_another_is_refused_at_the_start() {
    // The others would go on from what it said, and a run would be made twice under another number.
    let home = folder();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a start on a damaged folder");
    let models = database(&home, "models");
    let kept = home.join("models.kept");
    fs::rename(&models, &kept).expect("the fixture has models");
    refused(&home, "models", "missing");
    fs::write(&models, "").expect("an empty file");
    refused(&home, "models", "empty");
    fs::copy(&kept, &models).expect("the backup is put back");
    let mut server = Server::start(Options::up(&home));
    server.stop();

    // From here on the folder remembers what it had, also of a service that nobody follows.
    let new = Home::new();
    Server::start(Options::up(&new)).stop();
    remove(&models);
    for ending in ["", "-wal"] {
        let (from, to) = (database(&new, "models"), models.display());
        let (from, to) = (format!("{}{ending}", from.display()), format!("{to}{ending}"));
        // A log that was closed well has written its WAL back and leaves none.
        if ending.is_empty() || fs::exists(&from).expect("the other folder can be read") {
            fs::copy(from, to).expect("a database of another folder");
        }
    }
    refused(&home, "models", "another one");
    remove(&models);
    refused(&home, "models", "missing");
    let mut server = Server::start(Options::up(&home).with(&["--accept-database", "models"]));
    assert_eq!(server.client().list("models", "models"), Vec::<serde_json::Value>::new());
    server.stop();
    Server::start(Options::up(&home)).stop();
}

/// An external sweep of one trial, told to its end.
fn sweep(client: &Client, name: &str) {
    let document = json!({
        "name": name, "mode": "external", "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 3}, "limits": {"max_total_trials": 1},
    });
    client.post("sweeps", &document).expect(201);
    client.post(&format!("sweeps/{name}/trials:ask"), &json!({"count": 1})).expect(200);
    let trials = client.list(&format!("sweeps/{name}/trials"), "trials");
    let run = trials[0]["run_id"].as_str().expect("a run").to_owned();
    let told = json!({"attempt": 1, "value": 0.5, "final": true});
    client.post(&format!("sweeps/{name}/trials/0:tell"), &told).expect(200);
    client.await_run(&run, LIMIT, |run| run["state"] == "Completed");
}

#[test]
fn a_database_that_was_set_back_is_refused_and_becomes_another_log_when_it_is_accepted() {
    // Its positions come again with other events: whoever has followed it would pass them over.
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a start on a log that was set back");
    let mut server = Server::start(Options::up(&home));
    sweep(&server.client(), "first");
    server.stop();
    let (file, kept) = (database(&home, "sweeps"), home.join("sweeps.kept"));
    fs::copy(&file, &kept).expect("the database of sweeps");
    server.restart();
    sweep(&server.client(), "lost");
    server.stop();
    remove(&file);
    fs::copy(&kept, &file).expect("the backup");
    refused(&home, "sweeps", "set back");
    let mut server = Server::begin_with(Options::up(&home).with(&["--accept-database", "sweeps"]));
    await_that(LIMIT, || {
        let said = fs::read_to_string(home.join("up.log")).unwrap_or_default();
        if said.contains("trialog feed adopt sweeps@") { Ok(()) } else { Err(said) }
    });
    let sweeps = server.client().list("sweeps", "sweeps");
    assert_eq!(sweeps.iter().map(|sweep| sweep["name"].clone()).collect::<Vec<_>>(), ["first"]);
    server.stop();
    // It is what the folder has now.
    let mut server = Server::begin_with(Options::up(&home));
    server.stop();
}

/// Runs SQL on a database of a stopped server.
fn change(file: &Path, sql: &str) {
    let script = "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as log: log.execute(sys.argv[2])\n";
    let done = Command::new("python3").args(["-c", script]).arg(file).arg(sql).output().expect("python3");
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Overwrites every second page after the first ones: schema and head stay readable, as after a bad sector.
fn overwrite_pages(file: &Path) {
    const PAGE: usize = 4096;
    let mut bytes = fs::read(file).expect("a database");
    let pages = bytes.len() / PAGE;
    assert!(pages > 40, "{} has {pages} pages", file.display());
    for page in (30..pages).step_by(2) {
        bytes[page * PAGE..(page + 1) * PAGE].fill(0xA5);
    }
    fs::write(file, bytes).expect("a database");
}

#[test]
fn doctor_finds_damage_and_says_so_with_its_exit_code() {
    let home = folder();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the doctor");
    let (code, text) = ends(&home, &["doctor"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("sound"), "{text}");
    // From here on it has the tables of this build, in the files alone: who copies them has a backup.
    Server::start(Options::up(&home)).stop();
    let beside = |service: &str| fs::metadata(format!("{}-wal", database(&home, service).display()));
    for service in ["workspaces", "runs", "sweeps", "models", "compute"] {
        assert_eq!(beside(service).map_or(0, |wal| wal.len()), 0, "{service} lacks what lies beside it");
    }
    for (service, sql, found) in [
        // What sweeps took from runs is more than runs has: runs was restored from an older backup.
        ("sweeps", "UPDATE projection_cursor SET last_position = last_position + 1000000", "that log ends at"),
        ("runs", "DELETE FROM events WHERE position = 7", "events, and the last one is at position"),
        ("compute", "UPDATE log_head SET last_position = last_position + 5", "the log is damaged"),
        // Its followers park it wherever it is met.
        ("runs", "UPDATE events SET data = '{}' WHERE position = 7", "runs: event 7 of "),
        (
            "sweeps",
            "INSERT INTO feed_parked(projection, source, partition, position, lane, cause, error, parked_at, fact)
             VALUES ('follow_runs', 'runs@1', 0, 7, 'a', 'poison', 'as it should', 1, x'')",
            "follow_runs has parked a lane",
        ),
    ] {
        let (file, kept) = (database(&home, service), home.join("kept.sqlite"));
        fs::copy(&file, &kept).expect("a backup");
        change(&file, sql);
        let (code, text) = ends(&home, &["doctor"]);
        assert!(code == Some(1) && text.contains(found), "{sql}: {code:?} {text}");
        let (code, json) = ends(&home, &["doctor", "-o", "json"]);
        let told = json.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let faults = told.unwrap_or_default()["data_folder"]["faults"].as_array().cloned().unwrap_or_default();
        assert!(code == Some(1) && faults.iter().any(|fault| fault.to_string().contains(found)), "{sql}: {json}");
        assert!(faults.len() != 1 || text.contains("1 fault in"), "{text}");
        fs::copy(&kept, &file).expect("the backup is put back");
    }
    overwrite_pages(&database(&home, "runs"));
    let (code, text) = ends(&home, &["doctor"]);
    assert!(code == Some(1) && text.contains("wrong: runs: "), "{code:?} {text}");
    let (code, text) = ends(&home, &["up", "--listen", "127.0.0.1:0"]);
    assert!(code == Some(1) && text.contains("db/runs.sqlite"), "which file is damaged: {code:?} {text}");
}

#[test]
fn a_full_disk_is_told_by_readyz() {
    // A balancer must send writes elsewhere, and an operator be told before the first one fails.
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the full disk");
    let config = home.write("config.toml", "[disk]\nfree_bytes_min = 9000000000000000000\n");
    let mut server = Server::start(Options::up(&home));
    assert_eq!(server.client().get("/readyz").expect(200)["waiting"], serde_json::json!([]));
    server.stop();
    let mut full = Command::new(binary())
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(home.join("d"))
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    // Away at first, then without its tokens, then without room.
    await_that(LIMIT / 2, || {
        assert!(full.try_wait().is_ok_and(|ended| ended.is_none()), "a full disk does not end the server");
        let readiness = readiness(&home);
        if readiness.contains("\"runs.disk\"") { Ok(()) } else { Err(readiness) }
    });
    full.kill().expect("it runs");
    full.wait().expect("a child can be waited for");
}

#[test]
fn a_server_that_cannot_print_answers_all_the_same() {
    // Its log lies on the disk that is full. Once a line that could not be written cut the connection it was about.
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the log on a full disk");
    let mut server = Server::start(Options { log: "/dev/full".into(), ..Options::up(&home) });
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let path = format!("objects/sha256:{hash}");
    let client = server.client();
    client.request("PUT", &path).body("application/octet-stream", "test").send().expect(201);
    let file = home.join(&format!("d/objects/sha256/{}/{hash}", &hash[..2]));
    fs::write(&file, "tess").expect("the object can be damaged");
    client.request("GET", &path).once().send().refused(500, "ObjectDamaged");
    server.stop();
}

/// What `/readyz` answers; empty while nobody does.
fn readiness(home: &Home) -> String {
    let announced = fs::read(home.join("d/run/server.json")).unwrap_or_default();
    let announced: serde_json::Value = serde_json::from_slice(&announced).unwrap_or_default();
    let Some(url) = announced["url"].as_str() else { return String::new() };
    trialog_testkit::http()
        .build()
        .and_then(|http| http.get(format!("{url}/readyz")).send())
        .and_then(|answer| answer.text())
        .unwrap_or_default()
}
