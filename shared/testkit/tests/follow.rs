//! A log under another incarnation, as after a restore: its followers halt, the server says that it is not ready and
//! which parts are not, and the command that they name settles it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};
use trialog_testkit::{Home, Options, Server, Watchdog, await_that, binary};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(180);
const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the log of runs another incarnation.
fn restore(data: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("db/runs.sqlite"));
        let mut connection = options.connect().await.expect("the database of runs");
        let put = "UPDATE log_meta SET value = 'f00d' WHERE key = 'incarnation'";
        let done = sqlx::query(put).execute(&mut connection).await.expect("the meta of the log");
        assert_eq!(done.rows_affected(), 1);
        connection.close().await.expect("closed");
    });
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    await_that(PATIENCE, || look().ok_or(what))
}

/// Runs a command against the server; what it printed.
fn trialog(server: &Server, words: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(words).env("TRIALOG_API_URL", server.url()).env("TRIALOG_TOKEN", server.token());
    let output = command.output().expect("the binary");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "trialog {}: {said}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn consumers(server: &Server) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&trialog(server, &["feed", "list", "--json"])).expect("JSON");
    listed["consumers"].as_array().expect("a list").clone()
}

fn names(consumers: &[Value], state: &str) -> Vec<String> {
    let of = consumers.iter().filter(|consumer| consumer["state"] == state);
    of.map(|consumer| consumer["consumer"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What `/readyz` waits for, when somebody answers.
fn waiting(server: &Server) -> Option<Vec<String>> {
    let answer =
        trialog_testkit::http().build().and_then(|http| http.get(format!("{}/readyz", server.url())).send()).ok()?;
    let body: Value = serde_json::from_str(&answer.text().ok()?).ok()?;
    serde_json::from_value(body["waiting"].clone()).ok()
}

#[test]
fn followers_of_a_restored_log_halt_say_so_and_go_on_when_it_is_adopted() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the followers of a restored log");
    let mut server = Server::start(Options::up(&home));
    server.client().post("experiments", &json!({"name": "before"})).expect(201);
    let all = ["compute.follow_runs", "runs.follow_jobs", "runs.follow_trials", "sweeps.follow_runs"];
    until("everything is followed", || (names(&consumers(&server), "Following") == all).then_some(()));
    let head = until("the fact is seen", || {
        let positions: Vec<i64> = consumers(&server)
            .iter()
            .filter(|consumer| consumer["follows"] == "runs")
            .filter_map(|consumer| consumer["position"].as_i64())
            .collect();
        (positions.len() == 2 && positions[0] > 0 && positions[0] == positions[1]).then_some(positions[0])
    });
    server.stop();
    restore(server.data());
    let options = Options::up(&home).with(&["--accept-database", "runs"]);
    let mut server = Server::begin_with(options);
    let halted = ["compute.follow_runs", "sweeps.follow_runs"];
    let waits = until("it says what is not ready", || waiting(&server).filter(|waiting| waiting.len() == 2));
    assert_eq!(waits, halted);
    let listed = consumers(&server);
    assert_eq!(names(&listed, "Halted"), halted);
    let reason = listed[0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("trialog feed adopt runs@f00d"), "{reason}");
    trialog(&server, &["feed", "adopt", "runs@f00d", "--from", &head.to_string()]);
    until("it is ready", || waiting(&server).filter(Vec::is_empty));
    assert_eq!(names(&consumers(&server), "Following"), all);
    assert_eq!(trialog(&server, &["feed", "parked"]).lines().count(), 1, "only the head of the table");
    server.stop();
}
