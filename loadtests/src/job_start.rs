//! `job_start_p50`: from sending the submission of a run with a job to its process running on a warm node: the process
//! prints the time. The floor starts the same program without Trialog.

use std::time::Duration;

use anyhow::Context;
use runtime::{MachineClock, Stopwatch};
use serde_json::{Value, json};
use testkit::{Client, Options, Server};
use vocabulary::Clock;

use crate::figure::{Figure, median_ms};

const JOBS: usize = 60;
/// Not counted: the first jobs find cold caches.
const WARM_UP: usize = 10;
const PROGRAM: [&str; 2] = ["/bin/date", "+%s%N"];
const PATIENCE: Duration = Duration::from_secs(30);
/// After a submission nothing is asked for so long: answering questions meanwhile would be measured too.
const QUIET: Duration = Duration::from_millis(80);

/// A cluster with one node that is there already.
pub fn warm_node(client: &Client, size: &str) {
    let cluster = json!({
        "vm_size": size, "vm_priority": "dedicated", "scale": {"min_nodes": 1, "max_nodes": 1},
        "provider": {"kind": "local", "boot_seconds": 0}
    });
    client.put("clusters/warm", &cluster).expect(201);
    let is_there = |cluster: &Value| cluster["node_state_counts"]["idle"] == json!(1);
    client.await_version("clusters/warm", PATIENCE, is_there);
}

fn span_since(sent_us: i64, printed: &str) -> anyhow::Result<Duration> {
    let started_us = printed.trim().parse::<i64>().with_context(|| format!("a time: {printed:?}"))? / 1000;
    Ok(Duration::from_micros(u64::try_from(started_us - sent_us).unwrap_or_default()))
}

fn one(client: &Client) -> anyhow::Result<Duration> {
    let job = json!({"cluster": "warm", "command": PROGRAM, "resources": {"cpu_count": 1, "memory_bytes": 1 << 24}});
    let sent_us = MachineClock.now_us();
    let run = client.post("runs", &json!({"name": "start", "job": job})).expect(201);
    let run = run["run_id"].as_str().context("a run's id")?;
    std::thread::sleep(QUIET);
    // The log ends when the run has ended.
    span_since(sent_us, &client.get(&format!("runs/{run}/logs?follow=true")).text())
}

fn floor() -> anyhow::Result<Duration> {
    let sent_us = MachineClock.now_us();
    let output = std::process::Command::new(PROGRAM[0]).arg(PROGRAM[1]).output()?;
    span_since(sent_us, &String::from_utf8_lossy(&output.stdout))
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(options);
    let client = server.client();
    warm_node(&client, "D8");
    let watch = Stopwatch::start();
    let spans = (0..JOBS + WARM_UP).map(|_| one(&client)).collect::<Result<Vec<_>, _>>()?;
    eprintln!("job_start: {} jobs in {:.1} s", spans.len(), watch.elapsed().as_secs_f64());
    let floors = (0..JOBS).map(|_| floor()).collect::<Result<Vec<_>, _>>()?;
    let value = median_ms(spans[WARM_UP..].to_vec());
    Ok(vec![Figure { what: "job_start_p50", value, unit: "ms", floor: Some(median_ms(floors)) }])
}
