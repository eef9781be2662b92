//! Lists that a service has in memory come in pages as all others do: by HTTP each page once and in order, on the
//! command line all of them.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, CommandLine, Home, Options, Server, Watchdog, await_that};

/// For everything.
const LIMIT: Duration = Duration::from_secs(120);
/// For the nodes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a field of each entry is, two entries a page.
fn paged(client: &Client, path: &str, list: &str, field: &str) -> Vec<Value> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?page_size=2&page_token={token}")).expect(200);
        let entries = page[list].as_array().expect("a list");
        assert!(!entries.is_empty() && entries.len() <= 2, "{path}: {page}");
        found.extend(entries.iter().map(|entry| entry[field].clone()));
        token = page["next_page_token"].as_str().expect("a token").to_owned();
        if token.is_empty() {
            return found;
        }
    }
}

#[test]
fn lists_in_memory_come_in_pages_too() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "pages");
    let mut server = Server::start(Options::up(&home));
    let client = server.client();
    let cli = CommandLine { server: &server, folder: home.path() };
    filled(&client);
    let lists = [
        ("tokens", "tokens", "token_id", &["token", "list"][..], 5),
        ("clusters/lively/nodes", "nodes", "node_id", &["node", "list", "lively"], 3),
        ("endpoints/echo/deployments", "deployments", "name", &["deployment", "list", "echo"], 3),
        ("models/echo/aliases", "changes", "reason", &["model", "history", "echo"], 5),
    ];
    for (path, list, field, words, count) in lists {
        let whole: Vec<Value> = client.list(path, list).iter().map(|entry| entry[field].clone()).collect();
        assert_eq!(whole.len(), count, "{path}: {whole:?}");
        assert_eq!(paged(&client, path, list, field), whole, "{path}");
        let printed: Value = serde_json::from_str(&cli.run(&[words, &["-o", "json"]].concat())).expect("JSON");
        let printed = printed[list].as_array().expect("a list").iter().map(|entry| entry[field].clone());
        assert_eq!(printed.collect::<Vec<_>>(), whole, "{words:?}");
        client.get(&format!("{path}?page_size=0")).refused(422, "OutOfRange");
    }
    for path in ["clusters/lively/nodes", "models/echo/aliases"] {
        client.get(&format!("{path}?page_token=x")).refused(422, "BadPageToken");
    }
    let moves = paged(&client, "models/echo/aliases", "changes", "reason");
    assert_eq!(moves, ["4", "3", "2", "1", "0"], "the newest first");
    server.stop();
}

fn filled(client: &Client) {
    for name in 0..5 {
        client.post("tokens", &json!({"name": format!("t{name}"), "scope": "reader"})).expect(201);
    }
    let cluster = json!({
        "vm_size": "D2", "scale": {"min_nodes": 3, "max_nodes": 3}, "provider": {"kind": "local", "boot_seconds": 0}
    });
    client.put("clusters/lively", &cluster).expect(201);
    let still = json!({"vm_size": "D2", "scale": {"max_nodes": 1}, "provider": {"boot_seconds": 80_000}});
    client.put("clusters/still", &still).expect(201);
    await_that(PATIENCE, || {
        let nodes = client.get("clusters/lively/nodes").expect(200);
        let count = nodes["nodes"].as_array().map_or(0, Vec::len);
        if count == 3 { Ok(()) } else { Err(format!("{count} nodes")) }
    });
    let run = client.post("runs", &json!({})).expect(201)["run_id"].as_str().expect("an id").to_owned();
    let put = client.request("PUT", &format!("runs/{run}/artifacts/outputs/model/score.py"));
    put.body("application/octet-stream", "def init(): pass\ndef run(raw): return raw\n").send().expect(201);
    client.patch(&format!("runs/{run}"), &json!({"state": "Completed"})).expect(200);
    client.post("models/echo/versions", &json!({"run_id": run, "artifact_path": "outputs/model"})).expect(201);
    for (number, alias) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        let version = json!({"version": 1, "reason": number.to_string()});
        client.put(&format!("models/echo/aliases/{alias}"), &version).expect(201);
    }
    client.put("endpoints/echo", &json!({})).expect(201);
    let deployment = json!({"model": "echo/versions/1", "cluster": "still"});
    for name in ["blue", "green", "red"] {
        client.put(&format!("endpoints/echo/deployments/{name}"), &deployment).expect(201);
    }
}
