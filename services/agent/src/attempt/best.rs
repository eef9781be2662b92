//! What is kept of an attempt at its best value. As soon as a line of its output says that the objective has become
//! better, the folders of which the best is to be kept are copied. What is uploaded, or remains, is the copy; the next
//! attempt goes on from the checkpoint as it is.
//!
//! There is one copy, and one in the making: values that come while a copy is made wait for its end, and only the best
//! of them counts. A copy stands when `best.json` names it and its value counts. The folder of the copies lies beside
//! that of the checkpoints, so that a later attempt knows what an earlier one has kept; without checkpoints each
//! attempt begins anew, and it lies in the attempt's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use contracts::compute::{JobSpec, StartAttempt};
use contracts::runs::MetricPoint;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use vocabulary::job::Goal;

use super::copies::{self, Copied};
use crate::folder;

/// Of the two names of an attempt's copies one stands while a copy is made under the other: `1-a`. Those of others it
/// leaves alone, which may lie on storage that its successor works on.
const NAMES: [&str; 2] = ["a", "b"];
const CHECKPOINT: &str = "checkpoint";
/// The variable of a trial that says how many of its reports count.
const MAX_RESOURCE: &str = "TRIALOG_MAX_RESOURCE";
/// The name of what was reported, beside the copies.
const VALUES: &str = "values.json";

/// A value of the objective and where it was reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    value: f64,
    /// As runs counts them: a point without one has that after the last.
    step: i64,
    attempt: u32,
}

/// `best.json`: which copy stands, and of which value it is. TRIALOG_KEPT_FILE leads to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    of: Value,
    copy: String,
}

/// `values.json`: what all attempts have reported, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Reported {
    /// Those that count, of each attempt those that are better than all at its earlier steps: one that comes may take
    /// the later steps of an earlier attempt away, and what is best then is still known.
    counted: Vec<Value>,
    /// The newest attempt that has reported, and its greatest step.
    last: Option<(u32, i64)>,
    /// The least step of each attempt that has reported.
    #[serde(default)]
    least: BTreeMap<u32, i64>,
    /// The newest attempt that has begun.
    #[serde(default)]
    newest: u32,
    /// Where only so many reports count: those that do, by attempt and step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    points: Vec<(u32, i64)>,
}

impl Reported {
    /// Whether a value counts: what a later attempt has reported anew, also without a value, does so no more.
    fn counts(&self, value: &Value) -> bool {
        self.least.range(value.attempt + 1..).all(|(_, least)| value.step < *least)
    }

    /// Whether a report lies behind the last one that counts.
    fn is_beyond(&mut self, attempt: u32, step: i64, most: usize) -> bool {
        self.points.retain(|(of, at)| *of >= attempt || *at < step);
        if self.points.contains(&(attempt, step)) {
            return false;
        }
        let is_beyond = self.points.len() >= most;
        if !is_beyond {
            self.points.push((attempt, step));
        }
        is_beyond
    }

    /// An attempt has reported something at a step; as runs counts it where it has none.
    fn take(&mut self, attempt: u32, step: Option<i64>) -> i64 {
        let step = step.unwrap_or_else(|| self.last.map_or(0, |(_, step)| step.saturating_add(1)));
        let greatest = self.last.filter(|(of, _)| *of == attempt).map_or(step, |(_, last)| last.max(step));
        self.last = Some((attempt, greatest));
        self.newest = self.newest.max(attempt);
        let least = self.least.entry(attempt).or_insert(step);
        *least = step.min(*least);
        self.counted = std::mem::take(&mut self.counted).into_iter().filter(|value| self.counts(value)).collect();
        step
    }
}

/// What has been reported so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The best of the values whose state can still be copied, or is.
    pub best: Option<Value>,
    /// No value has come after it.
    pub is_latest: bool,
    /// Nothing comes any more.
    pub is_over: bool,
    reported: Reported,
}

/// What is to be kept of an attempt at its best value, and what is.
#[derive(Debug)]
pub struct Best {
    metric: String,
    goal: Goal,
    attempt: u32,
    /// So many reports of the metric count at most, where that is limited.
    most_reports: Option<usize>,
    /// The folders of which copies are made, each with its name in the copy.
    folders: Vec<(PathBuf, PathBuf)>,
    home: PathBuf,
    seen: watch::Sender<Seen>,
    /// Held while a copy is made.
    copying: Mutex<()>,
    /// The steps that this agent has seen this attempt report: runs takes one value of each.
    steps: Mutex<BTreeSet<i64>>,
    /// The last value that could not be copied, and why.
    failed: Mutex<Option<(Value, String)>>,
}

/// The folder of the copies of an attempt; `None` when nothing is to be kept at its best value.
pub(super) fn home(order: &StartAttempt, attempt: &Path) -> Option<PathBuf> {
    let spec = order.spec.as_ref().filter(|spec| keeps_best(spec))?;
    let checkpoints = Path::new(&order.checkpoint_folder);
    let beside = || Some(checkpoints.with_file_name(format!(".{}.best", checkpoints.file_name()?.to_string_lossy())));
    if spec.checkpoint { beside() } else { Some(attempt.join("best")) }
}

fn keeps_best(spec: &JobSpec) -> bool {
    spec.service.is_none() && !spec.keep_best.is_empty()
}

/// Where the attempt's program reads which value is kept.
pub(super) fn kept_file(order: &StartAttempt, attempt: &Path) -> Option<PathBuf> {
    Some(home(order, attempt)?.join(folder::BEST))
}

impl Best {
    /// Of an attempt that keeps something, with what an earlier agent or attempt has kept.
    pub fn of(order: &StartAttempt, attempt: &Path) -> Option<Self> {
        let home = home(order, attempt)?;
        let spec = order.spec.as_ref()?;
        let goal = spec.goal.parse().ok()?;
        let folder = |name: &String| match name.as_str() {
            CHECKPOINT => (PathBuf::from(&order.checkpoint_folder), PathBuf::from(CHECKPOINT)),
            output => (attempt.join(output), PathBuf::from(output)),
        };
        let folders = spec.keep_best.iter().map(folder).collect();
        let reported: Reported = folder::read_json(&home.join(VALUES)).ok().flatten().unwrap_or_default();
        let best = read(&home).map(|kept| kept.of).filter(|value| reported.counts(value));
        let seen = watch::Sender::new(Seen { best, reported, ..Seen::default() });
        let (metric, attempt) = (spec.primary_metric.clone(), order.attempt);
        let most_reports = spec.contract_variables.get(MAX_RESOURCE).and_then(|most| most.parse().ok());
        let (copying, steps, failed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Some(Self { metric, goal, attempt, most_reports, folders, home, seen, copying, steps, failed })
    }

    /// The attempt begins: earlier ones whose agents do not know it yet change nothing any more.
    ///
    /// # Errors
    /// When the disk does not go along.
    pub(super) fn begin(&self) -> io::Result<()> {
        let mut reported = self.seen.borrow().reported.clone();
        if reported.newest >= self.attempt {
            return Ok(());
        }
        reported.newest = self.attempt;
        fs::create_dir_all(&self.home)?;
        folder::write_json(&self.home.join(VALUES), &reported)?;
        self.seen.send_modify(|seen| seen.reported = reported);
        Ok(())
    }

    /// Whether a later attempt has begun.
    fn is_superseded(&self) -> bool {
        let reported: Option<Reported> = folder::read_json(&self.home.join(VALUES)).ok().flatten();
        reported.is_some_and(|reported| reported.newest > self.attempt)
    }

    /// A point that the attempt has reported; `again`, when nobody knows how long ago: what the folders held then is
    /// gone. One of a step that it has reported already changes nothing: runs keeps the first value of each.
    pub fn report(&self, point: &MetricPoint, again: bool) {
        if point.name != self.metric {
            return;
        }
        let mut reported = self.seen.borrow().reported.clone();
        let step = reported.take(self.attempt, point.step);
        if !self.steps.lock().unwrap_or_else(PoisonError::into_inner).insert(step) {
            if !again {
                self.pass_over(point);
            }
            return;
        }
        if self.most_reports.is_some_and(|most| reported.is_beyond(self.attempt, step, most)) {
            self.pass_over(point);
            return;
        }
        let value = Value { value: point.value, step, attempt: self.attempt };
        self.count(&mut reported, &value);
        // A later attempt goes on from here: it knows better what counts.
        if reported.newest > self.attempt || !self.keep(&reported) {
            self.seen.send_modify(|seen| seen.is_latest = false);
            return;
        }
        self.seen.send_modify(|seen| {
            if seen.best.as_ref().is_some_and(|best| !reported.counts(best)) {
                (seen.best, seen.is_latest) = (None, false);
            }
            if !again {
                seen.is_latest = self.is_better(&value, seen.best.as_ref());
                if seen.is_latest {
                    seen.best = Some(value);
                }
            }
            seen.reported = reported;
        });
    }

    /// A point that does not count; but what the folders hold may be of it from here on.
    pub fn pass_over(&self, point: &MetricPoint) {
        if point.name == self.metric {
            self.seen.send_modify(|seen| seen.is_latest = false);
        }
    }

    fn count(&self, reported: &mut Reported, value: &Value) {
        let is_own = |other: &Value| other.attempt == value.attempt;
        let mut earlier = reported.counted.iter().filter(|other| is_own(other) && other.step <= value.step);
        if earlier.all(|other| self.is_better(value, Some(other))) && value.value.is_finite() {
            reported
                .counted
                .retain(|other| !is_own(other) || other.step < value.step || self.is_better(other, Some(value)));
            reported.counted.push(value.clone());
        }
    }

    /// The best of all values that count; the first of equal ones.
    fn best_counted(&self) -> Option<Value> {
        let seen = self.seen.borrow();
        let all = seen.reported.counted.iter();
        all.fold(None, |best, value| if self.is_better(value, best) { Some(value) } else { best }).cloned()
    }

    /// Writes down what has been reported where that says something new; false when a later attempt has begun.
    fn keep(&self, reported: &Reported) -> bool {
        let is_new = {
            let before = &self.seen.borrow().reported;
            (&before.counted, &before.least, &before.points) != (&reported.counted, &reported.least, &reported.points)
        };
        if is_new {
            if self.is_superseded() {
                return false;
            }
            // After a restart of the agent it is only what is said of the best value that would be wrong.
            let _ = fs::create_dir_all(&self.home);
            let _ = folder::write_json(&self.home.join(VALUES), reported);
        }
        true
    }

    fn is_better(&self, value: &Value, than: Option<&Value>) -> bool {
        let improves = |best: &Value| match self.goal {
            Goal::Minimize => value.value < best.value,
            Goal::Maximize => value.value > best.value,
        };
        value.value.is_finite() && than.is_none_or(improves)
    }

    /// What is reported, as it comes.
    pub(super) fn news(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Nothing is reported any more.
    pub(super) fn end(&self) {
        self.seen.send_modify(|seen| seen.is_over = true);
    }

    /// The copy that stands: that of a value which counts.
    fn standing(&self) -> Option<Kept> {
        read(&self.home).filter(|kept| self.seen.borrow().reported.counts(&kept.of))
    }

    /// The value of the copy that stands.
    pub(super) fn kept_value(&self) -> Option<Value> {
        self.standing().map(|kept| kept.of)
    }

    /// The copy that stands.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.standing().map(|kept| self.home.join(kept.copy))
    }

    /// Copies the folders as they are at a value; false when they had changed before they were copied.
    pub(super) fn copy(&self, value: &Value) -> io::Result<bool> {
        let _one = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        let before = read(&self.home);
        if self.is_superseded() || before.as_ref().is_some_and(|kept| kept.of.attempt > self.attempt) {
            return Ok(false);
        }
        let standing = before.map(|kept| kept.copy);
        let mut names = NAMES.iter().map(|name| format!("{}-{name}", self.attempt));
        let name = names.find(|name| standing.as_ref() != Some(name)).unwrap_or_default();
        let target = self.home.join(&name);
        let is_current = || {
            let seen = self.seen.borrow();
            seen.is_latest && seen.best.as_ref() == Some(value)
        };
        if copies::make(&self.folders, &target, is_current)? == Copied::Changed {
            return Ok(false);
        }
        if self.is_superseded() {
            return Ok(false);
        }
        let kept = Kept { of: value.clone(), copy: name };
        folder::write_durably(&self.home.join(folder::BEST), &serde_json::to_vec(&kept)?)?;
        if let Some(older) = standing {
            copies::remove(&self.home.join(older))?;
        }
        Ok(true)
    }

    /// What belongs to a value could not be copied.
    pub(super) fn fail(&self, value: Value, error: &io::Error) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some((value, error.to_string()));
    }

    /// Puts the checkpoint of the best value in the place of the last one, once.
    pub(super) fn leave_checkpoint(&self) -> io::Result<()> {
        if self.is_superseded() {
            return Ok(());
        }
        let Some((place, _)) = self.folders.iter().find(|(_, name)| name == Path::new(CHECKPOINT)) else {
            return Ok(());
        };
        let Some(kept) = self.kept().map(|copy| copy.join(CHECKPOINT)).filter(|kept| kept.is_dir()) else {
            return Ok(());
        };
        let last = self.home.join("last");
        copies::remove(&last)?;
        match fs::rename(place, &last) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(kept, place)
    }

    /// Takes the copies away, when nobody reads them any more.
    pub(super) fn clean_up(&self) -> io::Result<()> {
        if self.is_superseded() { Ok(()) } else { copies::remove(&self.home) }
    }

    /// What the attempt's user should know: the best value and what is kept instead.
    pub(super) fn unkept(&self) -> Option<String> {
        let best = self.best_counted()?;
        let kept = self.kept_value();
        if kept.as_ref() == Some(&best) {
            return None;
        }
        let instead = kept.map_or_else(|| "that of the end".to_owned(), |kept| format!("that of {}", kept.value));
        let (metric, value) = (&self.metric, best.value);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match failed.as_ref().filter(|(of, _)| *of == best) {
            Some((_, error)) => format!(
                "what belongs to the best {metric}, {value}, is not kept: it could not be copied: {error}. What is \
                 kept is {instead}"
            ),
            None => format!(
                "what belongs to the best {metric}, {value}, is not kept: it had changed before it was copied, or \
                 belonged to an attempt that did not come to its end. What is kept is {instead}; a script that writes \
                 fast waits until {value} stands in TRIALOG_KEPT_FILE"
            ),
        })
    }
}

fn read(home: &Path) -> Option<Kept> {
    folder::read_json(&home.join(folder::BEST)).ok().flatten()
}

#[cfg(test)]
mod tests;
