//! Reads points back: summaries from their rows, histories from the batches, page by page.

use std::collections::{BTreeMap, HashMap, HashSet};

use contracts::runs as wire;
use eventlog::{Reader, sql};
use vocabulary::RunId;

use super::codec::{self, StoredPoint};

/// Batches read at once: at most 32 requests of points in memory.
const BATCHES_AT_ONCE: i64 = 32;
/// Points of a key that are remembered to find repeats, about 40 MB; only keys that are out of order need it.
const REMEMBERED_MAX: usize = 1_000_000;

/// Why points could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error(transparent)]
    Log(#[from] eventlog::Error),
    /// The bytes of a batch.
    #[error("batch {batch}: {damaged}")]
    Damaged {
        /// Its row.
        batch: i64,
        /// What is wrong.
        damaged: codec::Damaged,
    },
}

/// From which step on later attempts have superseded earlier ones, by key.
type Restarts = HashMap<String, Vec<(u32, i64)>>;

fn is_superseded(restarts: &Restarts, name: &str, attempt: u32, step: i64) -> bool {
    restarts.get(name).is_some_and(|later| later.iter().any(|&(by, least)| by > attempt && least <= step))
}

/// Knows the points of one key that were seen.
#[derive(Default)]
struct Seen(HashSet<(u32, i64, i64, u64)>);

impl Seen {
    fn is_new(&mut self, attempt: u32, point: &StoredPoint) -> bool {
        if self.0.len() >= REMEMBERED_MAX {
            return true;
        }
        self.0.insert((attempt, point.step, point.timestamp_ms, point.value.to_bits()))
    }
}

struct Batch {
    id: i64,
    attempt: u32,
    data: Vec<u8>,
    /// It came after the end of its attempt.
    late: bool,
}

async fn batches(pool: &Reader, run: &[u8], from: i64) -> Result<Vec<Batch>, eventlog::Error> {
    let get = "SELECT id, attempt, data, late FROM metric_batches WHERE run = $1 AND id >= $2 ORDER BY id LIMIT $3";
    let rows: Vec<(i64, u32, Vec<u8>, bool)> =
        sql(get).bind(run).bind(from).bind(BATCHES_AT_ONCE).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(id, attempt, data, late)| Batch { id, attempt, data, late }).collect())
}

async fn restarts(pool: &Reader, run: &[u8]) -> Result<Restarts, eventlog::Error> {
    let get = "SELECT name, attempt, least_step FROM metric_restarts WHERE run = $1";
    let rows: Vec<(String, u32, i64)> = sql(get).bind(run).fetch_all(pool).await?;
    let mut restarts = Restarts::new();
    for (name, attempt, least) in rows {
        restarts.entry(name).or_default().push((attempt, least));
    }
    Ok(restarts)
}

/// A key: name, count, the bits of the last value, its step, least, greatest, whether all that is exact.
type Summary = (String, i64, i64, i64, Option<f64>, Option<f64>, bool);

/// The summary of each key of a run, by name.
///
/// # Errors
/// When the rows cannot be read.
pub async fn summaries(pool: &Reader, run: RunId, after: &str, limit: i32) -> Result<Vec<wire::MetricSummary>, Error> {
    let run = run.uuid().as_bytes().to_vec();
    let get = "SELECT name, count, bits, step, low, high, exact FROM metric_keys WHERE run = $1 AND name > $2
        ORDER BY name LIMIT $3";
    let rows: Vec<Summary> = sql(get).bind(&run).bind(after).bind(limit).fetch_all(pool).await?;
    let mut exact = BTreeMap::new();
    let mut inexact = BTreeMap::new();
    for (name, count, bits, last_step, min, max, is_exact) in rows {
        if is_exact {
            let count = u64::try_from(count).unwrap_or_default();
            let last = f64::from_bits(bits as u64);
            let summary = wire::MetricSummary { name: name.clone(), count, last, last_step, min, max };
            exact.insert(name, summary);
        } else {
            inexact.insert(name, Count::default());
        }
    }
    if !inexact.is_empty() {
        recount(pool, &run, &mut inexact).await?;
        exact.extend(inexact.into_iter().map(|(name, count)| (name.clone(), count.summary(name))));
    }
    Ok(exact.into_values().collect())
}

/// The summary of one key, counted from its points.
///
/// # Errors
/// When the points cannot be read.
pub(super) async fn counted(pool: &Reader, run: RunId, name: &str) -> Result<wire::MetricSummary, Error> {
    let mut counts = BTreeMap::from([(name.to_owned(), Count::default())]);
    recount(pool, run.uuid().as_bytes(), &mut counts).await?;
    Ok(counts.remove(name).unwrap_or_default().summary(name.to_owned()))
}

/// A summary counted from the points themselves.
#[derive(Default)]
struct Count {
    seen: Seen,
    count: u64,
    last: Option<(i64, i64, f64)>,
    low: Option<f64>,
    high: Option<f64>,
}

impl Count {
    fn take(&mut self, attempt: u32, point: &StoredPoint) {
        if !self.seen.is_new(attempt, point) {
            return;
        }
        self.count += 1;
        let at = (point.step, point.timestamp_ms);
        if self.last.is_none_or(|(step, timestamp, _)| at >= (step, timestamp)) {
            self.last = Some((at.0, at.1, point.value));
        }
        if point.value.is_finite() {
            self.low = Some(self.low.map_or(point.value, |low| low.min(point.value)));
            self.high = Some(self.high.map_or(point.value, |high| high.max(point.value)));
        }
    }

    fn summary(self, name: String) -> wire::MetricSummary {
        let (last_step, _, last) = self.last.unwrap_or_default();
        wire::MetricSummary { name, count: self.count, last, last_step, min: self.low, max: self.high }
    }
}

async fn recount(pool: &Reader, run: &[u8], counts: &mut BTreeMap<String, Count>) -> Result<(), Error> {
    let restarts = restarts(pool, run).await?;
    let names: HashSet<String> = counts.keys().cloned().collect();
    let mut from = 0;
    loop {
        let page = batches(pool, run, from).await?;
        for batch in page.iter().filter(|batch| !batch.late) {
            let found = |name: &str, points: Vec<StoredPoint>| {
                if let Some(count) = counts.get_mut(name) {
                    let live = |point: &&StoredPoint| !is_superseded(&restarts, name, batch.attempt, point.step);
                    points.iter().filter(live).for_each(|point| count.take(batch.attempt, point));
                }
            };
            codec::decode(&batch.data, |name| names.contains(name), found)
                .map_err(|damaged| Error::Damaged { batch: batch.id, damaged })?;
        }
        match page.last() {
            Some(last) if page.len() as i64 == BATCHES_AT_ONCE => from = last.id + 1,
            _ => return Ok(()),
        }
    }
}

async fn has_late(pool: &Reader, run: &[u8]) -> Result<bool, eventlog::Error> {
    let get = "SELECT id FROM metric_batches WHERE run = $1 AND late = 1 LIMIT 1";
    Ok(sql(get).bind(run).fetch_optional::<i64>(pool).await?.is_some())
}

/// Where a page of a history begins: the batch's row and the place in its key's points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The batch.
    pub batch: i64,
    /// Points of it that were on earlier pages.
    pub skip: usize,
}

impl Start {
    /// Reads a page token.
    pub fn parse(token: &str) -> Option<Self> {
        let (batch, skip) = token.split_once('.')?;
        Some(Self { batch: batch.parse().ok()?, skip: skip.parse().ok()? })
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.batch, self.skip)
    }
}

/// A page of one key's points in order of arrival, and where the next one begins.
///
/// # Errors
/// When the rows cannot be read.
pub async fn history(
    pool: &Reader,
    run: RunId,
    name: &str,
    from: Start,
    limit: usize,
) -> Result<(Vec<wire::MetricPoint>, Option<Start>), Error> {
    let run = run.uuid().as_bytes().to_vec();
    let get = "SELECT exact FROM metric_keys WHERE run = $1 AND name = $2";
    let exact = match sql(get).bind(&run).bind(name).fetch_optional::<bool>(pool).await? {
        Some(exact) => exact,
        // What came late has no summary, but a history.
        None if has_late(pool, &run).await? => false,
        None => return Ok((Vec::new(), None)),
    };
    let restarts = if exact { Restarts::new() } else { restarts(pool, &run).await? };
    let mut seen = Seen::default();
    let mut page: Vec<wire::MetricPoint> = Vec::with_capacity(limit.min(1_000));
    // Repeats are known only from the beginning on.
    let mut next = if exact { from.batch } else { 0 };
    loop {
        let rows = batches(pool, &run, next).await?;
        for batch in &rows {
            let mut points = Vec::new();
            codec::decode(&batch.data, |key| key == name, |_, found| points = found)
                .map_err(|damaged| Error::Damaged { batch: batch.id, damaged })?;
            for (place, point) in points.iter().enumerate() {
                let at = Start { batch: batch.id, skip: place };
                let is_new = exact || seen.is_new(batch.attempt, point);
                if !is_new || (at.batch, at.skip) < (from.batch, from.skip) {
                    continue;
                }
                if page.len() == limit {
                    return Ok((page, Some(at)));
                }
                page.push(wire::MetricPoint {
                    name: name.to_owned(),
                    value: point.value,
                    step: Some(point.step),
                    timestamp_ms: Some(point.timestamp_ms),
                    attempt: batch.attempt,
                    superseded: batch.late || is_superseded(&restarts, name, batch.attempt, point.step),
                });
            }
        }
        match rows.last() {
            Some(last) if rows.len() as i64 == BATCHES_AT_ONCE => next = last.id + 1,
            _ => return Ok((page, None)),
        }
    }
}
