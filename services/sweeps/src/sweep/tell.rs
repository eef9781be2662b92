//! What is told of an external trial's values, and what follows from it: one append.

use std::collections::BTreeMap;

use tuning::{PolicySpec, Report, Verdict};
use vocabulary::Problem;

use super::decide::{Decided, Rejection};
use super::end::Ending;
use super::external::{Tell, attempt_end, failed, renewal, run_end};
use super::lease::TellDetails;
use super::point::{NamedValue, Point};
use super::state::{Submitted, Sweep};
use super::status::{CompletedReason, Outcome};
use super::trial::Trial;
use super::trial_end::{AttemptEnd, StopBy, TrialEnd};
use super::values::with_values;
use super::{DecisionMade, ObservationRecorded, SweepEvent, TrialPaused, TrialStopRequested};
use crate::document::OnNonFinite;

/// What is told, by metric.
pub(super) struct TellPoint {
    pub(super) step: Option<i64>,
    /// Of the primary metric.
    pub(super) value: Option<f64>,
    /// Of the other watched ones.
    pub(super) others: Vec<(String, f64)>,
    pub(super) last: bool,
}

/// What is told to whom.
#[derive(Clone, Copy)]
struct Now<'a> {
    submitted: &'a Submitted,
    trial: &'a Trial,
    tell: &'a Tell,
    /// The last values of the watched metrics with what is told.
    values: &'a [Option<f64>],
}

/// Sorts values by name; each must be of a watched metric.
pub(super) fn by_metric(
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

impl Sweep {
    /// A value: one report on the clock, the policy's verdict, and the end if it is the last one or the trial is
    /// stopped. There is no job to wait for, so a stopped trial ends at once.
    pub(super) fn tell_values(&self, submitted: &Submitted, trial: &Trial, tell: &Tell, point: TellPoint) -> Decided {
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
        let values = with_values(&submitted.spec, &trial.values, value.into_iter(), &others);
        let now = Now { submitted, trial, tell, values: &values };
        let Some(value) = value else {
            // Told before, or nothing of the primary metric: no interval, but a sign of life, or the end.
            let mut events = Vec::new();
            if !others.is_empty() {
                events.push(observed(now, None, others, point.last));
            } else if !point.last {
                events.push(renewal(trial, index, attempt, tell.at));
            }
            if point.last {
                events.extend(self.completes(now, None));
            }
            return Ok(events);
        };
        let report = Report { trial: index, attempt, step, value, position: self.version.unsigned_abs() + 1 };
        let mut events = vec![observed(now, Some(&report), others, point.last)];
        if !value.is_finite() && submitted.spec.objective.on_non_finite == OnNonFinite::Fail {
            let end = failed("non_finite");
            let ending = Ending { trial: index, end: &end, report: Some(&report), values: Some(&values) };
            let attempt_end = AttemptEnd { reason: "non_finite".to_owned(), ..attempt_end("failed") };
            events.extend(self.ended(submitted, trial, ending, &run_end(tell, attempt_end)));
        } else if self.reaches_target(value) {
            events.extend(self.found(now, &report, point.last));
        } else if point.last {
            events.extend(self.completes(now, Some(&report)));
        } else {
            events.extend(self.judged(now, &report));
        }
        Ok(events)
    }

    fn completes(&self, now: Now<'_>, report: Option<&Report>) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell, values } = now;
        let index = tell.trial;
        let best = report.map_or_else(|| self.curves.standing(index), |report| self.curves.standing_after(report));
        let end = TrialEnd::Completed { no_objective: best.is_none(), max_resource: false };
        let ending = Ending { trial: index, end: &end, report, values: Some(values) };
        self.ended(submitted, trial, ending, &run_end(tell, attempt_end("completed")))
    }

    /// What the policy says to a value on the way. Its stop is the second event of the append, and the end follows it
    /// at once: that is how the decision's id is known without being written.
    fn judged(&self, now: Now<'_>, report: &Report) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell, values } = now;
        if submitted.spec.policy == PolicySpec::None {
            return Vec::new();
        }
        match self.allowed_verdict(self.curves.preview(report)) {
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
                let ending = Ending { trial: report.trial, end: &end, report: Some(report), values: Some(values) };
                let mut events = vec![stop.into()];
                events.extend(self.ended(submitted, trial, ending, &run_end(tell, attempt_end("canceled"))));
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
            Verdict::Skip { interval: Some(interval), .. }
                if submitted.spec.policy.max_resource().is_some_and(|max| interval >= max) =>
            {
                let no_objective = self.curves.standing_after(report).is_none();
                let end = TrialEnd::Completed { no_objective, max_resource: true };
                let ending = Ending { trial: report.trial, end: &end, report: Some(report), values: Some(values) };
                let by = StopBy::MaxResource.to_string();
                let attempt_end = AttemptEnd { by, ..attempt_end("canceled") };
                self.ended(submitted, trial, ending, &run_end(tell, attempt_end))
            }
            Verdict::Keep(_) | Verdict::Skip { .. } => Vec::new(),
        }
    }

    /// The value is the one that the sweep looks for: every trial ends with it, and the sweep.
    fn found(&self, now: Now<'_>, report: &Report, last: bool) -> Vec<SweepEvent> {
        let Now { submitted, trial, tell, values } = now;
        let by = StopBy::TargetReached.to_string();
        let (end, attempt_end) = if last {
            (TrialEnd::Completed { no_objective: false, max_resource: false }, attempt_end("completed"))
        } else {
            (TrialEnd::Canceled { by: by.clone() }, AttemptEnd { by, ..attempt_end("canceled") })
        };
        let ending = Ending { trial: report.trial, end: &end, report: Some(report), values: Some(values) };
        let mut events = vec![self.end_event(submitted, trial, ending, &run_end(tell, attempt_end))];
        let outcome = Outcome::Completed { reason: CompletedReason::TargetReached };
        events.extend(self.begin_ending(outcome, Some(StopBy::TargetReached), Some(ending), tell.at));
        events
    }
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

fn observed(now: Now<'_>, report: Option<&Report>, others: Vec<NamedValue>, last: bool) -> SweepEvent {
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
        after_stop: false,
        tell: Some(details),
    }
    .into()
}

/// All NaN are one value.
pub(super) fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn conflicting(metric: &str, step: i64, recorded: f64, received: f64) -> Problem {
    let detail =
        format!("{metric} at step {step} is {recorded}, now {received} was told; tell a new step for a new value");
    Problem::conflict("ConflictingPoint", detail).with("metric", metric).with("step", step)
}
