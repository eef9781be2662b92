//! Writes a batch inside the writer's transaction: one row of points, one summary row a key, and the events.

use std::borrow::Cow;

use contracts::runs::RecordMetricsReply;
use eventlog::{RecordError, Recorded, Transaction, insert, row, sql};
use prost::Message;

use super::batch::{Batch, Place, Summary, summarise};
use super::steps::with_steps;
use super::{Stored, codec, late};
use crate::run::report::{Report, SentKey};
use crate::run::{Admitted, Rejection, Run, RunEvent};

/// Stores a batch, or finds that it is stored already.
///
/// # Errors
/// When the run refuses it or the database fails.
pub async fn store(batch: &Batch, run: &Run, tx: &mut Transaction) -> Stored<Recorded<RunEvent>> {
    let shown = batch.run.to_string();
    run.in_workspace(&batch.workspace, &shown).map_err(RecordError::Rejected)?;
    let key = batch.run.uuid().as_bytes().to_vec();
    // Before the fence: a repeat of what was accepted is right whatever has become of the run since.
    if let Some(place) = &batch.place
        && is_repeat(tx, &key, place).await?
    {
        return Ok(Recorded { events: Vec::new(), reply: reply(batch, true) });
    }
    let admitted = run.admit(&batch.workspace, &shown, batch.attempt, &batch.writer).map_err(RecordError::Rejected)?;
    let attempt = match admitted {
        Admitted::Live(attempt) => attempt,
        Admitted::Late(attempt) => {
            note_place(tx, &key, batch).await?;
            late::keep(tx, &key, attempt, batch).await?;
            return Ok(Recorded { events: Vec::new(), reply: reply(batch, false) });
        }
    };
    let report = run.report(attempt, &batch.keys).map_err(RecordError::Rejected)?;
    note_place(tx, &key, batch).await?;
    let unchanged = batch
        .keys
        .iter()
        .enumerate()
        .all(|(place, sent)| report.watched.get(&place).is_none_or(|fresh| fresh.len() == sent.points.len()));
    match &batch.ready {
        Some((encoded, summaries)) if unchanged => {
            write(tx, &key, attempt, encoded, &batch.keys, summaries).await?;
        }
        _ => {
            let keys = resolve(tx, &key, attempt, batch, &report).await?;
            if !keys.is_empty() {
                let encoded = codec::encode(keys.iter().map(|key| (key.name.as_str(), key.points.as_slice())));
                let summaries: Vec<_> = keys.iter().map(|key| summarise(&key.points)).collect();
                write(tx, &key, attempt, &encoded, &keys, &summaries).await?;
            }
        }
    }
    Ok(Recorded { events: report.events, reply: reply(batch, false) })
}

fn reply(batch: &Batch, repeated: bool) -> Vec<u8> {
    RecordMetricsReply { accepted: batch.points, repeated }.encode_to_vec()
}

/// Remembers which batch of its writer this was.
async fn note_place(tx: &mut Transaction, key: &[u8], batch: &Batch) -> Stored<()> {
    let Some(place) = &batch.place else { return Ok(()) };
    let put = "INSERT INTO metric_writers(run, writer, last_sequence) VALUES ($1, $2, $3)
        ON CONFLICT(run, writer) DO UPDATE SET last_sequence = excluded.last_sequence";
    sql(put).bind(key).bind(&place.writer).bind(place.sequence).execute(tx).await?;
    Ok(())
}

async fn is_repeat(tx: &mut Transaction, key: &[u8], place: &Place) -> Stored<bool> {
    let get = "SELECT last_sequence FROM metric_writers WHERE run = $1 AND writer = $2";
    let last: Option<i64> = sql(get).bind(key).bind(&place.writer).fetch_optional(tx).await?;
    let expected = last.unwrap_or(0) + 1;
    if place.sequence > expected {
        let (writer, received) = (place.writer.clone(), place.sequence);
        return Err(RecordError::Rejected(Rejection::SequenceGap { writer, expected, received }));
    }
    Ok(place.sequence < expected)
}

/// The keys as they are to be stored: watched ones without what was there, the others with their steps filled in.
async fn resolve<'a>(
    tx: &mut Transaction,
    key: &[u8],
    attempt: u32,
    batch: &'a Batch,
    report: &'a Report,
) -> Stored<Vec<Cow<'a, SentKey>>> {
    let mut keys = Vec::with_capacity(batch.keys.len());
    for (place, sent) in batch.keys.iter().enumerate() {
        if let Some(fresh) = report.watched.get(&place) {
            if !fresh.is_empty() {
                keys.push(Cow::Owned(SentKey { name: sent.name.clone(), points: fresh.clone() }));
            }
        } else if sent.points.iter().all(|point| point.step.is_some()) {
            keys.push(Cow::Borrowed(sent));
        } else {
            let get = "SELECT attempt, step FROM metric_keys WHERE run = $1 AND name = $2";
            let last: Option<(u32, i64)> = sql(get).bind(key).bind(&sent.name).fetch_optional(&mut *tx).await?;
            let points = with_steps(&sent.points, attempt, last);
            keys.push(Cow::Owned(SentKey { name: sent.name.clone(), points }));
        }
    }
    Ok(keys)
}

async fn write<K: AsKey>(
    tx: &mut Transaction,
    key: &[u8],
    attempt: u32,
    encoded: &[u8],
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let put = "INSERT INTO metric_batches(run, attempt, data) VALUES ($1, $2, $3)";
    sql(put).bind(key).bind(attempt).bind(encoded).execute(&mut *tx).await?;
    put_summaries(tx, key, attempt, keys, summaries).await?;
    if attempt > 1 {
        put_restarts(tx, key, attempt, keys, summaries).await?;
    }
    Ok(())
}

/// Something with a key's name.
trait AsKey {
    fn name(&self) -> &str;
}

impl AsKey for SentKey {
    fn name(&self) -> &str {
        &self.name
    }
}

impl AsKey for Cow<'_, SentKey> {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Later points move the last value, its step and the bounds; `exact` stays only while nothing can have come twice.
const TAKE_SUMMARY: &str = "ON CONFLICT(run, name) DO UPDATE SET
    count = metric_keys.count + excluded.count,
    exact = CASE WHEN metric_keys.exact = 1 AND excluded.exact = 1 AND (
        (excluded.attempt = metric_keys.attempt
         AND (excluded.first_step, excluded.first_timestamp) > (metric_keys.step, metric_keys.timestamp))
        OR (excluded.attempt > metric_keys.attempt AND excluded.first_step > metric_keys.step)) THEN 1 ELSE 0 END,
    bits = CASE WHEN (excluded.step, excluded.timestamp) >= (metric_keys.step, metric_keys.timestamp)
        THEN excluded.bits ELSE metric_keys.bits END,
    timestamp = CASE WHEN (excluded.step, excluded.timestamp) >= (metric_keys.step, metric_keys.timestamp)
        THEN excluded.timestamp ELSE metric_keys.timestamp END,
    step = CASE WHEN excluded.attempt > metric_keys.attempt OR excluded.step > metric_keys.step
        THEN excluded.step ELSE metric_keys.step END,
    attempt = excluded.attempt,
    low = CASE WHEN metric_keys.low IS NULL OR excluded.low < metric_keys.low
        THEN excluded.low ELSE metric_keys.low END,
    high = CASE WHEN metric_keys.high IS NULL OR excluded.high > metric_keys.high
        THEN excluded.high ELSE metric_keys.high END";

async fn put_summaries<K: AsKey>(
    tx: &mut Transaction,
    run: &[u8],
    attempt: u32,
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let into = "INSERT INTO metric_keys(
        run, name, count, attempt, first_step, first_timestamp, step, timestamp, bits, low, high, exact)";
    let mut rows = insert(into, TAKE_SUMMARY);
    for (key, summary) in keys.iter().zip(summaries) {
        let Summary { count, first, last, value, low, high, ordered, .. } = *summary;
        let bits = value.to_bits() as i64;
        rows.row(row![run, key.name(), count, attempt, first.0, first.1, last.0, last.1, bits, low, high, ordered]);
    }
    Ok(rows.execute(tx).await?)
}

async fn put_restarts<K: AsKey>(
    tx: &mut Transaction,
    run: &[u8],
    attempt: u32,
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let then = "ON CONFLICT(run, name, attempt) DO UPDATE SET least_step =
        CASE WHEN excluded.least_step < metric_restarts.least_step
        THEN excluded.least_step ELSE metric_restarts.least_step END";
    let mut rows = insert("INSERT INTO metric_restarts(run, name, attempt, least_step)", then);
    for (key, summary) in keys.iter().zip(summaries) {
        rows.row(row![run, key.name(), attempt, summary.least_step]);
    }
    Ok(rows.execute(tx).await?)
}
