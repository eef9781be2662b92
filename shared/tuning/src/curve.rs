//! The counted reports of one trial, with everything a policy asks about its first n intervals kept ready.

use serde::{Deserialize, Serialize};

use crate::policy::Goal;
use crate::trials::Report;

/// What the finite values of the first n intervals add up to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Running {
    /// How many finite values.
    finite: u32,
    /// Their sum, left to right.
    sum: f64,
    low: f64,
    high: f64,
    /// Log position of the best.
    best_position: u64,
    /// Log position of the last report.
    pub last_position: u64,
}

impl Running {
    pub(crate) const EMPTY: Self =
        Self { finite: 0, sum: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY, best_position: 0, last_position: 0 };

    /// With one more report. A value that is not finite only moves the position on.
    pub(crate) fn with(self, value: f64, position: u64, goal: Goal) -> Self {
        let moved = Self { last_position: position, ..self };
        if !value.is_finite() {
            return moved;
        }
        // Zero has one sign here, so that orders by bits and by value agree.
        let value = value + 0.0;
        let better = self.best(goal).is_none_or(|best| goal.worse(best, value));
        Self {
            finite: self.finite + 1,
            sum: self.sum + value,
            low: self.low.min(value),
            high: self.high.max(value),
            best_position: if better { position } else { self.best_position },
            last_position: position,
        }
    }

    /// The best finite value.
    pub(crate) fn best(&self, goal: Goal) -> Option<f64> {
        (self.finite > 0).then_some(match goal {
            Goal::Maximize => self.high,
            Goal::Minimize => self.low,
        })
    }

    /// The best finite value and the log position of its first occurrence.
    pub(crate) fn best_at(&self, goal: Goal) -> Option<(f64, u64)> {
        Some((self.best(goal)?, self.best_position))
    }

    /// The mean of the finite values, kept inside their range, which rounding may leave.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.finite > 0).then(|| (self.sum / f64::from(self.finite)).max(self.low).min(self.high))
    }
}

/// One counted report: an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub step: i64,
    pub position: u64,
    pub attempt: u32,
    /// NaN or an infinity for a report without a value.
    pub value: f64,
    /// Up to and with this report.
    running: Running,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its program ended well.
    Completed,
    /// Its program, or what carried it, failed.
    Failed,
    /// Somebody or a limit ended it.
    Canceled,
    /// A policy stopped it.
    EarlyStopped,
}

/// What became of a trial's latest report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Latest {
    /// The policy is not asked at this interval, or there was no report yet.
    #[default]
    NotDue,
    /// The trial has no finite value.
    NoValue,
    /// The interval was decided before the clock was recounted.
    AlreadyDecided,
    /// The policy is asked.
    Asked,
}

/// The counted reports of one trial, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curve {
    pub points: Vec<Point>,
    /// The attempt that reports now; older ones are refused.
    pub attempt: u32,
    /// The highest step that an earlier attempt still has, so that most reports need not look for superseded points.
    pub older_step_max: Option<i64>,
    /// One bit an interval: the policy was asked.
    pub decided: Vec<u64>,
    pub latest: Latest,
    pub ended: Option<End>,
    pub stopping: bool,
    /// The number of the rung at which the trial waits for its promotion.
    pub paused: Option<u32>,
    /// How many rungs the trial was promoted from.
    pub promoted: u32,
}

impl Curve {
    /// The trial's clock.
    pub(crate) fn interval(&self) -> u32 {
        u32::try_from(self.points.len()).unwrap_or(u32::MAX)
    }

    /// What the first n intervals add up to; of a trial that is behind n, what it has.
    pub(crate) fn running(&self, n: u32) -> Running {
        let count = self.points.len().min(n as usize);
        count.checked_sub(1).map_or(Running::EMPTY, |last| self.points[last].running)
    }

    /// Whether the trial counts as finished: from the decision to stop it on, or after any end.
    pub(crate) fn is_finished(&self) -> bool {
        self.stopping || self.ended.is_some()
    }

    pub(crate) fn is_decided(&self, interval: u32) -> bool {
        self.decided.get(interval as usize / 64).is_some_and(|word| word >> (interval % 64) & 1 == 1)
    }

    pub(crate) fn mark_decided(&mut self, interval: u32) {
        let word = interval as usize / 64;
        if self.decided.len() <= word {
            self.decided.resize(word + 1, 0);
        }
        self.decided[word] |= 1 << (interval % 64);
    }

    /// Whether the report takes points of earlier attempts out of the count.
    pub(crate) fn supersedes(&self, report: &Report) -> bool {
        let older = if report.attempt > self.attempt { self.step_max() } else { self.older_step_max };
        older.is_some_and(|highest| highest >= report.step)
    }

    /// Counts the report, after taking out what it supersedes; returns how many points that were.
    pub(crate) fn push(&mut self, report: &Report, goal: Goal) -> u32 {
        if report.attempt > self.attempt {
            self.older_step_max = self.step_max();
            self.attempt = report.attempt;
        }
        let mut superseded = 0;
        if self.supersedes(report) {
            let before = self.points.len();
            self.points.retain(|point| point.attempt >= report.attempt || point.step < report.step);
            superseded = u32::try_from(before - self.points.len()).unwrap_or(u32::MAX);
            self.recount(goal);
        }
        self.append(report.step, report.position, report.attempt, report.value, goal);
        superseded
    }

    /// One more interval, without looking for superseded points.
    pub(crate) fn append(&mut self, step: i64, position: u64, attempt: u32, value: f64, goal: Goal) {
        let before = self.points.last().map_or(Running::EMPTY, |point| point.running);
        let running = before.with(value, position, goal);
        self.points.push(Point { step, position, attempt, value, running });
    }

    /// Brings everything that follows from the points up to date.
    pub(crate) fn recount(&mut self, goal: Goal) {
        let mut running = Running::EMPTY;
        for point in &mut self.points {
            running = running.with(point.value, point.position, goal);
            point.running = running;
        }
        let older = self.points.iter().filter(|point| point.attempt < self.attempt);
        self.older_step_max = older.map(|point| point.step).max();
    }

    fn step_max(&self) -> Option<i64> {
        self.points.iter().map(|point| point.step).max()
    }
}
