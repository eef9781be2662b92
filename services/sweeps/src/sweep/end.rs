//! A trial moves on and ends, and what follows from it for the sweep.

use jiff::Timestamp;

use super::decide::{Decided, RunEnd, RunMove};
use super::state::{Status, Submitted, Sweep};
use super::trial::Trial;
use super::words::{Closing, CompletedReason, Outcome, StopBy, TrialEnd, TrialState};
use super::{
    SweepCanceled, SweepCompleted, SweepCompleting, SweepEvent, SweepFailed, SweepStalled, SweepUnstalled, SweepWarned,
    TrialEnded, TrialStateChanged,
};

/// So many trials in a row that ended well without the watched metric mean that it has another name.
const UNREPORTED_TRIALS_MAX: u32 = 3;
/// So many preemptions of a trial without a report between them are a storm.
const STALLED_PREEMPTIONS: u32 = 5;

/// A trial's end that is being decided: the state does not have it yet.
#[derive(Clone, Copy)]
pub(super) struct Ending<'a> {
    pub(super) trial: u32,
    pub(super) end: &'a TrialEnd,
}

impl Sweep {
    /// Notes where a trial is. What an older attempt says, and what is known, changes nothing.
    pub(super) fn follow(&self, run: &RunMove) -> Decided {
        let submitted = self.known()?;
        let trial = self.trial(run.trial)?;
        let attempt = run.attempt.max(1);
        let known = trial.state == run.state && trial.attempts.last().is_some_and(|last| last.number == attempt);
        if trial.end.is_some() || run.state.is_terminal() || attempt < trial.attempt() || known {
            return Ok(Vec::new());
        }
        let moved = TrialStateChanged {
            trial: run.trial,
            attempt,
            state: run.state,
            node: run.node.clone(),
            end: run.end.clone(),
            at: run.at,
        };
        let mut events = vec![moved.into()];
        let in_a_row = trial.preemptions_in_a_row + 1;
        let storm = run.state == TrialState::Preempted && in_a_row >= STALLED_PREEMPTIONS;
        if storm && !self.stalled.contains_key(&run.trial) {
            let reason = format!("trial {} was preempted {in_a_row} times without a new report", run.trial);
            let (workspace, trial) = (submitted.workspace.clone(), run.trial);
            events.push(SweepStalled { workspace, trial, reason, at: run.at }.into());
        }
        Ok(events)
    }

    /// Ends a trial: the one place that says as what. A policy's stop that is in the log wins over whatever the
    /// program did.
    pub(super) fn end(&self, run: &RunEnd) -> Decided {
        let submitted = self.known()?;
        let trial = self.trial(run.trial)?;
        if trial.end.is_some() || run.attempt.max(1) < trial.attempt() {
            return Ok(Vec::new());
        }
        let best = self.curves.standing(run.trial).map(|standing| standing.value);
        let end = end_of(trial, run, best.is_none());
        let ended = TrialEnded {
            workspace: submitted.workspace.clone(),
            trial: run.trial,
            run_id: trial.run_id,
            attempt: run.attempt.max(1),
            end: end.clone(),
            attempt_end: run.end.clone(),
            best,
            at: run.at,
        };
        let mut events = vec![ended.into()];
        if self.stalled.contains_key(&run.trial) {
            events.push(SweepUnstalled { trial: run.trial }.into());
        }
        let ending = Ending { trial: run.trial, end: &end };
        events.extend(self.after(submitted, trial, ending, run));
        Ok(events)
    }

    /// What the end of a trial means for the sweep.
    fn after(&self, submitted: &Submitted, trial: &Trial, ending: Ending<'_>, run: &RunEnd) -> Vec<SweepEvent> {
        let last = self.live.iter().all(|&live| live == ending.trial);
        match &self.status {
            Status::Completing(outcome) if last => vec![self.finish_as(outcome, Some(ending), run.at)],
            Status::Canceling(by) if last => vec![self.canceled(by, Some(ending), run.at)],
            Status::Running | Status::Paused => {
                if let Some(outcome) = self.failure(submitted, trial, ending, run) {
                    return self.begin_ending(outcome, Some(StopBy::Sweep), Some(ending), run.at);
                }
                if last && self.spent() >= submitted.limits.max_total_trials {
                    let outcome = Outcome::Completed { reason: CompletedReason::MaxTotalTrials };
                    return self.begin_ending(outcome, None, Some(ending), run.at);
                }
                self.silent(submitted, trial, ending, run).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Why the sweep cannot succeed, if this end shows that.
    fn failure(&self, submitted: &Submitted, trial: &Trial, ending: Ending<'_>, run: &RunEnd) -> Option<Outcome> {
        match ending.end {
            TrialEnd::Failed { .. } => {
                let in_a_row = self.failed_in_a_row + 1;
                if self.completed > 0 || in_a_row < submitted.limits.max_failed_trials {
                    return None;
                }
                let first = if self.failed_in_a_row == 0 { &run.end.stderr_tail } else { &self.first_stderr_tail };
                let reason = ending.end.reason();
                let said = if first.is_empty() { "it wrote nothing to stderr" } else { first.trim_end() };
                let detail = format!("{in_a_row} trials in a row failed (the last: {reason}); the first said: {said}");
                Some(Outcome::Failed { code: "TrialsKeepFailing".to_owned(), detail })
            }
            TrialEnd::Completed { .. } if !trial.reported => {
                let in_a_row = self.unreported_in_a_row + 1;
                (in_a_row >= UNREPORTED_TRIALS_MAX).then(|| {
                    let detail = saw(&run.metric_names, &submitted.spec.objective.primary_metric);
                    Outcome::Failed { code: "ObjectiveNeverReported".to_owned(), detail }
                })
            }
            _ => None,
        }
    }

    /// A warning when a trial ended well without the watched metric, which nobody has reported yet.
    fn silent(&self, submitted: &Submitted, trial: &Trial, ending: Ending<'_>, run: &RunEnd) -> Option<SweepEvent> {
        let unreported = matches!(ending.end, TrialEnd::Completed { .. }) && !trial.reported && !self.reported;
        let first = self.unreported_in_a_row == 0;
        (unreported && first).then(|| {
            let seen = saw(&run.metric_names, &submitted.spec.objective.primary_metric);
            let message = format!("trial {} ended without the primary metric: {seen}", ending.trial);
            let (workspace, code) = (submitted.workspace.clone(), "NoObjective".to_owned());
            SweepWarned { workspace, code, message, at: run.at }.into()
        })
    }

    /// No more proposals. With `stop` the live trials are stopped, without they run on; with none left it is over at
    /// once.
    pub(super) fn begin_ending(
        &self,
        outcome: Outcome,
        stop: Option<StopBy>,
        ending: Option<Ending<'_>>,
        at: Timestamp,
    ) -> Vec<SweepEvent> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let left: Vec<u32> =
            self.live.iter().copied().filter(|&live| ending.is_none_or(|ending| ending.trial != live)).collect();
        let mut events = Vec::with_capacity(left.len() + 2);
        let fails = matches!(outcome, Outcome::Failed { .. });
        if !(fails && left.is_empty()) {
            let workspace = submitted.workspace.clone();
            events.push(SweepCompleting { workspace, outcome: outcome.clone(), at }.into());
        }
        if left.is_empty() {
            events.push(self.finish_as(&outcome, ending, at));
        } else if let Some(by) = stop {
            events.extend(self.stops(left.into_iter(), by, at));
        }
        events
    }

    pub(super) fn canceled(&self, by: &str, ending: Option<Ending<'_>>, at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        SweepCanceled { workspace, by: by.to_owned(), closing: self.closing(ending), at }.into()
    }

    fn finish_as(&self, outcome: &Outcome, ending: Option<Ending<'_>>, at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        let closing = self.closing(ending);
        match outcome {
            Outcome::Completed { reason } => SweepCompleted { workspace, reason: *reason, closing, at }.into(),
            Outcome::Failed { code, detail } => {
                SweepFailed { workspace, code: code.clone(), detail: detail.clone(), closing, at }.into()
            }
        }
    }

    /// What came out so far.
    pub(super) fn closing_now(&self) -> Closing {
        self.closing(None)
    }

    /// What came out, with an end that the state does not have yet.
    fn closing(&self, ending: Option<Ending<'_>>) -> Closing {
        let mut counts = self.counts.clone();
        let best = match ending {
            None => self.best(),
            Some(Ending { trial, end }) => {
                let before = self.trials.get(trial as usize).map(|trial| trial.state);
                if let Some(count) = before.and_then(|state| counts.get_mut(&state)) {
                    *count = count.saturating_sub(1);
                }
                *counts.entry(end.state()).or_default() += 1;
                // Once a sweep: the ranking depends on which trials completed.
                let mut curves = self.curves.clone();
                curves.end(trial, end.for_policies());
                self.best_of(&curves)
            }
        };
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        Closing {
            best,
            trial_counts: counts.map(|(state, count)| (state.as_str().to_owned(), count)).collect(),
            proposals: self.proposals(),
            preemptions: self.preemptions,
        }
    }
}

/// As what a trial ends.
fn end_of(trial: &Trial, run: &RunEnd, no_objective: bool) -> TrialEnd {
    let end = &run.end;
    let phase = if end.phase.is_empty() { "run".to_owned() } else { end.phase.clone() };
    match trial.stop.map(|stop| stop.by) {
        Some(StopBy::Policy) => return TrialEnd::EarlyStopped { decision: run.decision.clone() },
        Some(StopBy::NonFinite) => {
            return TrialEnd::Failed { phase, reason: "non_finite".to_owned(), exit_code: None, signal: None };
        }
        _ => {}
    }
    match end.outcome.as_str() {
        // A program that had ended well before the wish to end it arrived has completed; its model is whole.
        "completed" => TrialEnd::Completed { no_objective },
        "canceled" => {
            let said = if end.by.is_empty() { "user" } else { end.by.as_str() };
            TrialEnd::Canceled { by: trial.stop.map_or(said, |stop| stop.by.as_str()).to_owned() }
        }
        outcome => {
            let reason = if end.reason.is_empty() { outcome } else { end.reason.as_str() };
            TrialEnd::Failed { phase, reason: reason.to_owned(), exit_code: end.exit_code, signal: end.signal }
        }
    }
}

fn saw(names: &[String], watched: &str) -> String {
    let names = if names.is_empty() { "no metric".to_owned() } else { names.join(", ") };
    format!("saw {names}; expected {watched}")
}
