//! A trial moves on and ends. What follows from an end for the sweep is in `settle`.

use jiff::Timestamp;
use tuning::Standing;

use super::TrialState;
use super::command::{RunEnd, RunMove};
use super::events::{SweepEvent, SweepStalled, SweepUnstalled, TrialEnded, TrialStateChanged, TrialStopRequested};
use super::finishing::end_of_finished;
use super::rejection::Decided;
use super::state::{Submitted, Sweep};
use super::trial::Trial;
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};

/// So many preemptions of a trial without a report between them are a storm.
const STALLED_PREEMPTIONS: u32 = 5;

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
        let result = self.curves.standing(run.trial);
        Ok(self.ended(submitted, trial, run, end_of(trial, run, result.is_none()), result))
    }

    /// A trial's end, with its result.
    pub(super) fn ended(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        run: &RunEnd,
        end: TrialEnd,
        result: Option<Standing>,
    ) -> Vec<SweepEvent> {
        let ended = TrialEnded {
            workspace: submitted.workspace.clone(),
            trial: run.trial,
            run_id: trial.run_id,
            attempt: run.attempt.max(1),
            end,
            attempt_end: run.end.clone(),
            best: result.map(|standing| standing.value),
            missing_outputs: run.outputs.as_ref().map_or_else(Vec::new, |left| submitted.spec.lacking(left)),
            at: run.at,
        };
        let mut events = vec![ended.into()];
        if self.stalled.contains_key(&run.trial) {
            events.push(SweepUnstalled { trial: run.trial }.into());
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
                missing_outputs: Vec::new(),
                at,
            };
            ended.into()
        });
        ends.collect()
    }

    /// Ends trials before their time. Those of jobs are asked to end; external ones end here and now.
    pub(super) fn end_early(&self, trials: Vec<u32>, by: StopBy, at: Timestamp) -> Vec<SweepEvent> {
        match self.submitted.as_ref().filter(|submitted| submitted.spec.is_external()) {
            Some(submitted) => self.withdrawn(submitted, trials, &TrialEnd::Canceled { by: by.to_string() }, at),
            None => self.stops(trials.into_iter(), by, at),
        }
    }

    /// The stops that end the given trials, except those that are being stopped already.
    pub(super) fn stops(&self, trials: impl Iterator<Item = u32>, by: StopBy, at: Timestamp) -> Vec<SweepEvent> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let running = trials.filter_map(|index| Some((index, self.trials.get(index as usize)?)));
        running
            .filter(|(_, trial)| trial.stop.is_none())
            .map(|(index, trial)| {
                let (workspace, run_id) = (submitted.workspace.clone(), trial.run_id);
                TrialStopRequested { workspace, trial: index, run_id, by, decision: None, at }.into()
            })
            .collect()
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
        "completed" => TrialEnd::completed(no_objective),
        "canceled" if trial.stop.is_some_and(|stop| stop.by == StopBy::MaxResource) => {
            end_of_finished(trial, no_objective)
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
