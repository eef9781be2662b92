//! What follows from submissions, from the ends of trials, and from limits that were lowered: decided on the state that
//! has them.

use jiff::Timestamp;
use tuning::PolicySpec;

use super::TrialState;
use super::closing::Closing;
use super::decide::Command;
use super::events::{SweepCanceled, SweepCompleted, SweepCompleting, SweepEvent, SweepFailed, SweepWarned, TrialEnded};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status};
use super::trial::Trial;
use super::trial_end::{StopBy, TrialEnd};
use crate::document::FailedTrials;

/// So many trials in a row that ended well without the watched metric mean that it has another name.
const UNREPORTED_TRIALS_MAX: u32 = 3;
/// A share of fewer ended trials says little.
const SHARE_TRIALS_MIN: u32 = 20;

impl Sweep {
    /// What follows from the events of an append so far, on the state with them.
    pub(super) fn consequences(&self, command: &Command, events: &[SweepEvent]) -> Vec<SweepEvent> {
        let (Some(submitted), Some(last), at) = (&self.submitted, latest(events), command.at()) else {
            return Vec::new();
        };
        let mut follows = match last {
            SweepEvent::TrialEnded(ended) => self.bereft(submitted, ended).into_iter().collect(),
            _ => Vec::new(),
        };
        follows.extend(self.what_follows(command, submitted, events, (last, at)));
        follows
    }

    fn what_follows(
        &self,
        command: &Command,
        submitted: &Submitted,
        events: &[SweepEvent],
        (last, at): (&SweepEvent, Timestamp),
    ) -> Vec<SweepEvent> {
        let none_left = self.live.is_empty() && self.paused.is_empty();
        match &self.status {
            Status::Queued => match command {
                // What does not fit the state is proposed anew, as later trials are.
                Command::SubmitWithHistory { first, .. } => {
                    self.propose(self.proposals(), first, at).unwrap_or_default()
                }
                _ => Vec::new(),
            },
            Status::Completing(outcome) if none_left => vec![self.finish_as(outcome, at)],
            Status::Canceling(by) if none_left => vec![self.canceled(by, at)],
            Status::Running | Status::Paused => match (command, last) {
                (Command::End(run), SweepEvent::TrialEnded(ended)) => {
                    self.after_end(submitted, ended, &run.metric_names)
                }
                (Command::Tell(_), SweepEvent::TrialEnded(ended)) if self.tell_reaches_target(events) => {
                    let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
                    self.begin_ending(outcome, Some(StopBy::TargetReached), ended.at)
                }
                (Command::Tell(_), SweepEvent::TrialEnded(ended)) => self.after_end(submitted, ended, &[]),
                (Command::CheckDeadlines { .. }, SweepEvent::TrialEnded(_))
                | (Command::Change { .. }, SweepEvent::LimitsChanged(_))
                | (Command::Extend { .. }, SweepEvent::SweepExtended(_))
                    if none_left =>
                {
                    let spent = self.spent_for(&submitted.limits);
                    let outcome = spent.map(|reason| Outcome::Completed { reason });
                    outcome.map_or_else(Vec::new, |outcome| self.begin_ending(outcome, None, at))
                }
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Whether the append has a told value that the sweep looks for: with it every trial ends, and the sweep.
    fn tell_reaches_target(&self, events: &[SweepEvent]) -> bool {
        events.iter().any(|event| match event {
            // What comes too late counts for nothing.
            SweepEvent::ObservationRecorded(observed) if !observed.after_stop => {
                observed.points.iter().any(|point| self.reaches_target(point.value))
            }
            _ => false,
        })
    }

    /// What the end of a trial means for a sweep that is open.
    fn after_end(&self, submitted: &Submitted, ended: &TrialEnded, metric_names: &[String]) -> Vec<SweepEvent> {
        let Some(trial) = self.trials.get(ended.trial as usize) else { return Vec::new() };
        let none_left = self.live.is_empty() && self.paused.is_empty();
        if let Some(outcome) = self.failure(submitted, trial, ended, metric_names) {
            return self.begin_ending(outcome, Some(StopBy::Sweep), ended.at);
        }
        if let Some(reason) = self.spent_for(&submitted.limits).filter(|_| none_left) {
            return self.begin_ending(Outcome::Completed { reason }, None, ended.at);
        }
        if matches!(ended.end, TrialEnd::Completed { .. }) && self.is_feasibly_reached() {
            let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
            return self.begin_ending(outcome, Some(StopBy::TargetReached), ended.at);
        }
        // Nobody would let go on what is held: the question comes again with the next end.
        let may_complete = self.held.is_empty() && !self.ended_while_held;
        if let Some(reason) = self.enough(&submitted.limits).filter(|_| may_complete) {
            // Others may still find something better: they run on.
            return self.begin_ending(Outcome::Completed { reason }, None, ended.at);
        }
        let warning = self.silent(submitted, trial, ended, metric_names);
        warning.or_else(|| self.lacking(submitted, trial, ended, metric_names)).into_iter().collect()
    }

    /// Why the sweep cannot succeed, if this end shows that.
    fn failure(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        ended: &TrialEnded,
        metric_names: &[String],
    ) -> Option<Outcome> {
        match &ended.end {
            TrialEnd::Failed { .. } => {
                let many = self.too_many_failed(submitted)?;
                let (first, reason) = (&self.first_stderr_tail, ended.end.reason());
                let first = if first.is_empty() { "it wrote nothing to stderr" } else { first.trim_end() };
                let detail = format!("{many} failed (the last: {reason}); the first said: {first}");
                Some(Outcome::Failed { code: "TrialsKeepFailing".to_owned(), detail })
            }
            TrialEnd::Completed { .. } if !trial.reported && !trial.follows() => {
                (self.unreported_in_a_row >= UNREPORTED_TRIALS_MAX).then(|| {
                    let detail = saw(metric_names, &submitted.spec.objective.primary_metric);
                    Outcome::Failed { code: "ObjectiveNeverReported".to_owned(), detail }
                })
            }
            _ => None,
        }
    }

    /// How many have failed, in words, when these are too many.
    fn too_many_failed(&self, submitted: &Submitted) -> Option<String> {
        match submitted.limits.max_failed_trials {
            FailedTrials::InARow(most) => {
                let works = self.completed > 0 || self.curves.leader().is_some();
                let many = !works && self.failed_in_a_row >= most;
                many.then(|| format!("{} trials in a row", self.failed_in_a_row))
            }
            FailedTrials::Share(share) => {
                let counts = self.counts.iter().filter(|(state, _)| state.is_terminal());
                let ended: u32 = counts.map(|(_, count)| count).sum();
                let failed = self.counts.get(&TrialState::Failed).copied().unwrap_or_default();
                let many = ended >= SHARE_TRIALS_MIN && f64::from(failed) >= share * f64::from(ended);
                many.then(|| format!("{failed} of {ended} trials"))
            }
        }
    }

    /// A warning when the best trial has not left what the document names: its model may be lost.
    fn bereft(&self, submitted: &Submitted, ended: &TrialEnded) -> Option<SweepEvent> {
        let best = self.best().filter(|best| best.trial == ended.trial && !best.missing_outputs.is_empty())?;
        let outputs: Vec<String> = best.missing_outputs.iter().map(|id| format!("outputs/{id}")).collect();
        let (outputs, remedy) = (outputs.join(", "), remedy(&ended.end, &submitted.spec.policy));
        let message = format!("trial {} is best but left no {outputs}: {remedy}", best.trial);
        let (workspace, code) = (submitted.workspace.clone(), "BestWithoutOutputs".to_owned());
        Some(SweepWarned { workspace, code, message, at: ended.at }.into())
    }

    /// A warning when a trial ended well without the watched metric, which nobody has reported yet.
    fn silent(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        ended: &TrialEnded,
        metric_names: &[String],
    ) -> Option<SweepEvent> {
        let unreported = matches!(ended.end, TrialEnd::Completed { .. }) && !trial.reported && !self.reported;
        let first = self.unreported_in_a_row == 1 && !trial.follows();
        (unreported && first).then(|| {
            let seen = saw(metric_names, &submitted.spec.objective.primary_metric);
            let message = format!("trial {} ended without the primary metric: {seen}", ended.trial);
            let (workspace, code) = (submitted.workspace.clone(), "NoObjective".to_owned());
            SweepWarned { workspace, code, message, at: ended.at }.into()
        })
    }

    /// No more proposals. With `stop` the live trials are stopped, external ones by ending them; without they run on.
    /// The last end finishes the sweep, now if nothing is left.
    pub(super) fn begin_ending(&self, outcome: Outcome, stop: Option<StopBy>, at: Timestamp) -> Vec<SweepEvent> {
        let Some(submitted) = &self.submitted else { return Vec::new() };
        let left: Vec<u32> = self.live.iter().chain(&self.paused).copied().collect();
        if left.is_empty() && matches!(outcome, Outcome::Failed { .. }) {
            return vec![self.finish_as(&outcome, at)];
        }
        let mut events = vec![SweepCompleting { workspace: submitted.workspace.clone(), outcome, at }.into()];
        events.extend(stop.map_or_else(Vec::new, |by| self.end_early(left, by, at)));
        events
    }

    fn canceled(&self, by: &str, at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        SweepCanceled { workspace, by: by.to_owned(), closing: self.closing(), at }.into()
    }

    pub(super) fn finish_as(&self, outcome: &Outcome, at: Timestamp) -> SweepEvent {
        let workspace = self.submitted.as_ref().map_or_else(String::new, |submitted| submitted.workspace.clone());
        let closing = self.closing();
        match outcome {
            Outcome::Completed { reason } => SweepCompleted { workspace, reason: *reason, closing, at }.into(),
            Outcome::Failed { code, detail } => {
                SweepFailed { workspace, code: code.clone(), detail: detail.clone(), closing, at }.into()
            }
        }
    }

    /// What came out.
    fn closing(&self) -> Closing {
        let counts = self.counts.iter().filter(|(_, count)| **count > 0);
        Closing {
            best: self.best(),
            trial_counts: counts.map(|(state, count)| (state.to_string(), *count)).collect(),
            proposals: self.proposals(),
            preemptions: self.preemptions,
            without_value: self.without_value,
            inherited: self.inherited(),
        }
    }
}

/// The last event of an append, but for the note that an ended trial is no longer stalled.
fn latest(events: &[SweepEvent]) -> Option<&SweepEvent> {
    events.iter().rev().find(|event| !matches!(event, SweepEvent::SweepUnstalled(_)))
}

/// Why a trial left less than its document names, and what to do about it, from how it ended.
fn remedy(end: &TrialEnd, policy: &PolicySpec) -> String {
    const WAYS: &str = "a longer finish_seconds gives it the time, or write them before the last value is reported, or \
                        keep them while it runs (outputs: {ID: {keep: best}}, or checkpoint)";
    const STOPPED: &str = "its policy stopped it, and only outputs that are kept at the best value remain then; write \
                           outputs: {ID: {keep: best}}";
    const BROKEN_OFF: &str = "it did not come to its own end, and only then outputs are uploaded; checkpoint: true \
                              keeps what it writes there";
    const FORGOTTEN: &str = "its script ended well without them; write them into the folders of TRIALOG_OUTPUT_ID \
                             before it ends";
    let (seconds, most) = (policy.finish_seconds(), policy.max_resource().unwrap_or_default());
    match end {
        TrialEnd::Completed { max_resource: true, .. } => format!(
            "it was ended, since it went on beyond max_resource {most} or took longer than finish_seconds {seconds} to \
             end; a larger max_resource lets it come to its own end, {WAYS}"
        ),
        TrialEnd::Completed { target_reached: true, .. } => {
            format!("it was ended, since it had reached the target and took longer than {seconds} s to end; {WAYS}")
        }
        TrialEnd::Completed { .. } => FORGOTTEN.to_owned(),
        TrialEnd::EarlyStopped { .. } => STOPPED.to_owned(),
        TrialEnd::Failed { .. } | TrialEnd::Canceled { .. } => BROKEN_OFF.to_owned(),
    }
}

fn saw(names: &[String], watched: &str) -> String {
    let names = if names.is_empty() { "no metric".to_owned() } else { names.join(", ") };
    format!("saw {names}; expected {watched}")
}
