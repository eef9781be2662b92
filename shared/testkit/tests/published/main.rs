//! What is published is what is there: openapi.json is valid and a client that is made of it reads all runs, page by
//! page; the schemas take the documents that `init` writes, and refuse what the server refuses.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use trialog_testkit::{Home, Options, Server, Watchdog, binary, python_with};

/// For everything: making the client takes the longest.
const LIMIT: Duration = Duration::from_secs(240);
/// Runs that are paged through, two at a time.
const RUNS: usize = 5;

const CHECK: &str = include_str!("check.py");

#[test]
fn the_published_surface_is_the_one_that_is_there() {
    let Some(python) = python_with(&["openapi_spec_validator", "openapi_python_client", "jsonschema"]) else { return };
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "what is published");
    let server = Server::start(Options::up(&home));
    let client = server.client();
    for number in 0..RUNS {
        client.post("runs", &json!({"experiment": "paged", "name": format!("run {number}")})).expect(201);
    }
    for (kind, preset, folder) in [
        ("sweep", "plain", "plain"),
        ("sweep", "sklearn", "sklearn"),
        ("sweep", "pytorch", "pytorch"),
        ("sweep", "external", "external"),
        ("run", "plain", "run"),
        ("endpoint", "plain", "endpoint"),
    ] {
        let folder = home.join(&format!("presets/{folder}"));
        let words = ["init", kind, &folder.display().to_string(), "--preset", preset];
        let mut init = Command::new(binary());
        let output = init.args(words).current_dir(home.path()).env("TRIALOG_API_URL", server.url()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let check = home.write("check.py", CHECK);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/sweep.yaml");
    let output = Command::new(python)
        .arg(check)
        .args([home.join("presets"), example])
        .current_dir(home.path())
        .env("TRIALOG_API_URL", server.url())
        .env("TRIALOG_TOKEN", server.token())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains(&format!("read {RUNS} runs in 3 pages")), "{out}");
}
