//! `start` and `idle_memory`: from the start of the process to its readiness on a data folder that exists, and the
//! memory that it then holds (its proportional share of what is mapped), without nodes. The floor of the start is the
//! start of the same binary when it only prints its version.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use runtime::Stopwatch;
use serde_json::json;
use testkit::{Options, Server, binary};

use crate::figure::{Figure, median_ms};

const STARTS: usize = 7;
/// Enough history that opening it costs something.
const RUNS: usize = 200;
/// Time to settle before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
const MS_A_SECOND: f64 = 1000.0;
const KIB_A_MB: f64 = 1024.0;

fn pss_mb(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("Pss in smaps_rollup")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / KIB_A_MB)
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let mut server = Server::start(options);
    let client = server.client();
    for number in 0..RUNS {
        client.post("runs", &json!({"name": format!("run {number}")})).expect(201);
    }
    server.stop();
    let mut spans = Vec::new();
    for _ in 0..STARTS {
        let watch = Stopwatch::start();
        server.restart();
        spans.push(watch.elapsed());
        server.stop();
    }
    let mut floors = Vec::new();
    for _ in 0..STARTS {
        let watch = Stopwatch::start();
        std::process::Command::new(binary()).arg("--version").output()?;
        floors.push(watch.elapsed());
    }
    server.restart();
    std::thread::sleep(SETTLE);
    let memory = pss_mb(server.pid().context("the server lives")?)?;
    let (value, floor) = (median_ms(spans) / MS_A_SECOND, median_ms(floors) / MS_A_SECOND);
    Ok(vec![
        Figure { what: "start", value, unit: "s", floor: Some(floor) },
        Figure { what: "idle_memory", value: memory, unit: "MB", floor: None },
    ])
}
