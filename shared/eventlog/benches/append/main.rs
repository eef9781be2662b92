//! Appends and replay on SQLite, each beside its floor in the same run; one JSON line per figure.
//!
//! `cargo bench -p trialog-eventlog --bench append`. The folder is `TRIALOG_BENCH_FOLDER` or the one for temporary
//! files; figures are for ordinary disks, so the type of its file system is printed first. Names after `--` pick
//! figures. `TRIALOG_BENCH_SECONDS` (4) is how long each is taken, `TRIALOG_BENCH_ROWS` (0) how many events and
//! commands are there before.

mod before;
mod disk;
#[path = "../figures/mod.rs"]
mod figures;
mod queue;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use figures::series::{BenchEvent, Series, Span, appends, observed, open, replay, sample};
use figures::{line, report, rows_before, wanted};
use tokio::time::Instant;
use trialog_eventlog::{Context, EventLog, Store};
use vocabulary::{Decider, Entropy, SeededEntropy};

/// Keeps all that it has seen, as a sweep keeps its curves.
#[derive(Clone, Default)]
struct Curve {
    values: Vec<f64>,
}

impl Decider for Curve {
    type Command = usize;
    type Event = BenchEvent;
    type Rejection = ();
    const SNAPSHOT: Option<i16> = Some(1);

    fn decide(&self, count: &usize) -> Result<Vec<BenchEvent>, ()> {
        Ok(vec![observed(self.values.len() as u64, 0.5).into(); *count])
    }

    fn evolve(&mut self, event: &BenchEvent) {
        let BenchEvent::Observed(observed) = event;
        self.values.push(observed.value);
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        Some(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        let value = |bytes: &[u8]| Some(f64::from_le_bytes(bytes.try_into().ok()?));
        Some(Self { values: bytes.chunks(8).map(value).collect::<Option<_>>()? })
    }
}

#[tokio::main]
async fn main() {
    let base = std::env::var_os("TRIALOG_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).expect("the folder can be written");
    disk::name(folder.path());
    let (span, count) = (Span::asked(), rows_before());
    println!(
        "{}",
        serde_json::json!({"event_bytes": sample().len(), "rows_before": count, "span": format!("{span:?}")})
    );
    line("fdatasync_4k", disk::sync_floor(folder.path(), span.measured).expect("the disk can be written"), "1/s", None);
    let entropy = Arc::new(SeededEntropy::new(1));
    let (file, floor) = (folder.path().join("log.db"), folder.path().join("floor.db"));
    open(Store::sqlite(&file), &entropy, &[], Vec::new()).await.close().await;
    before::put(&file, count).await.expect("the rows are written");
    // The same rows are before the floor, too.
    std::fs::copy(&file, &floor).expect("there is room");
    let log = open(Store::sqlite(&file), &entropy, &[], Vec::new()).await;
    for (what, clients, one_stream, bar) in [
        ("append_256", 256, false, 0.75),
        ("append_32", 32, false, 0.8),
        ("append_1", 1, false, 0.75),
        ("append_one_stream", 32, true, 0.2),
    ] {
        if !wanted(what) {
            continue;
        }
        let floor = queue::appends(&floor, &entropy, what, clients, span).await.expect("the floor runs");
        let value = appends(&log, &entropy, what, (clients, one_stream), span).await;
        report(what, value, "appends/s", floor, floor * bar);
    }
    if wanted("replay") {
        let raw = replay(&log, false, span).await;
        report("replay", replay(&log, true, span).await, "events/s", raw, 250_000.0);
    }
    reads(&log, &entropy, span).await;
    log.close().await;
    if wanted("get_cold_sweep") || wanted("append_beside_cold") {
        cold(folder.path(), &entropy, span).await;
    }
    if wanted("open_200k_commands") {
        opening(folder.path(), &entropy).await;
    }
}

/// Appends to one stream, alone and with ten looks a second at it.
async fn reads(log: &EventLog, entropy: &Arc<SeededEntropy>, span: Span) {
    if !wanted("append_one_stream_watched") {
        return;
    }
    let alone = appends(log, entropy, "append_one_stream_alone", (32, true), span).await;
    let watched = log.clone();
    let watching = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            let look = watched.inspect::<Series, _>("append_one_stream_watched-only", |series, _| series.sum);
            look.await.expect("a look succeeds");
        }
    });
    let value = appends(log, entropy, "append_one_stream_watched", (32, true), span).await;
    watching.abort();
    report("append_one_stream_watched", value, "appends/s", alone, alone * 0.9);
}

/// Histories of 100,000 events that nobody has in memory: how long a look at one takes, and what appends to other
/// streams notice of such looks.
async fn cold(folder: &Path, entropy: &Arc<SeededEntropy>, span: Span) {
    const EVENTS: usize = 100_000;
    const AT_ONCE: usize = 500;
    let file = folder.join("cold.db");
    let log = open(Store::sqlite(&file), entropy, &[], Vec::new()).await;
    let streams: Vec<String> = (0..6).map(|stream| format!("cold-{stream}")).collect();
    for stream in &streams {
        for _ in 0..EVENTS / AT_ONCE {
            let context = Context::new(entropy.uuid(), "bench", "0123456789abcdef");
            log.execute::<Curve>(stream, AT_ONCE, context).await.expect("an append succeeds");
        }
        log.snapshot(stream).await.expect("the log is open");
    }
    log.close().await;
    let log = open(Store::sqlite(&file), entropy, &[], Vec::new()).await;
    let asked = Instant::now();
    let count = log.inspect::<Curve, _>(&streams[0], |curve, _| curve.values.len()).await.expect("it can be read");
    assert_eq!(count, EVENTS);
    line("get_cold_sweep", asked.elapsed().as_secs_f64() * 1_000.0, "ms", Some(50.0));
    let alone = appends(&log, entropy, "append_before_cold", (32, false), span).await;
    let looking = log.clone();
    let looks = tokio::spawn(async move {
        for stream in &streams[1..] {
            looking.inspect::<Curve, _>(stream, |curve, _| curve.values.len()).await.expect("it can be read");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let value = appends(&log, entropy, "append_beside_cold", (32, false), span).await;
    looks.await.expect("the looks do not panic");
    report("append_beside_cold", value, "appends/s", alone, alone * 0.9);
    log.close().await;
}

/// Opening a log of 200,000 commands: how long its service is away over a restart.
async fn opening(folder: &Path, entropy: &Arc<SeededEntropy>) {
    const COMMANDS: usize = 200_000;
    const AT_ONCE: usize = 1_000;
    let file = folder.join("opening.db");
    let log = open(Store::sqlite(&file), entropy, &[], Vec::new()).await;
    for _ in 0..COMMANDS / AT_ONCE {
        let contexts = (0..AT_ONCE).map(|_| Context::new(entropy.uuid(), "bench", "0123456789abcdef"));
        let appends = contexts.map(|context| log.execute::<Series>("opening", 0.123_456, context));
        let done = futures_util::future::join_all(appends).await;
        assert!(done.iter().all(Result::is_ok), "an append fails");
    }
    log.close().await;
    let begun = Instant::now();
    let log = open(Store::sqlite(&file), entropy, &[], Vec::new()).await;
    line("open_200k_commands", begun.elapsed().as_secs_f64() * 1_000.0, "ms", Some(500.0));
    log.close().await;
}
