//! A server that cannot write any more ends with a failure instead of living on as a shell, and its next start has
//! everything that was acknowledged.

use std::time::Duration;

use serde_json::json;
use sqlx::{ConnectOptions, Connection};
use trialog_testkit::{Home, Options, Server, Watchdog};

/// For everything: a debug build on a busy machine needs a tenth of it.
const LIMIT: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a log over, as another server that has the same file would.
fn depose(file: &std::path::Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut connection = options.connect().await.expect("the database of the log");
        let done = sqlx::query("UPDATE log_head SET epoch = epoch + 1").execute(&mut connection).await;
        assert_eq!(done.expect("the head of the log").rows_affected(), 1);
        connection.close().await.expect("closed");
    });
}

#[test]
fn a_server_whose_log_was_taken_over_ends_with_a_failure_and_its_next_start_has_everything() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "a server whose log was taken over");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    client.post("experiments", &json!({"name": "before"})).expect(201);
    depose(&server.data().join("db/runs.sqlite"));
    let refused = client.request("POST", "experiments").json(&json!({"name": "after"})).once().send();
    refused.refused(503, "LogUnavailable");
    let status = server.await_end(PATIENCE).expect("a server that cannot write ends");
    assert_eq!(status.code(), Some(1), "{status}");
    let said = std::fs::read_to_string(home.join("up.log")).expect("its output");
    assert!(said.contains("the writer of runs has ended"), "{said}");
    server.restart();
    let names = server.client().get("experiments").expect(200)["experiments"].clone();
    assert!(names.to_string().contains("before") && !names.to_string().contains("after"), "{names}");
    server.stop();
}
