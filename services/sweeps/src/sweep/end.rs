//! A trial moves on and ends, and what follows from it for the sweep.

use jiff::Timestamp;
use tuning::Report;

use super::closing::Closing;
use super::decide::{Decided, RunEnd, RunMove};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};
use super::trial::Trial;
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};
use super::trial_state::TrialState;
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
    /// A report in the same append, which the state does not have yet either.
    pub(super) report: Option<&'a Report>,
    /// The last values of the watched metrics, where those in the state are older.
    pub(super) values: Option<&'a [Option<f64>]>,
}

impl Ending<'_> {
    /// Whether the trial has reported the watched metric.
    fn reported(&self, trial: &Trial) -> bool {
        trial.reported || self.report.is_some()
    }
}

impl Sweep {
    /// Notes where a trial is. What an older attempt says, and what is known, changes nothing.
    pub(super) fn follow(&self, run: &RunMove) -> Decided {
        let submitted = self.known()?;
        let trial = self.trial(run.trial)?;
        let attempt = run.attempt.max(1);
        let known = trial.state == run.state && trial.attempts.last().is_some_and(|last| last.number == attempt);
        if submitted.spec.is_external() {
            return Ok(Vec::new());
        }
        // That it waits at a rung is what the sweep itself has said; that it is held is so when its run says it.
        let held = self.held.contains(&run.trial);
        let waits = trial.paused.is_some() || (run.state == TrialState::Paused && !held);
        if trial.end.is_some() || waits || run.state.is_terminal() || attempt < trial.attempt() || known {
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
        // The run of an external trial knows no attempts.
        let stale = !submitted.spec.is_external() && run.attempt.max(1) < trial.attempt();
        if trial.end.is_some() || stale {
            return Ok(Vec::new());
        }
        let end = end_of(trial, run, self.curves.standing(run.trial).is_none());
        let ending = Ending { trial: run.trial, end: &end, report: None, values: None };
        Ok(self.ended(submitted, trial, ending, run))
    }

    /// A trial's end and what follows from it.
    pub(super) fn ended(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        ending: Ending<'_>,
        run: &RunEnd,
    ) -> Vec<SweepEvent> {
        let mut events = vec![self.end_event(submitted, trial, ending, run)];
        if self.stalled.contains_key(&run.trial) {
            events.push(SweepUnstalled { trial: run.trial }.into());
        }
        events.extend(self.after(submitted, trial, ending, run));
        events
    }

    /// A trial's end alone.
    pub(super) fn end_event(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        ending: Ending<'_>,
        run: &RunEnd,
    ) -> SweepEvent {
        let standing = match ending.report {
            Some(report) => self.curves.standing_after(report),
            None => self.curves.standing(run.trial),
        };
        TrialEnded {
            workspace: submitted.workspace.clone(),
            trial: run.trial,
            run_id: trial.run_id,
            attempt: run.attempt.max(1),
            end: ending.end.clone(),
            attempt_end: run.end.clone(),
            best: standing.map(|standing| standing.value),
            at: run.at,
        }
        .into()
    }

    /// What the end of a trial means for the sweep.
    fn after(&self, submitted: &Submitted, trial: &Trial, ending: Ending<'_>, run: &RunEnd) -> Vec<SweepEvent> {
        let mut left = self.live.iter().chain(&self.paused);
        let last = left.all(|&left| left == ending.trial);
        match &self.status {
            Status::Completing(outcome) if last => vec![self.finish_as(outcome, &[ending], run.at)],
            Status::Canceling(by) if last => vec![self.canceled(by, &[ending], run.at)],
            Status::Running | Status::Paused => {
                if let Some(outcome) = self.failure(submitted, trial, ending, run) {
                    return self.begin_ending(outcome, Some(StopBy::Sweep), Some(ending), run.at);
                }
                if let Some(reason) = self.spent_for(&submitted.limits).filter(|_| last) {
                    let outcome = Outcome::Completed { reason };
                    return self.begin_ending(outcome, None, Some(ending), run.at);
                }
                if self.is_reached_by(ending) {
                    let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
                    return self.begin_ending(outcome, Some(StopBy::TargetReached), Some(ending), run.at);
                }
                // Nobody would let go on what is held: the question comes again with the next end.
                let may_complete = self.held.is_empty();
                if let Some(reason) = self.enough(&submitted.limits, self.lead_of(ending)).filter(|_| may_complete) {
                    // Others may still find something better: they run on.
                    return self.begin_ending(Outcome::Completed { reason }, None, Some(ending), run.at);
                }
                let warning = self.silent(submitted, trial, ending, run);
                warning.or_else(|| self.lacking(submitted, trial, ending, run)).into_iter().collect()
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
                let by = if first.is_empty() { "it wrote nothing to stderr" } else { first.trim_end() };
                let detail = format!("{in_a_row} trials in a row failed (the last: {reason}); the first said: {by}");
                Some(Outcome::Failed { code: "TrialsKeepFailing".to_owned(), detail })
            }
            TrialEnd::Completed { .. } if !ending.reported(trial) && !trial.follows() => {
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
        let unreported = matches!(ending.end, TrialEnd::Completed { .. }) && !ending.reported(trial) && !self.reported;
        let first = self.unreported_in_a_row == 0 && !trial.follows();
        (unreported && first).then(|| {
            let seen = saw(&run.metric_names, &submitted.spec.objective.primary_metric);
            let message = format!("trial {} ended without the primary metric: {seen}", ending.trial);
            let (workspace, code) = (submitted.workspace.clone(), "NoObjective".to_owned());
            SweepWarned { workspace, code, message, at: run.at }.into()
        })
    }

    /// No more proposals. With `stop` the live trials are stopped, without they run on; with none left it is over at
    /// once. External trials are stopped by ending them.
    pub(super) fn begin_ending(
        &self,
        outcome: Outcome,
        stop: Option<StopBy>,
        ending: Option<Ending<'_>>,
        at: Timestamp,
    ) -> Vec<SweepEvent> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let left = self.live.iter().chain(&self.paused).copied();
        let mut left: Vec<u32> = left.filter(|&left| ending.is_none_or(|ending| ending.trial != left)).collect();
        let mut events = Vec::with_capacity(left.len() + 2);
        let fails = matches!(outcome, Outcome::Failed { .. });
        if !(fails && left.is_empty()) {
            let workspace = submitted.workspace.clone();
            events.push(SweepCompleting { workspace, outcome: outcome.clone(), at }.into());
        }
        let withdrawn = TrialEnd::Canceled { by: stop.map(|by| by.to_string()).unwrap_or_default() };
        let mut endings: Vec<Ending<'_>> = ending.into_iter().collect();
        if submitted.spec.is_external() && stop.is_some() {
            endings.extend(withdrawals(&left, &withdrawn));
            events.extend(self.withdrawn(submitted, std::mem::take(&mut left), &withdrawn, at));
        }
        if left.is_empty() {
            events.push(self.finish_as(&outcome, &endings, at));
        } else if let Some(by) = stop {
            events.extend(self.stops(left.into_iter(), by, at));
        }
        events
    }

    /// Ends trials before their time. Those of jobs are asked to end; external ones end here and now, and with the
    /// last of them perhaps the sweep.
    pub(super) fn end_early(&self, trials: Vec<u32>, by: StopBy, at: Timestamp) -> Vec<SweepEvent> {
        let Some(submitted) = self.submitted.as_ref().filter(|submitted| submitted.spec.is_external()) else {
            return self.stops(trials.into_iter(), by, at);
        };
        let end = TrialEnd::Canceled { by: by.to_string() };
        let endings = withdrawals(&trials, &end);
        let mut events = self.withdrawn(submitted, trials, &end, at);
        if endings.len() < self.live.len() + self.paused.len() {
            return events;
        }
        match &self.status {
            Status::Completing(outcome) => events.push(self.finish_as(outcome, &endings, at)),
            Status::Running | Status::Paused => {
                let Some(reason) = self.spent_for(&submitted.limits) else { return events };
                let (workspace, outcome) = (submitted.workspace.clone(), Outcome::Completed { reason });
                events.push(SweepCompleting { workspace, outcome: outcome.clone(), at }.into());
                events.push(self.finish_as(&outcome, &endings, at));
            }
            _ => {}
        }
        events
    }

    /// The ends of external trials that nobody is to tell of any more.
    pub(super) fn withdrawn(
        &self,
        submitted: &Submitted,
        trials: Vec<u32>,
        end: &TrialEnd,
        at: Timestamp,
    ) -> Vec<SweepEvent> {
        let found = trials.into_iter().filter_map(|index| Some((index, self.trials.get(index as usize)?)));
        let ends = found.map(|(index, trial)| {
            let (outcome, by) = ("canceled".to_owned(), end.reason());
            let ended = TrialEnded {
                workspace: submitted.workspace.clone(),
                trial: index,
                run_id: trial.run_id,
                attempt: trial.attempt(),
                end: end.clone(),
                attempt_end: AttemptEnd { outcome, by, ..AttemptEnd::default() },
                best: self.curves.standing(index).map(|standing| standing.value),
                at,
            };
            ended.into()
        });
        ends.collect()
    }

    /// Canceled, with the ends that the state does not have yet. External trials end with their sweep.
    pub(super) fn cancel_all(&self, by: &str, at: Timestamp) -> Vec<SweepEvent> {
        let live: Vec<u32> = self.live.iter().chain(&self.paused).copied().collect();
        let external = self.submitted.as_ref().filter(|submitted| submitted.spec.is_external());
        match external {
            Some(submitted) => {
                let end = TrialEnd::Canceled { by: StopBy::Sweep.to_string() };
                let canceled = self.canceled(by, &withdrawals(&live, &end), at);
                let mut events = self.withdrawn(submitted, live, &end, at);
                events.push(canceled);
                events
            }
            None if live.is_empty() => vec![self.canceled(by, &[], at)],
            None => self.stops(live.into_iter(), StopBy::Sweep, at),
        }
    }

    fn canceled(&self, by: &str, endings: &[Ending<'_>], at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        SweepCanceled { workspace, by: by.to_owned(), closing: self.closing(endings), at }.into()
    }

    pub(super) fn finish_as(&self, outcome: &Outcome, endings: &[Ending<'_>], at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        let closing = self.closing(endings);
        match outcome {
            Outcome::Completed { reason } => SweepCompleted { workspace, reason: *reason, closing, at }.into(),
            Outcome::Failed { code, detail } => {
                SweepFailed { workspace, code: code.clone(), detail: detail.clone(), closing, at }.into()
            }
        }
    }

    /// What came out, with ends that the state does not have yet.
    fn closing(&self, endings: &[Ending<'_>]) -> Closing {
        let mut counts = self.counts.clone();
        for Ending { trial, end, .. } in endings {
            let before = self.trials.get(*trial as usize).map(|trial| trial.state);
            if let Some(count) = before.and_then(|state| counts.get_mut(&state)) {
                *count = count.saturating_sub(1);
            }
            *counts.entry(end.state()).or_default() += 1;
        }
        let best = if endings.is_empty() {
            self.best()
        } else {
            // Once a sweep: the ranking depends on which trials completed.
            let mut curves = self.curves.clone();
            for Ending { trial, end, report, .. } in endings {
                if let Some(report) = report {
                    curves.report(report);
                }
                curves.end(*trial, end.for_policies());
            }
            self.best_of(&curves, endings)
        };
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        Closing {
            best,
            trial_counts: counts.map(|(state, count)| (state.to_string(), count)).collect(),
            proposals: self.proposals(),
            preemptions: self.preemptions,
        }
    }
}

pub(super) fn withdrawals<'a>(trials: &[u32], end: &'a TrialEnd) -> Vec<Ending<'a>> {
    trials.iter().map(|&trial| Ending { trial, end, report: None, values: None }).collect()
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
        "completed" => TrialEnd::Completed { no_objective, max_resource: false },
        "canceled" if trial.stop.is_some_and(|stop| stop.by == StopBy::MaxResource) => {
            TrialEnd::Completed { no_objective, max_resource: true }
        }
        "canceled" => {
            let by = if end.by.is_empty() { "user" } else { end.by.as_str() };
            TrialEnd::Canceled { by: trial.stop.map_or_else(|| by.to_owned(), |stop| stop.by.to_string()) }
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
