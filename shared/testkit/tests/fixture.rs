//! A data folder that an older build left is opened by this one: what was recorded reads as before, every suggestion
//! and decision is computed again to the bit, what waits goes on, and a fault in the log is found.
//!
//! `cargo test -p trialog-testkit --test fixture`

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Fixture, Home, Options, Server, Watchdog, await_that, binary, open_to_others};

/// The commit whose binary made the folder.
const COMMIT: &str = "629f652";
/// For everything: 25 s on a free machine, of which most is the recomputation of models; far more where ten share it.
const LIMIT: Duration = Duration::from_secs(900);
/// For one sweep or one endpoint.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a new start may change about clusters, endpoints and deployments: the nodes of the old folder are gone, and the
/// port is another. Everything else about them, and all about everything else, stays.
const FLEETING: [&str; 11] = [
    "allocation_state",
    "allocation_state_changed_at",
    "current_node_count",
    "effective_traffic",
    "node_state_counts",
    "provisioning_state",
    "ready_count",
    "replicas",
    "scoring_uri",
    "target_node_count",
    "version",
];

fn is_fleeting(path: &str, name: &str) -> bool {
    // Of importance the ends of an interval are made otherwise, since shares lay outside of their own.
    if path.ends_with(":importance") && ["low", "high"].contains(&name) {
        return true;
    }
    let is_of_the_fleet = ["/clusters", "/endpoints"].iter().any(|part| path.contains(part));
    name == "next_page_token" || (is_of_the_fleet && FLEETING.contains(&name))
}

/// Whatever is recorded and is not found, or is found otherwise. More may be found: fields are added over time.
fn missing(path: &str, place: &str, recorded: &Value, found: &Value, faults: &mut Vec<String>) {
    match (recorded, found) {
        (Value::Object(recorded), Value::Object(found)) => {
            for (name, value) in recorded.iter().filter(|(name, _)| !is_fleeting(path, name)) {
                let found = found.get(name).unwrap_or(&Value::Null);
                missing(path, &format!("{place}/{name}"), value, found, faults);
            }
        }
        (Value::Array(recorded), Value::Array(found)) if recorded.len() == found.len() => {
            for (at, (recorded, found)) in recorded.iter().zip(found).enumerate() {
                missing(path, &format!("{place}/{at}"), recorded, found, faults);
            }
        }
        _ if recorded == found => {}
        _ => faults.push(format!("{path} at {place}: recorded {recorded}, found {found}")),
    }
}

fn full(path: &str) -> String {
    format!("/api/v1/workspaces{}{path}", if path.is_empty() { "" } else { "/" })
}

fn verify(client: &Client, path: &str) -> Value {
    client.post(&format!("{}:verify", full(path)), &json!({})).expect(200)
}

/// The path of the sweep with that name in the first workspace.
fn path_of(fixture: &Fixture, name: &str) -> String {
    let found =
        fixture.verified().into_iter().find(|(path, sweep)| path.starts_with("default/") && sweep["name"] == name);
    found.unwrap_or_else(|| panic!("no sweep {name}")).0
}

#[test]
fn a_folder_of_an_older_build_reads_verifies_and_goes_on() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the older build's folder");
    let fixture = Fixture::of(COMMIT);
    let recorded = fixture.unpack(&home);
    let mut server = Server::start(Options::up(&home));
    let client = server.client();

    for (path, before) in fixture.verified() {
        let now = verify(&client, &path);
        assert_eq!(now["checked"], before["checked"], "{path}: {now}");
        assert_eq!(now["differences"], json!([]), "{path}: {now}");
        assert_eq!(now["log"], before["log"], "{path}: {now}");
        // Imported trials were no proposals of ours: they are counted apart, and are no bad news.
        assert_eq!((&now["imported"], &now["unverifiable"]), (&before["imported"], &Value::Null), "{path}: {now}");
    }
    let mut faults = Vec::new();
    for (path, before) in &recorded {
        let now = client.get(&full(path));
        // Importance has an answer of few trials, too, once its sweep is over.
        let answers_now = path.ends_with(":importance") && before.status == 409 && now.status == 200;
        assert!(now.status == before.status || answers_now, "{path}: {} {}", now.status, now.text());
        if before.status == 200 {
            missing(path, "", &before.answer, &now.json(), &mut faults);
        }
    }
    assert!(
        faults.is_empty(),
        "{} fields read otherwise:\n{}",
        faults.len(),
        faults[..faults.len().min(30)].join("\n")
    );

    a_model_goes_on(&client, &path_of(&fixture, "auto"));
    paused_trials_go_on(&client, &path_of(&fixture, "paused"));
    a_deployment_comes_back(&client);
    // An older version left them readable; agents, shims, replicas and their jobs have written since.
    let open = open_to_others(server.data());
    assert!(open.is_empty(), "{} open to others:\n{}", open.len(), open.join("\n"));
    server.stop();
}

/// Asks for what is left and tells its values; fits and suggestions follow from those of the older build.
fn a_model_goes_on(client: &Client, path: &str) {
    let trials = format!("{}/trials", full(path));
    let before = verify(client, path)["checked"]["proposals"].as_u64().expect("a count");
    let mut told = 0;
    loop {
        let asked = client.post(&format!("{trials}:ask"), &json!({"count": 2})).expect(200);
        let asked = asked["trials"].as_array().expect("trials");
        if asked.is_empty() {
            break;
        }
        for trial in asked {
            let x = trial["parameters"]["x"].as_f64().expect("x");
            let tell = json!({"attempt": 1, "value": 4.0 - (x - 0.4).powi(2), "final": true});
            client.post(&format!("{trials}/{}:tell", trial["index"]), &tell).expect(200);
            told += 1;
        }
    }
    let after = verify(client, path);
    assert!(told > 0, "{after}");
    assert_eq!((&after["checked"]["proposals"], &after["differences"]), (&json!(before + told), &json!([])), "{after}");
}

fn paused_trials_go_on(client: &Client, path: &str) {
    client.post(&format!("{}:resume", full(path)), &json!({})).expect(200);
    let ended = client.await_version(&full(path), PATIENCE, |sweep| sweep["state"] == "Completed");
    let trials = client.list(&format!("{}/trials", full(path)), "trials");
    assert_eq!(trials.len() as u64, ended["max_total_trials"].as_u64().expect("a total"), "{trials:?}");
    assert!(trials[..2].iter().all(|trial| trial["attempt"] == 2 && trial["intervals"] == 30), "{trials:?}");
    let after = verify(client, path);
    assert_eq!(after["differences"], json!([]), "{after}");
}

/// Its node and its process are gone with the older machine: both are replaced.
fn a_deployment_comes_back(client: &Client) {
    let score = || client.request("POST", "/endpoints/default/lines/score").json(&json!([1, 2])).once().send();
    let answer = await_that(PATIENCE, || match score() {
        answer if answer.status == 200 => Ok(answer),
        answer => Err(format!("the endpoint does not answer: {} {}", answer.status, answer.text())),
    });
    assert_eq!((answer.json(), answer.header("trialog-model-version")), (json!([1, 2]), "lines/1"));
}

/// Changes an event of a stopped server's log: what a fault on the disk or in a later build might have done.
fn plant(data: &Path, change: &str) {
    let script = "import sqlite3, sys\n\
                  with sqlite3.connect(sys.argv[1]) as log:\n    \
                      assert log.execute(sys.argv[2]).rowcount == 1, 'one event is changed'\n";
    let database = data.join("db/sweeps.sqlite");
    let done = Command::new("python3").args(["-c", script]).arg(&database).arg(change).output().expect("python3");
    assert!(done.status.success(), "{change}: {}", String::from_utf8_lossy(&done.stderr));
}

/// The exit code and the output of `trialog verify`.
fn verify_by_command(server: &Server, sweep: &str) -> (Option<i32>, String) {
    let done = Command::new(binary())
        .args(["verify", sweep])
        .env("TRIALOG_API_URL", server.url())
        .env("TRIALOG_TOKEN", server.token())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
    let text = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (done.status.code(), text)
}

#[test]
fn verify_ends_with_1_on_what_differs_and_on_what_cannot_be_computed_again() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the planted faults");
    Fixture::of(COMMIT).unpack(&home);
    let data = home.join("d");
    let of = |sweep: &str| {
        let stream = format!(
            "SELECT stream_id FROM events WHERE type = 'SweepSubmitted' AND json_extract(data, '$.spec.name') = \
             '{sweep}' LIMIT 1"
        );
        format!(
            "UPDATE events SET data = json_set(data, '$.WHAT', json('VALUE')) WHERE position = (SELECT max(position) \
             FROM events WHERE type = 'TrialProposed' AND stream_id = ({stream}))"
        )
    };
    plant(&data, &of("sobol").replace("WHAT", "draws[0].u").replace("VALUE", "0.12345"));
    plant(&data, &of("tpe").replace("WHAT", "sampler_version").replace("VALUE", "999"));
    let server = Server::start(Options::up(&home));

    let (code, text) = verify_by_command(&server, "grid");
    assert_eq!(code, Some(0), "{text}");
    // Trials that were finished elsewhere were never proposed here.
    let (code, text) = verify_by_command(&server, "imported");
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = verify_by_command(&server, "sobol");
    assert!(code == Some(1) && text.contains("0.12345"), "{code:?}: {text}");
    let (code, text) = verify_by_command(&server, "tpe");
    assert!(code == Some(1) && text.contains("version 999"), "{code:?}: {text}");
}
