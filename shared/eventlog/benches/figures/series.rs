//! What benchmarks append: series of observed values, and the clients that do it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use trialog_eventlog::{Context, EventLog, Options, RecordedEvent, Store, View};
use vocabulary::{Decider, Entropy, ManualClock, SeededEntropy, StoredEvent, stored_events};

use super::line;

/// Events of a page of a replay.
const PAGE: u32 = 1_000;
/// What every event's `meta` is like.
pub const META: &str = r#"{"actor":"bench","request_id":"0123456789abcdef"}"#;

/// How long a figure is taken.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Before it counts.
    pub warm: Duration,
    /// While it counts.
    pub measured: Duration,
}

impl Span {
    /// `TRIALOG_BENCH_SECONDS`, 4 without it, and a quarter of that before.
    pub fn asked() -> Self {
        let asked = std::env::var("TRIALOG_BENCH_SECONDS").ok().and_then(|text| text.parse().ok());
        let measured = Duration::from_secs(asked.unwrap_or(4));
        Self { warm: measured / 4, measured }
    }
}

/// What a trial was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Params {
    pub learning_rate: f64,
    pub momentum: f64,
    pub layers: u32,
    pub optimizer: String,
}

/// About 268 bytes of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub run: String,
    pub trial: u64,
    pub step: u64,
    pub key: String,
    pub value: f64,
    pub at: String,
    pub params: Params,
    pub state: String,
}

stored_events! {
    /// What the benchmark appends.
    pub enum BenchEvent { Observed: 1 }
}

/// Counts and sums.
#[derive(Clone, Default)]
pub struct Series {
    pub count: u64,
    pub sum: f64,
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

/// An event like those of a sweep.
pub fn observed(step: u64, value: f64) -> Observed {
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

/// Appends a second with so many clients, and their latencies in milliseconds.
pub async fn appends(
    log: &EventLog,
    entropy: &Arc<SeededEntropy>,
    what: &str,
    (clients, one_stream): (usize, bool),
    Span { warm, measured }: Span,
) -> f64 {
    let begun = Instant::now();
    let total = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (log, entropy, total) = (log.clone(), Arc::clone(entropy), Arc::clone(&total));
            let stream = if one_stream { format!("{what}-only") } else { format!("{what}-{client}") };
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while begun.elapsed() < warm + measured {
                    let id = entropy.uuid();
                    let asked = Instant::now();
                    let context = Context::new(id, "bench", "0123456789abcdef");
                    log.execute::<Series>(&stream, 0.123_456, context).await.expect("an append succeeds");
                    if begun.elapsed() > warm {
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
    total.load(Ordering::Relaxed) as f64 / (begun.elapsed() - warm).as_secs_f64()
}

/// Events a second from the log's start, again and again; decoded and folded, or raw.
pub async fn replay(log: &EventLog, decoded: bool, span: Span) -> f64 {
    let (mut series, mut counted, mut after) = (Series::default(), 0, 0);
    let (mut start, mut warm) = (Instant::now(), true);
    loop {
        let page: Vec<RecordedEvent> = log.read(after, PAGE).await.expect("a page can be read");
        after = page.last().map_or(0, |event| event.position);
        counted += page.len();
        if decoded {
            page.iter().for_each(|event| series.evolve(&event.decode().expect("the event is known")));
        }
        if warm && start.elapsed() > span.warm {
            (warm, counted, start) = (false, 0, Instant::now());
        } else if !warm && start.elapsed() > span.measured {
            assert!(!decoded || series.sum > 0.0);
            return counted as f64 / start.elapsed().as_secs_f64();
        }
    }
}

/// The JSON of an event.
pub fn sample() -> String {
    BenchEvent::from(observed(0, 0.123_456)).encode().expect("it has a JSON form")
}

/// A log of series in a store.
pub async fn open(
    store: Store,
    entropy: &Arc<SeededEntropy>,
    migrations: &'static [(&'static str, &'static str)],
    views: Vec<Arc<dyn View>>,
) -> EventLog {
    let options = Options {
        service: "bench",
        store,
        migrations,
        views,
        clock: Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("a valid instant"))),
        entropy: Arc::clone(entropy) as Arc<dyn Entropy>,
    };
    EventLog::open(options).await.expect("the log opens")
}
