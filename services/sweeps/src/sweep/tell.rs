//! Tells: what an external trial gave, what the policy says to it, and its end: one append, with what follows.

use std::collections::BTreeMap;

use tuning::{PolicySpec, Report, Verdict};
use vocabulary::Problem;

use super::command::{RunEnd, Tell, TellContent};
use super::events::{DecisionMade, ObservationRecorded, SweepEvent, TrialPaused, TrialStopRequested};
use super::external::renewal;
use super::finishing::{Reach, end_of_finished};
use super::lease::TellDetails;
use super::point::{NamedValue, Point};
use super::rejection::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::trial::Trial;
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};
use crate::document::OnNonFinite;

/// What is told, by metric.
struct TellPoint {
    step: Option<i64>,
    /// Of the primary metric.
    value: Option<f64>,
    /// Of the other watched ones.
    others: Vec<(String, f64)>,
    last: bool,
}

/// What is told to whom.
#[derive(Clone, Copy)]
struct Now<'a> {
    submitted: &'a Submitted,
    trial: &'a Trial,
    tell: &'a Tell,
}

impl Sweep {
    /// Takes in what is told of a trial, and all that follows.
    pub(super) fn tell(&self, tell: &Tell) -> Decided {
        let submitted = self.external_of(&tell.workspace)?;
        if self.has_ended_so(submitted, tell) || self.comes_after_a_stop(tell) {
            return Ok(Vec::new());
        }
        let trial = self.holder(tell.trial, tell.attempt)?;
        match &tell.content {
            TellContent::Value { step, value, last } => {
                let point = TellPoint { step: *step, value: Some(*value), others: Vec::new(), last: *last };
                self.tell_values(submitted, trial, tell, point)
            }
            TellContent::Values { step, values, last } => {
                self.tell_values(submitted, trial, tell, by_metric(submitted, *step, values, *last)?)
            }
            TellContent::Failed { reason } => {
                let short = if reason.is_empty() { "failed" } else { reason.as_str() };
                let attempt_end =
                    AttemptEnd { reason: short.to_owned(), stderr_tail: reason.clone(), ..attempt_end("failed") };
                let result = self.curves.standing(tell.trial);
                Ok(self.ended(submitted, trial, &run_end(tell, attempt_end), failed(short), result))
            }
        }
    }

    /// Whether this is the last word of who was told to stop, or had to end by itself and took too long: the trial has
    /// ended, or waits, and most programs tell their end in every case.
    fn comes_after_a_stop(&self, tell: &Tell) -> bool {
        let is_last = match &tell.content {
            TellContent::Value { last, .. } | TellContent::Values { last, .. } => *last,
            TellContent::Failed { .. } => false,
        };
        let trial = self.trials.get(tell.trial as usize).filter(|trial| is_last && trial.attempt() == tell.attempt);
        trial.is_some_and(|trial| match &trial.end {
            None => trial.paused.is_some(),
            Some(TrialEnd::EarlyStopped { .. }) => true,
            Some(TrialEnd::Completed { max_resource, target_reached, .. }) => *max_resource || *target_reached,
            Some(TrialEnd::Failed { reason, .. }) => reason == "non_finite",
            Some(TrialEnd::Canceled { .. }) => false,
        })
    }

    /// Whether the trial has ended with just this: whoever got no answer says it again, and need not know whether the
    /// first time arrived.
    fn has_ended_so(&self, submitted: &Submitted, tell: &Tell) -> bool {
        let Some(trial) = self.trials.get(tell.trial as usize).filter(|trial| trial.attempt() == tell.attempt) else {
            return false;
        };
        let (Some(end), Some(attempt_end)) =
            (&trial.end, trial.attempts.last().and_then(|attempt| attempt.end.as_ref()))
        else {
            return false;
        };
        match &tell.content {
            TellContent::Value { last: true, .. } | TellContent::Values { last: true, .. } => {
                attempt_end.outcome == "completed" && self.knows(submitted, trial, tell)
            }
            TellContent::Failed { reason } => {
                let short = if reason.is_empty() { "failed" } else { reason.as_str() };
                *end == failed(short) && attempt_end.reason == short
            }
            TellContent::Value { .. } | TellContent::Values { .. } => false,
        }
    }

    /// Whether all that is told counts already.
    fn knows(&self, submitted: &Submitted, trial: &Trial, tell: &Tell) -> bool {
        let primary = |step: Option<i64>, value: f64| {
            let recorded = match step {
                Some(step) => self.curves.value_at(tell.trial, tell.attempt, step),
                None => trial.last_value,
            };
            recorded.is_some_and(|recorded| same(recorded, value))
        };
        match &tell.content {
            TellContent::Value { step, value, .. } => primary(*step, *value),
            TellContent::Values { step, values, .. } => {
                let watched = submitted.spec.watched();
                let first = submitted.spec.objective.primary_metric.as_str();
                let recorded = |name: &str| {
                    let place = watched.iter().position(|watched| *watched == name)?;
                    trial.values.get(place).copied().flatten()
                };
                let is_same = |(name, value): (&String, &f64)| {
                    if name == first { primary(*step, *value) } else { recorded(name).is_some_and(|r| same(r, *value)) }
                };
                values.iter().all(is_same)
            }
            TellContent::Failed { .. } => false,
        }
    }

    /// Why what was told counts for nothing, when its append is this: it lies beyond the last interval, or is the last
    /// word of who was told to stop before. What counts already is no such word.
    pub fn why_not_counted(&self, tell: &Tell, events: &[SweepEvent]) -> Option<&'static str> {
        let (submitted, trial) = (self.submitted.as_ref()?, self.trials.get(tell.trial as usize)?);
        let is_late =
            |event: &SweepEvent| matches!(event, SweepEvent::ObservationRecorded(observed) if observed.after_stop);
        let passed_over = events.is_empty() && self.comes_after_a_stop(tell) && !self.knows(submitted, trial, tell);
        if !passed_over && !events.iter().any(is_late) {
            return None;
        }
        Some(match &trial.end {
            None => "paused",
            Some(TrialEnd::EarlyStopped { .. }) => "policy",
            Some(TrialEnd::Completed { target_reached: true, .. }) => "target_reached",
            Some(TrialEnd::Failed { .. }) => "non_finite",
            Some(TrialEnd::Completed { .. } | TrialEnd::Canceled { .. }) => "max_resource",
        })
    }

    /// A value: one report on the clock, the policy's verdict, and the end if it is the last one or the trial is
    /// stopped. There is no job to wait for, so a stopped trial ends at once.
    fn tell_values(&self, submitted: &Submitted, trial: &Trial, tell: &Tell, point: TellPoint) -> Decided {
        let (index, attempt) = (tell.trial, tell.attempt);
        let step = point.step.unwrap_or_else(|| self.curves.next_step(index));
        let recorded = point.value.and_then(|_| self.curves.value_at(index, attempt, step));
        if let (Some(recorded), Some(value)) = (recorded, point.value)
            && !same(recorded, value)
        {
            return Err(conflicting(&submitted.spec.objective.primary_metric, step, recorded, value).into());
        }
        let others = news(submitted, trial, step, &point.others);
        let value = point.value.filter(|_| recorded.is_none());
        let now = Now { submitted, trial, tell };
        let Some(value) = value else {
            // Told before, or nothing of the primary metric: no interval, but a sign of life, or the end.
            let mut events = Vec::new();
            if !others.is_empty() {
                events.push(observed(now, None, others, point.last, false));
            } else if !point.last {
                events.push(renewal(trial, index, attempt, tell.at));
            }
            if point.last {
                events.extend(self.completes(now, None));
            }
            return Ok(events);
        };
        let report = Report { trial: index, attempt, step, value, position: self.version.unsigned_abs() + 1 };
        // The last value ends the trial, as far as it may have come.
        if !point.last && !trial.has_reached_target() && self.is_beyond(submitted, &report) {
            let end = end_of_finished(trial, self.curves.standing(index).is_none());
            let attempt_end = AttemptEnd { by: StopBy::MaxResource.to_string(), ..attempt_end("canceled") };
            let mut events = vec![observed(now, Some(&report), others, false, true)];
            events.extend(self.ended(submitted, trial, &run_end(tell, attempt_end), end, self.curves.standing(index)));
            return Ok(events);
        }
        let mut events = vec![observed(now, Some(&report), others, point.last, false)];
        if !value.is_finite() && submitted.spec.objective.on_non_finite == OnNonFinite::Fail {
            let attempt_end = AttemptEnd { reason: "non_finite".to_owned(), ..attempt_end("failed") };
            events.extend(self.ended_with(now, &report, attempt_end, failed("non_finite")));
        } else if point.last {
            events.extend(self.completes(now, Some(&report)));
        } else if self.reaches_target(value) {
            events.extend(self.found_by(submitted, index, tell.at));
        } else if !trial.has_reached_target() {
            events.extend(self.judged(now, &report));
        }
        Ok(events)
    }

    fn completes(&self, now: Now<'_>, report: Option<&Report>) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell } = now;
        let result =
            report.map_or_else(|| self.curves.standing(tell.trial), |report| self.curves.standing_after(report));
        let end = TrialEnd::completed(result.is_none());
        self.ended(submitted, trial, &run_end(tell, attempt_end("completed")), end, result)
    }

    /// A trial's end with a report of the same append, which its result has.
    fn ended_with(&self, now: Now<'_>, report: &Report, attempt_end: AttemptEnd, end: TrialEnd) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell } = now;
        self.ended(submitted, trial, &run_end(tell, attempt_end), end, self.curves.standing_after(report))
    }

    /// What the policy says to a value on the way. Its stop is the second event of the append, and the end follows it
    /// at once: that is how the decision's id is known without being written.
    fn judged(&self, now: Now<'_>, report: &Report) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell } = now;
        if submitted.spec.policy == PolicySpec::None {
            return Vec::new();
        }
        let verdict = self.allowed_verdict(self.curves.preview(report));
        if Reach::of(&submitted.spec.policy, &verdict) == Reach::Last {
            return vec![Self::finishing(submitted, report.trial, StopBy::MaxResource, tell.at)];
        }
        match verdict {
            Verdict::Stop(decision) => {
                let stop = TrialStopRequested {
                    workspace: submitted.workspace.clone(),
                    trial: report.trial,
                    run_id: trial.run_id,
                    by: StopBy::Policy,
                    decision: Some(decision),
                    at: tell.at,
                };
                let end = TrialEnd::EarlyStopped { decision: String::new() };
                let mut events = vec![stop.into()];
                events.extend(self.ended_with(now, report, attempt_end("canceled"), end));
                events
            }
            Verdict::Keep(decision) if submitted.spec.record_keeps => {
                vec![DecisionMade { trial: report.trial, decision }.into()]
            }
            Verdict::Pause(decision) => {
                let (workspace, run_id) = (submitted.workspace.clone(), trial.run_id);
                let (trial, rung) = (report.trial, decision.rung.unwrap_or_default());
                vec![TrialPaused { workspace, trial, run_id, rung, decision, at: tell.at }.into()]
            }
            Verdict::Keep(_) | Verdict::Skip { .. } => Vec::new(),
        }
    }
}

/// Sorts values by name; each must be of a watched metric.
fn by_metric(
    submitted: &Submitted,
    step: Option<i64>,
    values: &BTreeMap<String, f64>,
    last: bool,
) -> Result<TellPoint, Rejection> {
    let watched = submitted.spec.watched();
    let unknown = values.keys().find(|name| !watched.contains(&name.as_str()));
    if let Some(name) = unknown {
        let message = format!("{name} is not watched by this sweep; tell {}", watched.join(", "));
        return Err(Problem::invalid(&documents::pointer::child("/values", name), "UnknownMetric", message).into());
    }
    let primary = &submitted.spec.objective.primary_metric;
    let others = values.iter().filter(|(name, _)| *name != primary).map(|(name, value)| (name.clone(), *value));
    Ok(TellPoint { step, value: values.get(primary).copied(), others: others.collect(), last })
}

/// The values of other metrics that say something new.
fn news(submitted: &Submitted, trial: &Trial, step: i64, values: &[(String, f64)]) -> Vec<NamedValue> {
    let watched = submitted.spec.watched();
    let known = |name: &str| {
        let place = watched.iter().position(|watched| *watched == name)?;
        trial.values.get(place).copied().flatten()
    };
    let new = values.iter().filter(|(name, value)| known(name).is_none_or(|known| !same(known, *value)));
    new.map(|(name, value)| NamedValue { name: name.clone(), step, value: *value }).collect()
}

fn observed(
    now: Now<'_>,
    report: Option<&Report>,
    others: Vec<NamedValue>,
    last: bool,
    after_stop: bool,
) -> SweepEvent {
    let Now { submitted, trial, tell, .. } = now;
    let details = TellDetails {
        workspace: submitted.workspace.clone(),
        run_id: trial.run_id,
        metric: submitted.spec.objective.primary_metric.clone(),
        last,
        lease_expires_at: trial.lease.as_ref().map_or(tell.at, |lease| lease.renewed(tell.at)),
    };
    ObservationRecorded {
        trial: tell.trial,
        attempt: tell.attempt,
        points: report.map(|report| Point { step: report.step, value: report.value }).into_iter().collect(),
        others,
        after_stop,
        tell: Some(details),
    }
    .into()
}

fn failed(reason: &str) -> TrialEnd {
    TrialEnd::Failed { phase: "run".to_owned(), reason: reason.to_owned(), exit_code: None, signal: None }
}

fn attempt_end(outcome: &str) -> AttemptEnd {
    AttemptEnd { outcome: outcome.to_owned(), ..AttemptEnd::default() }
}

fn run_end(tell: &Tell, end: AttemptEnd) -> RunEnd {
    let (trial, attempt, at) = (tell.trial, tell.attempt, tell.at);
    RunEnd { trial, attempt, end, decision: String::new(), metric_names: Vec::new(), outputs: None, at }
}

/// All NaN are one value.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn conflicting(metric: &str, step: i64, recorded: f64, received: f64) -> Problem {
    let detail =
        format!("{metric} at step {step} is {recorded}, now {received} was told; tell a new step for a new value");
    Problem::conflict("ConflictingPoint", detail).with("metric", metric).with("step", step)
}
