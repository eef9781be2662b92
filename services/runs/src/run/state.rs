//! A run's state and what events do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vocabulary::job::{JobEnd, JobSpec, Outcome, RequeueCause, StopBy};

use super::RunState;
use super::events::{AttemptEnded, Objective, RunCreated, RunEnded, RunEvent, RunStateChanged, RunUpdated, Subject};
use super::series::Series;

/// Names of keys that are not watched that a run remembers: enough for a hint, little in an event.
pub const NAMES_MAX: usize = 20;

/// A stop that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// SWEEP@position of a policy's decision, else empty.
    pub decision: String,
    /// Who or what.
    pub by: StopBy,
}

/// One try of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Where it ran; empty without a job.
    pub node: String,
    /// Microseconds since 1970.
    pub started_us: i64,
    /// Microseconds since 1970.
    pub ended_us: Option<i64>,
    /// What became of it.
    pub end: Option<Outcome>,
    /// Seconds between its last checkpoint and its end.
    pub checkpoint_age_seconds: Option<f64>,
}

/// What is known of a run beside what is decided on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Decimal text.
    pub experiment_id: String,
    /// The experiment's name.
    pub experiment: String,
    /// The run's name.
    pub name: String,
    /// The run that this one is nested in; empty for none.
    pub parent_run_id: String,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// What compute runs; `None` when its client drives it.
    pub job: Option<Arc<JobSpec>>,
    /// What a trial without a job is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<Objective>,
    /// Microseconds since 1970.
    pub created_us: i64,
    /// When its first attempt ran first.
    pub started_us: Option<i64>,
    /// When it was over.
    pub ended_us: Option<i64>,
    /// When it was deleted.
    pub deleted_us: Option<i64>,
    /// How often a node was taken away from it.
    pub preemptions: u32,
    /// Its tries, the first one first.
    pub attempts: Vec<Attempt>,
    /// How it ended.
    pub end: Option<JobEnd>,
}

/// A run. What is shown of it is what is written of it ([`crate::views::runs`]): the rest is only decided on, and does
/// not touch what is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `None` before the run was created.
    pub state: Option<RunState>,
    /// Whose run it is.
    pub subject: Subject,
    /// Events of its stream.
    #[serde(skip)]
    pub version: i64,
    /// The current attempt.
    pub attempt: u32,
    /// Who wants that it waits, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<StopBy>,
    /// What else is known.
    pub details: Details,
    /// The first stop that was asked for.
    #[serde(skip)]
    pub stop: Option<Stop>,
    /// The live points of the watched keys; emptied when the run has ended.
    #[serde(skip)]
    pub watched: BTreeMap<String, Series>,
    /// Other keys that were logged, when there is a watched one.
    #[serde(skip)]
    pub names: BTreeSet<String>,
    /// Ids of the outputs that it has left, of whichever attempt.
    #[serde(skip)]
    pub outputs: BTreeSet<String>,
}

impl Run {
    /// Whether compute runs it.
    pub fn has_job(&self) -> bool {
        self.details.job.is_some()
    }

    /// The metric that it is about, if it has been told.
    pub fn objective(&self) -> Option<Objective> {
        let Some(job) = &self.details.job else { return self.details.objective.clone() };
        job.primary_metric.clone().map(|metric| Objective { metric, goal: job.goal })
    }

    /// The state that people see: a run that is to wait waits for its sweep, not for a node.
    pub fn shown_state(&self) -> Option<RunState> {
        let waits = |state| matches!(state, RunState::Proposed | RunState::Queued | RunState::Preempted);
        // Of one that was to wait before that was shown only the wish is known.
        let wished = || self.stop.as_ref().is_some_and(|stop| stop.by.holds());
        let is_held = self.held_by.is_some() || wished();
        self.state.map(|state| if is_held && waits(state) { RunState::Paused } else { state })
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

    pub(crate) fn take(&mut self, event: &RunEvent) {
        self.version += 1;
        match event {
            RunEvent::RunCreated(event) => self.created(event),
            RunEvent::RunUpdated(event) => self.updated(event),
            RunEvent::RunStateChanged(event) => self.moved(event),
            RunEvent::AttemptEnded(event) => self.attempt_ended(event),
            RunEvent::RunStopRequested(event) => {
                self.stop = Some(Stop { decision: event.decision.clone(), by: event.by });
                self.held_by = Some(event.by).filter(|by| by.holds());
            }
            RunEvent::RunReleased(_) => (self.stop, self.held_by) = (None, None),
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
            RunEvent::RunEnded(event) => self.over(event),
            RunEvent::RunRelabelled(event) => {
                self.state = Some(event.state);
                if let Some(end) = &mut self.details.end {
                    end.decision.clone_from(&event.decision);
                }
            }
            RunEvent::ArtifactsRecorded(event) => self.outputs.extend(event.outputs.iter().cloned()),
            RunEvent::RunDeleted(event) => self.details.deleted_us = Some(event.at_us),
        }
    }

    fn created(&mut self, event: &RunCreated) {
        self.subject = event.subject.clone();
        self.attempt = 1;
        self.details = Details {
            experiment_id: event.experiment_id.clone(),
            experiment: event.experiment.clone(),
            name: event.name.clone(),
            parent_run_id: event.parent_run_id.clone(),
            params: event.params.clone(),
            tags: event.tags.clone(),
            job: event.job.clone().map(Arc::new),
            objective: event.objective.clone(),
            created_us: event.at_us,
            ..Details::default()
        };
        match &event.job {
            Some(job) => {
                self.state = Some(RunState::Proposed);
                let names = job.primary_metric.iter().chain(&job.watched_metrics);
                self.watched = names.map(|name| (name.clone(), Series::default())).collect();
            }
            None => {
                self.state = Some(RunState::Running);
                self.details.started_us = Some(event.at_us);
                self.attempt(1, event.at_us);
            }
        }
    }

    fn updated(&mut self, event: &RunUpdated) {
        let details = &mut self.details;
        if let Some(name) = &event.name {
            details.name.clone_from(name);
        }
        details.params.extend(event.params.clone());
        details.tags.extend(event.tags.clone());
        for key in &event.remove_tags {
            details.tags.remove(key);
        }
    }

    fn moved(&mut self, event: &RunStateChanged) {
        self.state = Some(event.state);
        self.attempt = event.attempt;
        if event.state == RunState::Queued {
            return;
        }
        if event.state == RunState::Running {
            self.details.started_us.get_or_insert(event.at_us);
        }
        self.attempt(event.attempt, event.at_us).runs_on(&event.node_id);
    }

    fn attempt_ended(&mut self, event: &AttemptEnded) {
        match event.cause {
            RequeueCause::Preempted => {
                self.state = Some(RunState::Preempted);
                self.details.preemptions += 1;
            }
            RequeueCause::Lost => self.state = Some(RunState::NotResponding),
            RequeueCause::Retry | RequeueCause::Promoted | RequeueCause::Resumed => {}
        }
        let attempt = self.attempt(event.attempt, event.at_us);
        attempt.runs_on(&event.node_id);
        attempt.ends(&event.end, event.at_us);
    }

    fn over(&mut self, event: &RunEnded) {
        self.state = Some(event.state);
        self.held_by = None;
        self.attempt = event.attempt;
        self.watched.clear();
        let details = &mut self.details;
        details.ended_us = Some(event.at_us);
        details.end = Some(event.end.clone());
        // A job that was canceled in the queue never had this attempt.
        if let Some(attempt) = details.attempts.iter_mut().find(|attempt| attempt.number == event.attempt) {
            attempt.ends(&event.end, event.at_us);
        }
    }

    /// The attempt with this number, which begins now when it is new.
    fn attempt(&mut self, number: u32, at_us: i64) -> &mut Attempt {
        let attempts = &mut self.details.attempts;
        let place = attempts.iter().position(|attempt| attempt.number == number).unwrap_or_else(|| {
            attempts.push(Attempt { number, started_us: at_us, ..Attempt::default() });
            attempts.len() - 1
        });
        &mut attempts[place]
    }
}

impl Attempt {
    fn runs_on(&mut self, node: &str) {
        if !node.is_empty() {
            node.clone_into(&mut self.node);
        }
    }

    fn ends(&mut self, end: &JobEnd, at_us: i64) {
        self.ended_us = Some(at_us);
        self.end = Some(end.outcome);
        self.checkpoint_age_seconds = end.checkpoint_age_seconds;
    }
}
