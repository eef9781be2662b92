//! What a run makes of reported points: the clock's identity rule for watched keys. Pure.
//!
//! A point of a watched key is known by (metric, step). The same value again is nothing new, another value is a
//! conflict. A point of a later attempt supersedes every point of earlier attempts with its step or a greater one.

use std::collections::{BTreeMap, BTreeSet};

use super::events::{MetricNameSeen, MetricReported, Point, RunEvent};
use super::rejection::Rejection;
use super::series::{Series, bits_of};
use super::state::{NAMES_MAX, Run};

/// A point as it was sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SentPoint {
    /// Absent: the last step + 1.
    pub step: Option<i64>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// May be NaN or infinite.
    pub value: f64,
}

/// The points of one key in a request, in order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub struct SentKey {
    /// The key.
    pub name: String,
    /// Its points.
    pub points: Vec<SentPoint>,
}

/// A key's points in the making: what the batch adds to the series.
struct Overlay<'a> {
    series: &'a Series,
    attempt: u32,
    added: BTreeMap<i64, u64>,
    /// The greatest step that is live in the series beneath what was added.
    beneath: Option<i64>,
}

impl<'a> Overlay<'a> {
    fn new(series: &'a Series, attempt: u32) -> Self {
        Self { series, attempt, added: BTreeMap::new(), beneath: series.last_step() }
    }

    fn next_step(&self) -> i64 {
        let last = self.beneath.max(self.added.last_key_value().map(|(step, _)| *step));
        last.map_or(0, |step| step.saturating_add(1))
    }

    fn bits_at(&self, step: i64) -> Option<u64> {
        let stored = || self.series.points().get(&step).filter(|point| point.attempt == self.attempt);
        self.added.get(&step).copied().or_else(|| stored().map(|point| point.bits))
    }

    fn add(&mut self, step: i64, bits: u64) {
        let least = self.added.first_key_value().map(|(least, _)| *least);
        self.added.insert(step, bits);
        if least.is_none_or(|least| step < least) {
            let points = self.series.points();
            let own = points.range(step..).rev().find(|(_, point)| point.attempt == self.attempt);
            self.beneath = own.or_else(|| points.range(..step).next_back()).map(|(step, _)| *step);
        }
    }
}

/// What a request's points lead to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// To append.
    pub events: Vec<RunEvent>,
    /// By the place of the key in the request: the points of watched keys that are new, steps filled in.
    pub watched: BTreeMap<usize, Vec<SentPoint>>,
}

impl Run {
    /// Takes a request's points in.
    ///
    /// # Errors
    /// When a watched key has another value at a step; nothing of the request stands then.
    pub fn report(&self, attempt: u32, keys: &[SentKey]) -> Result<Report, Rejection> {
        let mut report = Report::default();
        if self.watched.is_empty() {
            return Ok(report);
        }
        let mut points = Vec::new();
        let mut seen = BTreeSet::new();
        for (place, key) in keys.iter().enumerate() {
            if let Some(series) = self.watched.get(&key.name) {
                let fresh = fresh_points(series, attempt, key)?;
                points.extend(fresh.iter().map(|point| Point {
                    name: key.name.clone(),
                    step: point.step.unwrap_or_default(),
                    value: point.value,
                    timestamp_ms: point.timestamp_ms,
                }));
                report.watched.insert(place, fresh);
            } else if !self.names.contains(&key.name) && self.names.len() + seen.len() < NAMES_MAX {
                seen.insert(key.name.clone());
            }
        }
        let subject = &self.subject;
        report.events = seen.into_iter().map(|name| MetricNameSeen { subject: subject.clone(), name }.into()).collect();
        if !points.is_empty() {
            report.events.push(MetricReported { subject: subject.clone(), attempt, points }.into());
        }
        Ok(report)
    }
}

fn fresh_points(series: &Series, attempt: u32, key: &SentKey) -> Result<Vec<SentPoint>, Rejection> {
    let mut overlay = Overlay::new(series, attempt);
    let mut fresh = Vec::with_capacity(key.points.len());
    for point in &key.points {
        let step = point.step.unwrap_or_else(|| overlay.next_step());
        match overlay.bits_at(step) {
            Some(recorded) if recorded == bits_of(point.value) => {}
            Some(recorded) => {
                return Err(Rejection::ConflictingPoint {
                    metric: key.name.clone(),
                    step,
                    recorded: f64::from_bits(recorded),
                    received: point.value,
                });
            }
            None => {
                overlay.add(step, bits_of(point.value));
                fresh.push(SentPoint { step: Some(step), ..*point });
            }
        }
    }
    Ok(fresh)
}
