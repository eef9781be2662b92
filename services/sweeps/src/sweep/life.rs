//! The life of a sweep as a whole: cancel, change, extend, and time that runs out. Pauses are in `hold`.

use jiff::Timestamp;
use vocabulary::{FieldError, Problem};

use super::command::Changes;
use super::events::{LimitsChanged, SweepCanceling, SweepDescribed, SweepExtended};
use super::rejection::Decided;
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome, Status, SweepState};
use super::trial_end::StopBy;
use crate::document::Limits;

/// Microseconds of a second.
const US: f64 = 1e6;

/// Seconds in microseconds; what is longer than time lasts is as long as it.
fn us(seconds: f64) -> i64 {
    (seconds * US) as i64
}

impl Sweep {
    /// Canceling what ends or has ended changes nothing.
    pub(super) fn cancel(&self, by: &str, at: Timestamp) -> Decided {
        let workspace = self.known()?.workspace.clone();
        let state = self.status.state();
        if !state.is_open() && state != SweepState::Completing {
            return Ok(Vec::new());
        }
        let mut events = vec![SweepCanceling { workspace, by: by.to_owned(), at }.into()];
        // External trials end with their sweep.
        let left = self.live.iter().chain(&self.paused).copied().collect();
        events.extend(self.end_early(left, StopBy::Sweep, at));
        Ok(events)
    }

    pub(super) fn change_to(&self, changes: &Changes, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let mut events = Vec::new();
        if let Some(limits) = changes.limits.as_ref().filter(|limits| **limits != submitted.limits) {
            if !self.status.state().is_open() {
                return Err(self.refuse("its limits are no longer in force; :extend takes up a completed one").into());
            }
            events.push(LimitsChanged { limits: limits.clone(), at }.into());
        }
        let description = changes.description.as_ref().unwrap_or(&submitted.description);
        let tags = changes.tags.as_ref().unwrap_or(&submitted.tags);
        if *description != submitted.description || *tags != submitted.tags {
            let (description, tags) = (description.clone(), tags.clone());
            events.insert(0, SweepDescribed { description, tags, at }.into());
        }
        Ok(events)
    }

    pub(super) fn extend(&self, total: Option<u32>, timeout: Option<f64>, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let state = self.status.state();
        let again = matches!(
            self.status,
            Status::Completed(
                CompletedReason::MaxTotalTrials | CompletedReason::MaxNewTrials | CompletedReason::Timeout
            )
        );
        if !again && !state.is_open() {
            let how = "only an open sweep, or one that completed for a number of trials or timeout, can be extended";
            return Err(self.refuse(how).into());
        }
        let limits = self.extended(submitted, total, timeout)?;
        if limits == submitted.limits && !again {
            return Ok(Vec::new());
        }
        if again {
            self.check_room(&limits, at)?;
        }
        let state = if again { SweepState::Running } else { state };
        let extended = SweepExtended { workspace: submitted.workspace.clone(), limits, state, at };
        Ok(vec![extended.into()])
    }

    /// The limits after an extension: never lower than before.
    fn extended(&self, submitted: &Submitted, total: Option<u32>, timeout: Option<f64>) -> Result<Limits, Problem> {
        let mut limits = submitted.limits.clone();
        let mut errors = Vec::new();
        if total.is_none() && timeout.is_none() {
            let message = "max_total_trials or timeout_seconds: give a new total of at least one of them";
            errors.push(FieldError::new("", "Required", message));
        }
        if let Some(total) = total {
            let in_force = self.most_trials(&limits);
            if total < in_force {
                let message = format!("max_total_trials {total} must be >= {in_force}, the one in force");
                errors.push(FieldError::new("/max_total_trials", "OutOfRange", message));
            }
            limits.max_total_trials = total;
            // Who names a new total wants that many, however many of them are new.
            limits.max_new_trials = None;
        }
        if let Some(timeout) = timeout {
            // Written so that NaN is refused too.
            let longer = timeout >= limits.timeout_seconds;
            if !longer {
                let message =
                    format!("timeout_seconds {timeout} must be >= {}, the one in force", limits.timeout_seconds);
                errors.push(FieldError::new("/timeout_seconds", "BadTimeout", message));
            }
            limits.timeout_seconds = timeout;
        }
        if errors.is_empty() { Ok(limits) } else { Err(Problem::of_errors(422, errors)) }
    }

    /// Whether a sweep that had completed could do anything under the limits.
    fn check_room(&self, limits: &Limits, at: Timestamp) -> Result<(), Problem> {
        let mut errors = Vec::new();
        if self.spent() >= self.most_trials(limits) {
            let (total, made) = (limits.max_total_trials, self.spent());
            let message = format!("max_total_trials {total} must be > {made}, the trials that were proposed");
            errors.push(FieldError::new("/max_total_trials", "OutOfRange", message));
        } else if let Some(reason) = self.spent_for(limits) {
            return Err(self.refuse(&format!("nothing more can come ({})", reason)));
        }
        if self.sweep_deadline_us(limits).is_some_and(|deadline| deadline <= at.as_microsecond()) {
            let timeout = limits.timeout_seconds;
            let message = format!("timeout_seconds {timeout} has passed since the start; give a larger one");
            errors.push(FieldError::new("/timeout_seconds", "BadTimeout", message));
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::of_errors(422, errors)) }
    }

    fn sweep_deadline_us(&self, limits: &Limits) -> Option<i64> {
        Some(self.started_at?.as_microsecond().saturating_add(us(limits.timeout_seconds)))
    }

    /// The next instant at which something runs out of time, in microseconds since 1970.
    pub fn next_deadline_us(&self) -> Option<i64> {
        let submitted = self.submitted.as_ref()?;
        let open = matches!(self.status, Status::Running | Status::Paused);
        let completing = matches!(self.status, Status::Completing(Outcome::Completed { .. }));
        let sweep = if open || completing { self.sweep_deadline_us(&submitted.limits) } else { None };
        // A completing sweep whose time is up has asked its trials to end already.
        let sweep = sweep.filter(|_| open || self.live_unstopped().next().is_some());
        let limit = submitted.limits.trial_timeout_seconds.map(us);
        let trial = limit.and_then(|limit| {
            self.live_unstopped().filter_map(|index| self.trials.get(index as usize)?.runs_out_at_us(limit)).min()
        });
        sweep.into_iter().chain(trial).chain(self.next_unfinished_us()).min()
    }

    fn live_unstopped(&self) -> impl Iterator<Item = u32> {
        let running = |index: &u32| self.trials.get(*index as usize).is_some_and(|trial| trial.stop.is_none());
        self.live.iter().copied().filter(running)
    }

    /// Ends what has run out of time.
    pub(super) fn check_deadlines(&self, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        if self.next_deadline_us().is_none_or(|deadline| deadline > at.as_microsecond()) {
            return Ok(Vec::new());
        }
        let due = self.sweep_deadline_us(&submitted.limits).is_some_and(|deadline| deadline <= at.as_microsecond());
        match self.status {
            Status::Running | Status::Paused if due => {
                let outcome = Outcome::Completed { reason: CompletedReason::Timeout };
                return Ok(self.begin_ending(outcome, Some(StopBy::SweepTimeout), at));
            }
            Status::Completing(Outcome::Completed { .. }) if due => {
                return Ok(self.end_early(self.live_unstopped().collect(), StopBy::SweepTimeout, at));
            }
            _ => {}
        }
        let limit = submitted.limits.trial_timeout_seconds.map_or(i64::MAX, us);
        let late = self.live_unstopped().filter(|&index| {
            let runs_out = self.trials.get(index as usize).and_then(|trial| trial.runs_out_at_us(limit));
            runs_out.is_some_and(|deadline| deadline <= at.as_microsecond())
        });
        let late: Vec<u32> = late.collect();
        // Each is ended once, by whichever of its limits it is found beyond.
        if late.is_empty() { Ok(self.end_unfinished(at)) } else { Ok(self.end_early(late, StopBy::TrialTimeout, at)) }
    }

    /// 409: not in this state.
    pub(super) fn refuse(&self, how: &str) -> Problem {
        let state = self.status.state().to_string();
        Problem::conflict("WrongState", format!("the sweep is {state}: {how}")).with("state", state)
    }
}
