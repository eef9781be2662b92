//! Facts through Kafka beside a bare producer in the same run, and how long a fact takes to its effect elsewhere. One
//! JSON line per figure.
//!
//! `cargo bench -p trialog-feed --features kafka --bench spine`. `TRIALOG_BENCH_KAFKA` names a real broker; the logs
//! are in `TRIALOG_BENCH_FOLDER` or the folder for temporary files. Names after `--` pick figures.
//! `TRIALOG_BENCH_SECONDS` (4) is how long each is taken, `TRIALOG_BENCH_FACTS` (500,000) how many facts the backlog
//! has.

mod backlog;
#[path = "../../tests/suite/speech.rs"]
mod speech;
mod world;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior};
use trialog_feed::FactSource;
use trialog_feed::kafka::{Kafka, Security, Topic};
use vocabulary::{Entropy, SeededEntropy};

use speech::{open, source_of};
use world::{Applied, Relayed, append};

/// Between two facts whose way is timed.
const PACE: Duration = Duration::from_millis(50);
/// How long the last facts may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Whether a figure was picked, or none was. Cargo itself passes `--bench`.
fn wanted(what: &str) -> bool {
    let mut picked = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    picked.peek().is_none() || picked.any(|picked| picked == what)
}

/// One line of JSON; `floor` is what was possible in the same run.
fn line(what: &str, value: f64, unit: &str, floor: Option<f64>) {
    let ratio = floor.map(|floor| (value / floor * 1_000.0).round() / 1_000.0);
    let value = (value * 100.0).round() / 100.0;
    println!("{}", serde_json::json!({"what": what, "value": value, "unit": unit, "floor": floor, "ratio": ratio}));
}

/// A prefix of topics that nobody else has.
fn kafka() -> Kafka {
    let bootstrap = std::env::var("TRIALOG_BENCH_KAFKA").expect("TRIALOG_BENCH_KAFKA names a broker: make bench-spine");
    let (prefix, security) = (testkit::new_schema(), Security::default());
    Kafka { bootstrap, prefix, partitions: 8, replication: 0, security }
}

#[tokio::main]
async fn main() {
    let base = std::env::var_os("TRIALOG_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).expect("the folder can be written");
    let span = Duration::from_secs(number("TRIALOG_BENCH_SECONDS", 4));
    if wanted("relay_backlog") {
        backlog::relay(folder.path(), &kafka(), number("TRIALOG_BENCH_FACTS", 500_000)).await;
    }
    if wanted("relay_lag") {
        lag(folder.path(), span).await;
    }
    for (what, is_carried, bar) in [("applied_in_process", false, 5.0), ("applied_through_broker", true, 25.0)] {
        if wanted(what) {
            let p99 = applied(folder.path(), what, is_carried, span).await;
            if p99 > bar {
                eprintln!("{what}: {p99:.1} ms is above the bar of {bar} ms");
            }
        }
    }
}

/// How far the relay is behind while appends go on at half of what the log takes, and how long it needs afterwards.
async fn lag(folder: &std::path::Path, span: Duration) {
    const CLIENTS: u64 = 64;
    let (log, kafka, entropy) = (open(folder, "talk_lag").await, kafka(), Arc::new(SeededEntropy::new(2)));
    let clients = |pace: Option<Duration>| {
        let (log, entropy) = (log.clone(), Arc::clone(&entropy));
        join_all((0..CLIENTS).map(move |client| {
            let (log, entropy) = (log.clone(), Arc::clone(&entropy));
            async move {
                let (begun, mut count) = (Instant::now(), 0_u64);
                let mut ticks = pace.map(tokio::time::interval);
                while begun.elapsed() < span {
                    if let Some(ticks) = &mut ticks {
                        ticks.tick().await;
                    }
                    append(&log, entropy.uuid(), &format!("lab/{client}"), 1).await;
                    count += 1;
                }
                count
            }
        }))
    };
    let capacity = clients(None).await.iter().sum::<u64>() as f64 / span.as_secs_f64();
    let relayed = Relayed::begin(&log, &kafka);
    relayed.reaches(&log, *log.head().borrow(), PATIENCE).await;
    let pace = Duration::from_secs_f64(CLIENTS as f64 / (capacity / 2.0));
    let (mut worst, mut half) = (0_i64, 0);
    let appending = clients(Some(pace));
    tokio::pin!(appending);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            counts = &mut appending => {
                half += counts.iter().sum::<u64>();
                break;
            }
            _ = look.tick() => worst = worst.max(*log.head().borrow() - relayed.delivered(&log).await),
        }
    }
    let ended = Instant::now();
    relayed.reaches(&log, *log.head().borrow(), PATIENCE).await;
    line("relay_lag_max", worst as f64, "facts", Some(half as f64 / span.as_secs_f64()));
    line("relay_drain", ended.elapsed().as_secs_f64(), "s", None);
    relayed.stop().await;
    log.close().await;
}

/// Milliseconds from an append's answer being asked for to its effect in another service's log, 99 of 100.
async fn applied(folder: &std::path::Path, what: &str, is_carried: bool, span: Duration) -> f64 {
    let (log, kafka, entropy) = (open(folder, "talk_applied").await, kafka(), SeededEntropy::new(5));
    let ear = open(folder, if is_carried { "ear_carried" } else { "ear" }).await;
    let relayed = is_carried.then(|| Relayed::begin(&log, &kafka));
    let source: Arc<dyn FactSource> = match &relayed {
        Some(_) => Arc::new(Topic::new(kafka.clone(), "talk_applied")),
        None => Arc::new(source_of(&log, false)),
    };
    let mut applied = Applied::begin(&ear, source);
    let mut latencies = Vec::new();
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    // What comes first makes connections and caches.
    let warm = span / 4;
    while begun.elapsed() < warm + span * 2 {
        ticks.tick().await;
        let asked = Instant::now();
        let position = append(&log, entropy.uuid(), "lab/a", 1).await;
        let at = tokio::time::timeout(PATIENCE, applied.until(position)).await.expect("it is applied");
        if begun.elapsed() > warm {
            latencies.push(at.duration_since(asked));
        }
    }
    latencies.sort_unstable();
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize].as_secs_f64() * 1_000.0;
    line(&format!("{what}_p50"), at(0.5), "ms", None);
    line(&format!("{what}_p99"), at(0.99), "ms", None);
    applied.stop().await;
    if let Some(relayed) = relayed {
        relayed.stop().await;
    }
    log.close().await;
    ear.close().await;
    at(0.99)
}
