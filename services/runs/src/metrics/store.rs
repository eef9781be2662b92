//! Writes a batch inside the writer's transaction: one row of points, one summary row a key, and the events.

use std::borrow::Cow;

use contracts::runs::RecordMetricsReply;
use eventlog::{RecordError, Recorded, SqliteConnection};
use prost::Message;
use sqlx::AssertSqlSafe;

use super::batch::{Batch, Place, Summary, summarise};
use super::codec;
use crate::run::report::{Report, SentKey, SentPoint};
use crate::run::{Rejection, Run, RunEvent};

type Stored<T> = Result<T, RecordError<Rejection>>;

/// Rows of one statement, largest first: few texts stay prepared, and many keys need few statements.
const ROWS_AT_ONCE: [usize; 3] = [64, 8, 1];

/// Stores a batch, or finds that it is stored already.
///
/// # Errors
/// When the run refuses it or the database fails.
pub async fn store(batch: &Batch, run: &Run, tx: &mut SqliteConnection) -> Stored<Recorded<RunEvent>> {
    let shown = batch.run.to_string();
    run.in_workspace(&batch.workspace, &shown).map_err(RecordError::Rejected)?;
    let key = batch.run.uuid().as_bytes().to_vec();
    // Before the fence: a repeat of what was accepted is right whatever has become of the run since.
    if let Some(place) = &batch.place
        && is_repeat(tx, &key, place).await?
    {
        return Ok(Recorded { events: Vec::new(), reply: reply(batch, true) });
    }
    let attempt = run.fence(&batch.workspace, &shown, batch.attempt).map_err(RecordError::Rejected)?;
    let report = run.report(attempt, &batch.keys).map_err(RecordError::Rejected)?;
    if let Some(place) = &batch.place {
        let put = "INSERT INTO metric_writers(run, writer, last_sequence) VALUES (?, ?, ?)
            ON CONFLICT(run, writer) DO UPDATE SET last_sequence = excluded.last_sequence";
        sqlx::query(put).bind(&key).bind(&place.writer).bind(place.sequence).execute(&mut *tx).await?;
    }
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

async fn is_repeat(tx: &mut SqliteConnection, key: &[u8], place: &Place) -> Stored<bool> {
    let get = "SELECT last_sequence FROM metric_writers WHERE run = ? AND writer = ?";
    let last: Option<i64> = sqlx::query_scalar(get).bind(key).bind(&place.writer).fetch_optional(tx).await?;
    let expected = last.unwrap_or(0) + 1;
    if place.sequence > expected {
        let (writer, received) = (place.writer.clone(), place.sequence);
        return Err(RecordError::Rejected(Rejection::SequenceGap { writer, expected, received }));
    }
    Ok(place.sequence < expected)
}

/// The keys as they are to be stored: watched ones without what was there, the others with their steps filled in.
async fn resolve<'a>(
    tx: &mut SqliteConnection,
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
            let get = "SELECT attempt, step FROM metric_keys WHERE run = ? AND name = ?";
            let last: Option<(u32, i64)> =
                sqlx::query_as(get).bind(key).bind(&sent.name).fetch_optional(&mut *tx).await?;
            let points = with_steps(&sent.points, attempt, last);
            keys.push(Cow::Owned(SentKey { name: sent.name.clone(), points }));
        }
    }
    Ok(keys)
}

/// Gives each point without a step the last one + 1; `last` is the newest attempt and the greatest step so far.
fn with_steps(points: &[SentPoint], attempt: u32, mut last: Option<(u32, i64)>) -> Vec<SentPoint> {
    let mut filled = Vec::with_capacity(points.len());
    for point in points {
        let step = point.step.unwrap_or_else(|| last.map_or(0, |(_, step)| step.saturating_add(1)));
        let greatest = match last {
            // A later attempt that begins again at a lower step supersedes what came after it.
            Some((before, greatest)) if before == attempt => greatest.max(step),
            _ => step,
        };
        last = Some((attempt, greatest));
        filled.push(SentPoint { step: Some(step), ..*point });
    }
    filled
}

async fn write<K: AsKey>(
    tx: &mut SqliteConnection,
    key: &[u8],
    attempt: u32,
    encoded: &[u8],
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let put = "INSERT INTO metric_batches(run, attempt, data) VALUES (?, ?, ?)";
    sqlx::query(put).bind(key).bind(attempt).bind(encoded).execute(&mut *tx).await?;
    let (mut keys, mut summaries) = (keys, summaries);
    for rows in ROWS_AT_ONCE {
        while keys.len() >= rows {
            put_summaries(tx, key, attempt, &keys[..rows], &summaries[..rows]).await?;
            if attempt > 1 {
                put_restarts(tx, key, attempt, &keys[..rows], &summaries[..rows]).await?;
            }
            (keys, summaries) = (&keys[rows..], &summaries[rows..]);
        }
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

const SUMMARY_COLUMNS: usize = 12;

async fn put_summaries<K: AsKey>(
    tx: &mut SqliteConnection,
    run: &[u8],
    attempt: u32,
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let sql = format!(
        "INSERT INTO metric_keys(
            run, name, count, attempt, first_step, first_timestamp, step, timestamp, bits, low, high, exact)
        VALUES {} ON CONFLICT(run, name) DO UPDATE SET
        count = count + excluded.count,
        exact = exact AND excluded.exact AND (
            (excluded.attempt = attempt AND (excluded.first_step, excluded.first_timestamp) > (step, timestamp))
            OR (excluded.attempt > attempt AND excluded.first_step > step)),
        bits = CASE WHEN (excluded.step, excluded.timestamp) >= (step, timestamp) THEN excluded.bits ELSE bits END,
        timestamp = CASE WHEN (excluded.step, excluded.timestamp) >= (step, timestamp) THEN excluded.timestamp
            ELSE timestamp END,
        step = CASE WHEN excluded.attempt > attempt THEN excluded.step ELSE max(step, excluded.step) END,
        attempt = excluded.attempt,
        low = coalesce(min(low, excluded.low), low, excluded.low),
        high = coalesce(max(high, excluded.high), high, excluded.high)",
        places(keys.len(), SUMMARY_COLUMNS)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (key, summary) in keys.iter().zip(summaries) {
        query = query.bind(run).bind(key.name()).bind(summary.count).bind(attempt);
        query = query.bind(summary.first.0).bind(summary.first.1).bind(summary.last.0).bind(summary.last.1);
        query = query.bind(summary.value.to_bits() as i64).bind(summary.low).bind(summary.high).bind(summary.ordered);
    }
    query.execute(tx).await?;
    Ok(())
}

const RESTART_COLUMNS: usize = 4;

async fn put_restarts<K: AsKey>(
    tx: &mut SqliteConnection,
    run: &[u8],
    attempt: u32,
    keys: &[K],
    summaries: &[Summary],
) -> Stored<()> {
    let sql = format!(
        "INSERT INTO metric_restarts(run, name, attempt, least_step) VALUES {}
        ON CONFLICT(run, name, attempt) DO UPDATE SET least_step = min(least_step, excluded.least_step)",
        places(keys.len(), RESTART_COLUMNS)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (key, summary) in keys.iter().zip(summaries) {
        query = query.bind(run).bind(key.name()).bind(attempt).bind(summary.least_step);
    }
    query.execute(tx).await?;
    Ok(())
}

fn places(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}
