//! What an operator's Prometheus finds at `/metrics`.

use std::time::Duration;

use serde_json::{Value, json};
use trialog_testkit::{Client, Exposition, Home, Options, Server, Watchdog, await_that, promtool, put_cluster};

const LIMIT: Duration = Duration::from_secs(240);
const PATIENCE: Duration = Duration::from_secs(60);

fn scrape(client: &Client) -> Exposition {
    let page = client.get("/metrics").text();
    Exposition::parse(&page).unwrap_or_else(|fault| panic!("{fault}\n{page}"))
}

/// Waits until the page says so: it is at most a second old.
fn await_value(client: &Client, name: &str, labels: &[(&str, &str)], wanted: f64) {
    await_that(PATIENCE, || match scrape(client).sum(name, labels) {
        Some(found) if found == wanted => Ok(()),
        found => Err(format!("{name}{labels:?} is {found:?}, not {wanted}")),
    });
}

fn sweep(name: &str, command: &[&str], trials: u32) -> Value {
    json!({
        "name": name, "cluster": "spot",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": trials, "max_concurrent_trials": 1},
        "trial": {"command": command, "resources": {"cpu_count": 2}}
    })
}

/// A sweep that ends, one that is preempted, one that waits outside: each shows by its states.
fn trials_jobs_and_nodes(client: &Client) {
    put_cluster(client, "spot", &json!({"vm_priority": "low_priority", "provider": {"notice_seconds": 1}}));
    let say = r#"echo '{"score": 1.5}'"#;
    let quick = client.post("sweeps", &sweep("quick", &["sh", "-c", say], 2)).expect(201)["id"].clone();
    let quick = format!("sweeps/{}", quick.as_str().expect("an id"));
    let ended =
        client.await_version(&quick, PATIENCE, |sweep| sweep["state"] == "Completed" || sweep["state"] == "Failed");
    assert_eq!(ended["state"], "Completed", "{ended}");
    await_value(client, "trialog_trials", &[("state", "Completed")], 2.0);
    await_value(client, "trialog_jobs_ended_total", &[("outcome", "completed")], 2.0);

    let long = client.post("sweeps", &sweep("long", &["sleep", "600"], 1)).expect(201)["id"].clone();
    let long = format!("sweeps/{}", long.as_str().expect("an id"));
    await_value(client, "trialog_jobs", &[("state", "running")], 1.0);
    await_value(client, "trialog_nodes", &[("state", "running")], 1.0);
    // A second one finds the node full.
    client.post("sweeps", &sweep("waiting", &["true"], 1)).expect(201);
    await_value(client, "trialog_queue_jobs", &[], 1.0);
    assert!(scrape(client).sum("trialog_queue_age_seconds", &[]).is_some_and(|age| age > 0.0));
    assert_eq!(scrape(client).sum("trialog_preemptions_total", &[]), Some(0.0));
    let nodes = client.list("clusters/spot/nodes", "nodes");
    let node = nodes[0]["node_id"].as_str().expect("an id").to_owned();
    client.post(&format!("clusters/spot/nodes/{node}:preempt"), &json!({})).expect(202);
    await_value(client, "trialog_preemptions_total", &[], 1.0);
    client.post(&format!("{long}:cancel"), &json!({}));
    await_value(client, "trialog_trials", &[("state", "Canceled")], 1.0);

    let mut external = sweep("outside", &[], 3);
    let document = external.as_object_mut().expect("a map");
    document.insert("mode".to_owned(), json!("external"));
    document.remove("cluster");
    document.remove("trial");
    document.insert("sampling_algorithm".to_owned(), json!({"type": "bayesian", "seed": 7}));
    let asked = client.post("sweeps", &external).expect(201)["id"].clone();
    let asked = asked.as_str().expect("an id").to_owned();
    client.post(&format!("sweeps/{asked}/trials:ask"), &json!({"count": 1})).expect(200);
    await_value(client, "trialog_sweeps", &[("state", "Running")], 1.0);
    await_value(client, "trialog_trials", &[("state", "Running")], 1.0);
}

/// Endpoints are named only for who may see all workspaces; strangers cannot make names by asking.
fn endpoints(client: &Client) {
    let put = client.put("endpoints/prices", &json!({}));
    assert!([200, 201].contains(&put.status), "{}", put.text());
    let score = |name: &str| {
        client.request("POST", &format!("/endpoints/default/{name}/score")).json(&json!([1])).once().send()
    };
    await_that(PATIENCE, || match score("prices") {
        answer if answer.code() == "NoTraffic" => Ok(()),
        answer => Err(answer.text()),
    });
    score("of-nobody").refused(404, "NotFound");
    let named = [("workspace", "default"), ("endpoint", "prices"), ("status", "404")];
    let page = scrape(client);
    assert!(page.sum("trialog_endpoint_requests_total", &named).is_some_and(|count| count >= 1.0));
    assert!(page.sum("trialog_endpoint_request_seconds_count", &named[..2]).is_some_and(|count| count >= 1.0));
    assert!(!page.label_values("endpoint").contains("of-nobody"));
    let anybody = client.with_token("");
    let page = scrape(&anybody);
    assert!(page.label_values("endpoint").is_empty() && page.label_values("workspace").is_empty());
    assert!(page.sum("trialog_endpoint_requests_total", &[("status", "404")]).is_some_and(|count| count >= 1.0));
}

#[test]
fn a_scrape_says_what_an_operator_asks_for() {
    let home = Home::new();
    let _watchdog = Watchdog::new(LIMIT, home.path(), "the scrape");
    let server = Server::start(Options::up(&home));
    let client = server.client();
    trials_jobs_and_nodes(&client);
    endpoints(&client);
    let page = scrape(&client);
    for service in ["workspaces", "runs", "sweeps", "models", "compute"] {
        let of = [("service", service)];
        assert_eq!(page.sum("trialog_service_up", &of), Some(1.0), "{service}");
        assert!(page.sum("trialog_database_bytes", &of).is_some_and(|bytes| bytes > 0.0), "{service}");
        assert!(page.sum("trialog_disk_free_bytes", &of) <= page.sum("trialog_disk_size_bytes", &of), "{service}");
        assert!(page.sum("trialog_events_appended_total", &of).is_some(), "{service}");
    }
    assert!(page.sum("trialog_events_appended_total", &[("service", "sweeps")]).is_some_and(|events| events > 5.0));
    assert!(page.sum("trialog_fits_total", &[]).is_some());
    for name in ["trialog_feed_lag_events", "trialog_feed_parked_facts", "trialog_feed_halted"] {
        assert!(page.sum(name, &[("consumer", "runs.follow_trials")]).is_some(), "{name}");
    }
    await_value(&client, "trialog_feed_lag_events", &[("consumer", "runs.follow_trials")], 0.0);
    assert!(page.sum("trialog_http_requests_total", &[("route", "/metrics")]).is_some_and(|count| count > 1.0));
    // How many series there are must not depend on how much has happened.
    let allowed = [
        "consumer",
        "deployment",
        "endpoint",
        "le",
        "method",
        "outcome",
        "route",
        "service",
        "state",
        "status",
        "task",
        "workspace",
    ];
    assert_eq!(page.label_names().into_iter().filter(|name| !allowed.contains(name)).collect::<Vec<_>>(), [""; 0]);
    let text = client.get("/metrics").text();
    assert!(!["run_", "sweep_", "job_", "node_"].iter().any(|id| text.contains(&format!("\"{id}"))), "{text}");
    if let Some(said) = promtool(&home.write("metrics.txt", &text)) {
        assert_eq!(said, "", "promtool");
    }
}
