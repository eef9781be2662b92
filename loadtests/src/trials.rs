//! `trials`: trials a second of a sweep whose command only prints one metric line, on one node of eight slots. The
//! floor starts the same command as often, eight at a time, and reads what it prints.

use std::time::Duration;

use anyhow::Context;
use runtime::Stopwatch;
use serde_json::{Value, json};
use testkit::{Client, Options, Server};

use crate::figure::Figure;
use crate::job_start::warm_node;

/// Trials of the sweep.
pub const TRIALS: u32 = 200;
const SLOTS: u32 = 8;
const LINE: &str = r#"{"trialog": "metric", "name": "score", "value": 1}"#;
const PATIENCE: Duration = Duration::from_secs(120);

fn floor() -> f64 {
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        for _ in 0..SLOTS {
            scope.spawn(|| {
                for _ in 0..TRIALS / SLOTS {
                    let output = std::process::Command::new("/bin/echo").arg(LINE).output();
                    std::hint::black_box(output.is_ok());
                }
            });
        }
    });
    f64::from(TRIALS) / watch.elapsed().as_secs_f64()
}

/// Runs a sweep on the node `warm`; its trials a second.
pub fn run(client: &Client, name: &str) -> anyhow::Result<f64> {
    let document = json!({
        "name": name,
        "cluster": "warm",
        "objective": {"goal": "maximize", "primary_metric": "score"},
        "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": TRIALS, "max_concurrent_trials": SLOTS},
        "trial": {"command": ["/bin/echo", LINE], "resources": {"cpu_count": 1, "memory_bytes": 1 << 24}}
    });
    let watch = Stopwatch::start();
    let sweep = client.post("sweeps", &document).expect(201);
    let path = format!("sweeps/{}", sweep["id"].as_str().context("a sweep's id")?);
    let ended = |sweep: &Value| sweep["state"] == "Completed" || sweep["state"] == "Failed";
    let end = client.await_version(&path, PATIENCE, ended);
    let value = f64::from(TRIALS) / watch.elapsed().as_secs_f64();
    anyhow::ensure!(end["trial_counts"]["Completed"] == json!(TRIALS), "not all trials are completed: {end}");
    Ok(value)
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(options);
    let client = server.client();
    warm_node(&client, "D8");
    let value = run(&client, "load")?;
    Ok(vec![Figure { what: "trials", value, unit: "trials/s", floor: Some(floor()) }])
}
