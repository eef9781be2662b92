//! A request's points, checked and encoded before the writer sees them, so that its transaction stays short.

use std::collections::HashMap;

use contracts::runs as wire;
use prost::Message;
use vocabulary::{FieldError, Problem, RunId};

use super::codec;
use crate::run::Writer;
use crate::run::report::{SentKey, SentPoint};

/// Points of one request: what a transaction takes without making others wait.
const POINTS_MAX: usize = 10_000;
/// Bytes of one request, for the same reason.
const BYTES_MAX: usize = 4 << 20;
/// Characters of a key's or a writer's name.
const NAME_LENGTH_MAX: usize = 255;
/// Wrong names that are told at once.
const ERRORS_MAX: usize = 50;

/// Which batch of which writer this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The writer's own name for itself.
    pub writer: String,
    /// Counts from 1.
    pub sequence: i64,
}

/// What a key's points of one batch add to its summary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many.
    pub count: i64,
    /// Step and time of the first one.
    pub first: (i64, i64),
    /// The greatest step and time.
    pub last: (i64, i64),
    /// The value there.
    pub value: f64,
    /// The least finite value.
    pub low: Option<f64>,
    /// The greatest finite value.
    pub high: Option<f64>,
    /// Whether (step, time) only grow, so that no point can be there twice.
    pub ordered: bool,
    /// The least step.
    pub least_step: i64,
}

/// A request's points.
#[derive(Debug)]
pub struct Batch {
    /// The workspace asked.
    pub workspace: String,
    /// The run.
    pub run: RunId,
    /// 0 = the current one.
    pub attempt: u32,
    /// Who sends it.
    pub writer: Writer,
    /// What makes a repeat known.
    pub place: Option<Place>,
    /// The points by key, in order of arrival.
    pub keys: Vec<SentKey>,
    /// The encoded keys and their summaries, when every step is known before the run's state is seen.
    pub ready: Option<(Vec<u8>, Vec<Summary>)>,
    /// How many points were sent.
    pub points: u32,
}

impl Batch {
    /// Checks and encodes a request.
    ///
    /// # Errors
    /// When it is too large, a name is wrong, or writer and sequence do not fit each other.
    pub fn read(request: wire::RecordMetricsRequest, run: RunId, now_ms: i64, writer: Writer) -> Result<Self, Problem> {
        check_size(&request)?;
        let place = read_place(&request)?;
        let points = u32::try_from(request.metrics.len()).unwrap_or(u32::MAX);
        let keys = by_key(request.metrics, now_ms)?;
        let complete = keys.iter().all(|key| key.points.iter().all(|point| point.step.is_some()));
        let ready = complete.then(|| {
            let encoded = codec::encode(keys.iter().map(|key| (key.name.as_str(), key.points.as_slice())));
            (encoded, keys.iter().map(|key| summarise(&key.points)).collect())
        });
        Ok(Self { workspace: request.workspace, run, attempt: request.attempt, writer, place, keys, ready, points })
    }
}

fn check_size(request: &wire::RecordMetricsRequest) -> Result<(), Problem> {
    let (points, bytes) = (request.metrics.len(), request.encoded_len());
    if points == 0 {
        return Err(Problem::invalid("/metrics", "Required", "metrics: at least one point"));
    }
    if points > POINTS_MAX {
        let message = format!("metrics has {points} points, limit {POINTS_MAX}; send several requests");
        return Err(Problem::invalid("/metrics", "TooLarge", message));
    }
    if bytes > BYTES_MAX {
        let detail = format!("the request has {bytes} bytes, limit {BYTES_MAX}; send several requests");
        return Err(Problem::new(413, "TooLarge", detail));
    }
    Ok(())
}

fn read_place(request: &wire::RecordMetricsRequest) -> Result<Option<Place>, Problem> {
    let (writer, sequence) = (request.writer.as_str(), request.sequence);
    if writer.is_empty() && sequence == 0 {
        return Ok(None);
    }
    if let Some(wrong) = bad_name(writer) {
        return Err(Problem::invalid("/writer", "BadWriter", format!("writer: {wrong}; it goes with sequence")));
    }
    if sequence < 1 {
        let message = format!("sequence {sequence} must be at least 1; a writer's batches count 1, 2, 3, …");
        return Err(Problem::invalid("/sequence", "BadSequence", message));
    }
    Ok(Some(Place { writer: writer.to_owned(), sequence }))
}

fn by_key(metrics: Vec<wire::MetricPoint>, now_ms: i64) -> Result<Vec<SentKey>, Problem> {
    let mut keys: Vec<SentKey> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut errors = Vec::new();
    let mut last = usize::MAX;
    for (index, point) in metrics.into_iter().enumerate() {
        let sent =
            SentPoint { step: point.step, timestamp_ms: point.timestamp_ms.unwrap_or(now_ms), value: point.value };
        // Most requests hold runs of one key, or of few.
        if keys.get(last).is_none_or(|key| key.name != point.name) {
            last = match places.get(&point.name) {
                Some(place) => *place,
                None => {
                    if let Some(wrong) = bad_name(&point.name)
                        && errors.len() < ERRORS_MAX
                    {
                        let message = format!("metrics[{index}].name: {wrong}");
                        errors.push(FieldError::new(format!("/metrics/{index}/name"), "BadMetricName", message));
                    }
                    places.insert(point.name.clone(), keys.len());
                    keys.push(SentKey { name: point.name, points: Vec::new() });
                    keys.len() - 1
                }
            };
        }
        keys[last].points.push(sent);
    }
    if errors.is_empty() { Ok(keys) } else { Err(Problem::of_errors(422, errors)) }
}

fn bad_name(name: &str) -> Option<String> {
    let length = name.chars().count();
    if !(1..=NAME_LENGTH_MAX).contains(&length) {
        return Some(format!("{length} characters; 1 to {NAME_LENGTH_MAX} are allowed"));
    }
    name.chars().any(char::is_control).then(|| format!("{name:?} has control characters; leave them out"))
}

/// What the points add up to. Their steps must be known.
pub fn summarise(points: &[SentPoint]) -> Summary {
    let place = |point: &SentPoint| (point.step.unwrap_or_default(), point.timestamp_ms);
    let first = points.first().map(place).unwrap_or_default();
    let mut summary = Summary {
        count: points.len() as i64,
        first,
        last: first,
        value: points.first().map(|point| point.value).unwrap_or_default(),
        low: None,
        high: None,
        ordered: true,
        least_step: first.0,
    };
    for (index, point) in points.iter().enumerate() {
        let at = place(point);
        summary.ordered &= index == 0 || at > summary.last;
        if at >= summary.last {
            (summary.last, summary.value) = (at, point.value);
        }
        summary.least_step = summary.least_step.min(at.0);
        if point.value.is_finite() {
            summary.low = Some(summary.low.map_or(point.value, |low| low.min(point.value)));
            summary.high = Some(summary.high.map_or(point.value, |high| high.max(point.value)));
        }
    }
    summary
}
