//! A run's state and what events do to it.
//!
//! ```text
//! with a job:    Proposed -> Queued -> Starting -> Preparing -> Running -> Finalizing -> Completed | Failed
//!                any of them -> Canceled | EarlyStopped
//!                Completed | Failed -> EarlyStopped (a policy's stop came late)
//!                any of them -> Preempted | NotResponding | Paused (at a rung) -> Queued (attempt + 1)
//! without one:   Running -> Completed | Failed | Canceled | EarlyStopped
//! ```

use std::collections::{BTreeMap, BTreeSet};

use contracts::runs as wire;
use serde::{Deserialize, Serialize};

use super::report::Series;
use super::{RunEvent, Subject, show};

/// Names of keys that are not watched that a run remembers: enough for a hint, little in an event.
pub const NAMES_MAX: usize = 20;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of the contract; the drawing above says how they follow each other")]
pub enum RunState {
    Proposed,
    Queued,
    Starting,
    Preparing,
    Running,
    Finalizing,
    Preempted,
    Paused,
    NotResponding,
    Completed,
    Failed,
    Canceled,
    EarlyStopped,
}

impl RunState {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Proposed,
        Self::Queued,
        Self::Starting,
        Self::Preparing,
        Self::Running,
        Self::Finalizing,
        Self::Preempted,
        Self::Paused,
        Self::NotResponding,
        Self::Completed,
        Self::Failed,
        Self::Canceled,
        Self::EarlyStopped,
    ];

    /// The word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "Proposed",
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Preparing => "Preparing",
            Self::Running => "Running",
            Self::Finalizing => "Finalizing",
            Self::Preempted => "Preempted",
            Self::Paused => "Paused",
            Self::NotResponding => "NotResponding",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::EarlyStopped => "EarlyStopped",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the run is over.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::EarlyStopped)
    }
}

/// A stop that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// SWEEP@position of a policy's decision, else empty.
    pub decision: String,
    /// Who: policy, user, sweep and so on.
    pub by: String,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// As users see it; the version counts the stream's events.
    pub shown: wire::Run,
    /// `None` before the run was created.
    pub state: Option<RunState>,
    /// Whose run it is.
    pub subject: Subject,
    /// The first stop that was asked for.
    pub stop: Option<Stop>,
    /// The live points of the watched keys; emptied when the run has ended.
    pub watched: BTreeMap<String, Series>,
    /// Other keys that were logged, when there is a watched one.
    pub names: BTreeSet<String>,
}

impl Run {
    /// The current attempt.
    pub fn attempt(&self) -> u32 {
        self.shown.attempt
    }

    /// Whether compute runs it.
    pub fn has_job(&self) -> bool {
        self.shown.job.is_some()
    }

    /// The state when the run is over.
    pub fn ended(&self) -> Option<RunState> {
        self.state.filter(|state| state.is_terminal())
    }

    /// Keys that were logged, at most [`NAMES_MAX`]: the watched ones first.
    pub fn metric_names(&self) -> Vec<String> {
        let reported = self.watched.iter().filter(|(_, series)| !series.is_empty()).map(|(name, _)| name);
        reported.chain(&self.names).take(NAMES_MAX).cloned().collect()
    }

    pub(super) fn take(&mut self, event: &RunEvent) {
        show(&mut self.shown, event);
        self.shown.version += 1;
        match event {
            RunEvent::RunCreated(event) => {
                self.subject = event.subject.clone();
                self.state = RunState::parse(&self.shown.state);
                let names =
                    event.job.iter().flat_map(|job| std::iter::once(&job.primary_metric).chain(&job.watched_metrics));
                let watched = names.filter(|name| !name.is_empty());
                self.watched = watched.map(|name| (name.clone(), Series::default())).collect();
            }
            RunEvent::RunStopRequested(event) => {
                self.stop = Some(Stop { decision: event.decision.clone(), by: event.by.clone() });
            }
            RunEvent::RunReleased(_) => self.stop = None,
            RunEvent::MetricReported(event) => {
                for point in &event.points {
                    if let Some(series) = self.watched.get_mut(&point.name) {
                        series.take(point.step, point.value, event.attempt);
                    }
                }
            }
            RunEvent::MetricNameSeen(event) => {
                self.names.insert(event.name.clone());
            }
            RunEvent::RunEnded(_) => {
                self.state = RunState::parse(&self.shown.state);
                self.watched.clear();
            }
            RunEvent::RunStateChanged(_) | RunEvent::AttemptEnded(_) | RunEvent::RunRelabelled(_) => {
                self.state = RunState::parse(&self.shown.state);
            }
            RunEvent::RunUpdated(_) | RunEvent::ArtifactsRecorded(_) => {}
        }
    }
}
