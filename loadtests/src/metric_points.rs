//! `http_metric_points`: points a second through the HTTP door, in batches, by several clients. The floor parses the
//! same bytes and makes each batch durable in a file of its client's own.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use runtime::Stopwatch;
use serde::Deserialize;
use serde_json::json;
use testkit::{Options, Server};

use crate::door::Connection;
use crate::figure::Figure;

const CLIENTS: usize = 4;
const POINTS_A_BATCH: usize = 1000;
const BATCHES_A_CLIENT: usize = 300;
/// Batches that are not counted: connections and caches get warm.
const WARM_UP: usize = 10;

/// What the floor reads: the fields that the server reads.
#[derive(Deserialize)]
#[expect(dead_code, reason = "the floor measures the reading itself")]
struct Batch<'a> {
    #[serde(borrow)]
    metrics: Vec<Point<'a>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "the floor measures the reading itself")]
struct Point<'a> {
    name: &'a str,
    value: f64,
    step: i64,
    timestamp_ms: i64,
}

fn batches(client: usize) -> Vec<Vec<u8>> {
    let point = |step: usize| {
        let value = 1.0 / (step as f64 + 1.5) + client as f64;
        json!({"name": "loss", "value": value, "step": step, "timestamp_ms": 1_700_000_000_000_u64 + step as u64})
    };
    let batch = |number: usize| {
        let steps = number * POINTS_A_BATCH..(number + 1) * POINTS_A_BATCH;
        json!({"metrics": steps.map(point).collect::<Vec<_>>()}).to_string().into_bytes()
    };
    (0..BATCHES_A_CLIENT + WARM_UP).map(batch).collect()
}

/// Runs one closure a client at the same time; the time of the slowest is that of all.
fn together(
    work: impl Fn(usize, &[Vec<u8>]) -> anyhow::Result<Duration> + Sync,
    bodies: &[Vec<Vec<u8>>],
) -> anyhow::Result<f64> {
    let spans = std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            bodies.iter().enumerate().map(|(client, bodies)| scope.spawn(move || work(client, bodies))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect::<Result<Vec<_>, _>>()
    })?;
    let slowest = spans.into_iter().max().unwrap_or_default();
    Ok((CLIENTS * BATCHES_A_CLIENT * POINTS_A_BATCH) as f64 / slowest.as_secs_f64())
}

fn floor(folder: &Path, bodies: &[Vec<Vec<u8>>]) -> anyhow::Result<f64> {
    let write = |client: usize, bodies: &[Vec<u8>]| {
        let mut file = File::create(folder.join(format!("floor-{client}")))?;
        let mut watch = Stopwatch::start();
        for (number, body) in bodies.iter().enumerate() {
            if number == WARM_UP {
                watch = Stopwatch::start();
            }
            let batch: Batch<'_> = serde_json::from_slice(body)?;
            std::hint::black_box(&batch);
            file.write_all(body)?;
            rustix::fs::fdatasync(&file)?;
        }
        Ok(watch.elapsed())
    };
    together(write, bodies)
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(options);
    let client = server.client();
    let mut paths = Vec::new();
    for number in 0..CLIENTS {
        let run = client.post("runs", &json!({"name": format!("load {number}")})).expect(201);
        let run = run["run_id"].as_str().context("a run's id")?;
        paths.push(format!("/api/v1/workspaces/default/runs/{run}/metrics"));
    }
    let bodies: Vec<_> = (0..CLIENTS).map(batches).collect();
    let floor = floor(server.data(), &bodies)?;
    let (url, token) = (server.url(), server.token());
    let send = |client: usize, bodies: &[Vec<u8>]| {
        let mut connection = Connection::open(&url, &token)?;
        let mut watch = Stopwatch::start();
        for (number, body) in bodies.iter().enumerate() {
            if number == WARM_UP {
                watch = Stopwatch::start();
            }
            connection.post(&paths[client], body)?;
        }
        Ok(watch.elapsed())
    };
    let value = together(send, &bodies)?;
    Ok(vec![Figure { what: "http_metric_points", value, unit: "points/s", floor: Some(floor) }])
}
