//! Appends and replay, each beside its floor in the same run; one JSON line per figure.
//!
//! `cargo bench -p trialog-eventlog --bench append`. The folder is `TRIALOG_BENCH_FOLDER` or the one for temporary
//! files; figures are for ordinary disks, so the type of its file system is printed first. Names after `--` pick
//! figures.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tokio::time::Instant;
use trialog_eventlog::{Context, EventLog, Options, RecordedEvent, Store};
use vocabulary::{Decider, Entropy, ManualClock, SeededEntropy, StoredEvent, stored_events};

const WARM: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);
const PAGE: u32 = 1_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Params {
    learning_rate: f64,
    momentum: f64,
    layers: u32,
    optimizer: String,
}

/// About 268 bytes of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Observed {
    run: String,
    trial: u64,
    step: u64,
    key: String,
    value: f64,
    at: String,
    params: Params,
    state: String,
}

stored_events! {
    /// What the benchmark appends.
    enum BenchEvent { Observed: 1 }
}

#[derive(Clone, Default)]
struct Series {
    count: u64,
    sum: f64,
}

impl Decider for Series {
    type Command = f64;
    type Event = BenchEvent;
    type Rejection = ();

    fn decide(&self, value: &f64) -> Result<Vec<BenchEvent>, ()> {
        Ok(vec![observed(self.count, *value).into()])
    }

    fn evolve(&mut self, event: &BenchEvent) {
        let BenchEvent::Observed(observed) = event;
        self.count += 1;
        self.sum += observed.value;
    }
}

fn observed(step: u64, value: f64) -> Observed {
    Observed {
        run: "run_01JABCDEFGHJKMNPQRSTVWXYZ0".to_owned(),
        trial: 4_217,
        step,
        key: "validation/loss".to_owned(),
        value,
        at: "2026-01-02T03:04:05.678901Z".to_owned(),
        params: Params { learning_rate: 0.00031, momentum: 0.93, layers: 12, optimizer: "adamw".to_owned() },
        state: "Running".to_owned(),
    }
}

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

fn line(what: &str, value: f64, unit: &str, floor: Option<f64>) {
    let ratio = floor.map(|floor| (value / floor * 1_000.0).round() / 1_000.0);
    let (value, floor) = ((value * 100.0).round() / 100.0, floor.map(f64::round));
    println!("{}", serde_json::json!({"what": what, "value": value, "unit": unit, "floor": floor, "ratio": ratio}));
}

/// The type of the file system that holds a folder, from the longest mount point above it.
fn file_system(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let above = mounts.lines().filter_map(|mount| {
        let mut fields = mount.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        folder.starts_with(point).then_some((point.len(), kind))
    });
    above.max_by_key(|(length, _)| *length).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// Appends of 4 KiB with fdatasync, a second: what the disk can do.
fn sync_floor(folder: &Path) -> std::io::Result<f64> {
    let mut file = File::create(folder.join("floor.bin"))?;
    let (block, start, mut count) = ([7; 4_096], Instant::now(), 0.0);
    while start.elapsed() < MEASURED {
        file.write_all(&block)?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / start.elapsed().as_secs_f64())
}

/// Rows a second of bare multi-row inserts with a commit each: no commands, no versions, no clients.
async fn insert_floor(folder: &Path, batch: usize, data: &str) -> sqlx::Result<f64> {
    let options = SqliteConnectOptions::new()
        .filename(folder.join(format!("floor-{batch}.db")))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("cache_size", "-65536")
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::raw_sql(
        "CREATE TABLE events(position INTEGER PRIMARY KEY, stream_id TEXT NOT NULL, version INTEGER NOT NULL,
         event_id BLOB NOT NULL, type TEXT NOT NULL, schema INTEGER NOT NULL, command_id BLOB NOT NULL,
         recorded_at INTEGER NOT NULL, data TEXT NOT NULL, meta TEXT NOT NULL, UNIQUE(stream_id, version))",
    )
    .execute(&mut connection)
    .await?;
    let sql = format!("INSERT INTO events VALUES {}", vec!["(?,?,?,?,?,?,?,?,?,?)"; batch].join(","));
    let (mut position, mut start, mut counted) = (0, Instant::now(), 0);
    let mut warm = true;
    loop {
        insert_batch(&mut connection, &sql, batch, position, data).await?;
        position += batch as i64;
        counted += batch;
        if warm && start.elapsed() > WARM {
            (warm, counted, start) = (false, 0, Instant::now());
        } else if !warm && start.elapsed() > MEASURED {
            return Ok(counted as f64 / start.elapsed().as_secs_f64());
        }
    }
}

async fn insert_batch(
    connection: &mut SqliteConnection,
    sql: &str,
    batch: usize,
    position: i64,
    data: &str,
) -> sqlx::Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in 1..=batch as i64 {
        query = query
            .bind(position + row)
            .bind(format!("stream-{row}"))
            .bind(position + row)
            .bind(vec![1_u8; 16])
            .bind("Observed")
            .bind(1)
            .bind(vec![2_u8; 16])
            .bind(1_700_000_000_000_000_i64)
            .bind(data)
            .bind(r#"{"actor":"bench","request_id":"0123456789abcdef"}"#);
    }
    query.execute(&mut *connection).await?;
    sqlx::query("COMMIT").execute(connection).await?;
    Ok(())
}

/// Appends a second with so many clients, and their latencies in milliseconds.
async fn appends(log: &EventLog, entropy: &Arc<SeededEntropy>, what: &str, clients: usize, one_stream: bool) -> f64 {
    let begun = Instant::now();
    let total = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (log, entropy, total) = (log.clone(), Arc::clone(entropy), Arc::clone(&total));
            let stream = if one_stream { format!("{what}-only") } else { format!("{what}-{client}") };
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < WARM + MEASURED {
                    let id = entropy.uuid();
                    let asked = Instant::now();
                    let context = Context::new(id, "bench", "0123456789abcdef");
                    log.execute::<Series>(&stream, 0.123_456, context).await.expect("an append succeeds");
                    if begun.elapsed() > WARM {
                        latencies.push(asked.elapsed());
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a client does not panic"));
    }
    latencies.sort_unstable();
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = latencies[(latencies.len() as f64 * part) as usize];
        line(&format!("{what}_{name}"), at.as_secs_f64() * 1_000.0, "ms", None);
    }
    total.load(Ordering::Relaxed) as f64 / (begun.elapsed() - WARM).as_secs_f64()
}

/// Events a second from the log's start, again and again; decoded and folded, or raw.
async fn replay(log: &EventLog, decoded: bool) -> f64 {
    let (mut series, mut counted, mut after) = (Series::default(), 0, 0);
    let (mut start, mut warm) = (Instant::now(), true);
    loop {
        let page: Vec<RecordedEvent> = log.read(after, PAGE).await.expect("a page can be read");
        after = page.last().map_or(0, |event| event.position);
        counted += page.len();
        if decoded {
            page.iter().for_each(|event| series.evolve(&event.decode().expect("the event is known")));
        }
        if warm && start.elapsed() > WARM {
            (warm, counted, start) = (false, 0, Instant::now());
        } else if !warm && start.elapsed() > MEASURED {
            assert!(!decoded || series.sum > 0.0);
            return counted as f64 / start.elapsed().as_secs_f64();
        }
    }
}

#[tokio::main]
async fn main() {
    let base = std::env::var_os("TRIALOG_BENCH_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).expect("the folder can be written");
    let kind = file_system(folder.path());
    let BenchEvent::Observed(sample) = &Series::default().decide(&0.123_456).expect("it never refuses")[0];
    let data = BenchEvent::from(sample.clone()).encode().expect("it has a JSON form");
    println!("{}", serde_json::json!({"file_system": kind, "event_bytes": data.len()}));
    if ["tmpfs", "overlay"].contains(&kind.as_str()) {
        eprintln!("{kind} is no ordinary disk: the figures say nothing about durability");
    }
    line("fdatasync_4k", sync_floor(folder.path()).expect("the disk can be written"), "1/s", None);
    let entropy = Arc::new(SeededEntropy::new(1));
    let log = open(&folder.path().join("log.db"), &entropy).await;
    for (what, clients, batch, one_stream, bar) in [
        ("append_256", 256, 128, false, 22_000.0),
        ("append_32", 32, 16, false, 14_000.0),
        ("append_1", 1, 1, false, 1_500.0),
        ("append_one_stream", 32, 16, true, 5_000.0),
    ] {
        if !wanted(what) {
            continue;
        }
        let floor = insert_floor(folder.path(), batch, &data).await.expect("the floor runs");
        let value = appends(&log, &entropy, what, clients, one_stream).await;
        report(what, value, "appends/s", floor, bar);
        std::fs::remove_file(folder.path().join(format!("floor-{batch}.db"))).expect("the floor's file can go");
    }
    if wanted("replay") {
        let raw = replay(&log, false).await;
        report("replay", replay(&log, true).await, "events/s", raw, 250_000.0);
    }
    reads(&log, &entropy).await;
    log.close().await;
    if wanted("get_cold_sweep") || wanted("append_beside_cold") {
        cold(folder.path(), &entropy).await;
    }
    if wanted("open_200k_commands") {
        opening(folder.path(), &entropy).await;
    }
}

/// Appends to one stream, alone and with ten looks a second at it.
async fn reads(log: &EventLog, entropy: &Arc<SeededEntropy>) {
    if !wanted("append_one_stream_watched") {
        return;
    }
    let alone = appends(log, entropy, "append_one_stream_alone", 32, true).await;
    let watched = log.clone();
    let watching = tokio::spawn(async move {
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            let look = watched.inspect::<Series, _>("append_one_stream_watched-only", |series, _| series.sum);
            look.await.expect("a look succeeds");
        }
    });
    let value = appends(log, entropy, "append_one_stream_watched", 32, true).await;
    watching.abort();
    report("append_one_stream_watched", value, "appends/s", alone, alone * 0.9);
}

/// Histories of 100,000 events that nobody has in memory: how long a look at one takes, and what appends to other
/// streams notice of such looks.
async fn cold(folder: &Path, entropy: &Arc<SeededEntropy>) {
    const EVENTS: usize = 100_000;
    const AT_ONCE: usize = 500;
    let file = folder.join("cold.db");
    let log = open(&file, entropy).await;
    let streams: Vec<String> = (0..6).map(|stream| format!("cold-{stream}")).collect();
    for stream in &streams {
        for _ in 0..EVENTS / AT_ONCE {
            let context = Context::new(entropy.uuid(), "bench", "0123456789abcdef");
            log.execute::<Curve>(stream, AT_ONCE, context).await.expect("an append succeeds");
        }
        log.snapshot(stream).await.expect("the log is open");
    }
    log.close().await;
    let log = open(&file, entropy).await;
    let asked = Instant::now();
    let count = log.inspect::<Curve, _>(&streams[0], |curve, _| curve.values.len()).await.expect("it can be read");
    assert_eq!(count, EVENTS);
    line("get_cold_sweep", asked.elapsed().as_secs_f64() * 1_000.0, "ms", Some(50.0));
    let alone = appends(&log, entropy, "append_before_cold", 32, false).await;
    let looking = log.clone();
    let looks = tokio::spawn(async move {
        for stream in &streams[1..] {
            looking.inspect::<Curve, _>(stream, |curve, _| curve.values.len()).await.expect("it can be read");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let value = appends(&log, entropy, "append_beside_cold", 32, false).await;
    looks.await.expect("the looks do not panic");
    report("append_beside_cold", value, "appends/s", alone, alone * 0.9);
    log.close().await;
}

/// Opening a log of 200,000 commands: how long its service is away over a restart.
async fn opening(folder: &Path, entropy: &Arc<SeededEntropy>) {
    const COMMANDS: usize = 200_000;
    const AT_ONCE: usize = 1_000;
    let file = folder.join("opening.db");
    let log = open(&file, entropy).await;
    for _ in 0..COMMANDS / AT_ONCE {
        let contexts = (0..AT_ONCE).map(|_| Context::new(entropy.uuid(), "bench", "0123456789abcdef"));
        let appends = contexts.map(|context| log.execute::<Series>("opening", 0.123_456, context));
        let done = futures_util::future::join_all(appends).await;
        assert!(done.iter().all(Result::is_ok), "an append fails");
    }
    log.close().await;
    let begun = Instant::now();
    let log = open(&file, entropy).await;
    line("open_200k_commands", begun.elapsed().as_secs_f64() * 1_000.0, "ms", Some(500.0));
    log.close().await;
}

async fn open(file: &Path, entropy: &Arc<SeededEntropy>) -> EventLog {
    let options = Options {
        service: "bench",
        store: Store::sqlite(file),
        migrations: &[],
        views: Vec::new(),
        clock: Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("a valid instant"))),
        entropy: Arc::clone(entropy) as Arc<dyn Entropy>,
    };
    EventLog::open(options).await.expect("the log opens")
}

/// Whether a figure was picked, or none was. Cargo itself passes `--bench`.
fn wanted(what: &str) -> bool {
    let mut picked = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    picked.peek().is_none() || picked.any(|picked| picked == what)
}

fn report(what: &str, value: f64, unit: &str, floor: f64, bar: f64) {
    line(what, value, unit, Some(floor));
    if value < bar {
        eprintln!("{what}: {value:.0} {unit} is below the bar of {bar:.0}");
    }
}
