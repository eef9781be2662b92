//! `ask_tell`: pairs of ask and tell a second on one external sweep with random search, by many connections, each
//! acknowledged one durable. The floor makes bare round trips on the same connections, two a pair.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use runtime::Stopwatch;
use serde::Deserialize;
use serde_json::json;
use testkit::{Options, Server};

use crate::door::Connection;
use crate::figure::Figure;

const CONNECTIONS: usize = 32;
/// Connections and caches get warm.
const WARM_UP: Duration = Duration::from_secs(2);
const SPAN: Duration = Duration::from_secs(10);
const FLOOR_SPAN: Duration = Duration::from_secs(2);

/// What the client reads of an ask's answer.
#[derive(Deserialize)]
struct Offers {
    trials: Vec<Offer>,
}

#[derive(Deserialize)]
struct Offer {
    index: u32,
    attempt: u32,
}

/// Lets every connection repeat `pair` and answers the pairs a second after the warm-up.
fn together(
    server: &Server,
    warm_up: Duration,
    span: Duration,
    pair: impl Fn(&mut Connection) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<f64> {
    let (url, token) = (server.url(), server.token());
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(&url, &token)?;
                    while !over.load(Ordering::Relaxed) {
                        pair(&mut connection)?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        std::thread::sleep(warm_up);
        let (watch, before) = (Stopwatch::start(), done.load(Ordering::Relaxed));
        std::thread::sleep(span);
        let (after, elapsed) = (done.load(Ordering::Relaxed), watch.elapsed());
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a client does not panic")?;
        }
        Ok((after - before) as f64 / elapsed.as_secs_f64())
    })
}

/// Measures.
pub fn measure(options: Options) -> anyhow::Result<Vec<Figure>> {
    let server = Server::start(options);
    let document = json!({
        "name": "load",
        "mode": "external",
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "search_space": {
            "lr": {"type": "log_uniform_values", "min_value": 0.00001, "max_value": 0.1},
            "dropout": {"type": "uniform", "min_value": 0, "max_value": 0.7},
            "depth": {"type": "quniform", "min_value": 1, "max_value": 9, "q": 1},
            "optimizer": {"type": "choice", "values": ["sgd", "adam", "lamb"]}
        },
        "sampling_algorithm": {"type": "random", "seed": 7},
        "limits": {"max_total_trials": 2_000_000, "max_concurrent_trials": 10_000}
    });
    let sweep = server.client().post("sweeps", &document).expect(201);
    let path = format!("/api/v1/workspaces/default/sweeps/{}/trials", sweep["id"].as_str().context("an id")?);
    let floor = together(&server, Duration::ZERO, FLOOR_SPAN, |connection| {
        connection.send("GET", "/health", b"")?;
        connection.send("GET", "/health", b"").map(drop)
    })?;
    let ask = format!("{path}:ask");
    let value = together(&server, WARM_UP, SPAN, |connection| {
        let offers: Offers = serde_json::from_slice(&connection.post(&ask, br#"{"count": 1}"#)?)?;
        let offer = offers.trials.first().context("a trial")?;
        let tell = json!({"attempt": offer.attempt, "value": f64::from(offer.index % 97), "final": true});
        connection.post(&format!("{path}/{}:tell", offer.index), tell.to_string().as_bytes()).map(drop)
    })?;
    Ok(vec![Figure { what: "ask_tell", value, unit: "pairs/s", floor: Some(floor) }])
}
