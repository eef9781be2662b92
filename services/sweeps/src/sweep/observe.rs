//! Reports of the watched metric. The report and what the policy says to it are one append: nothing can come between.

use jiff::Timestamp;
use tuning::{PolicySpec, Report, Trials, Verdict};

use super::command::{NamedPoint, Observation};
use super::events::{
    DecisionMade, ObservationRecorded, SweepEvent, SweepUnstalled, SweepWarned, TrialPaused, TrialStopRequested,
};
use super::finishing::Reach;
use super::point::{NamedValue, Point};
use super::rejection::Decided;
use super::state::{Submitted, Sweep};
use super::trial::Trial;
use super::trial_end::StopBy;
use crate::document::{OnNonFinite, SweepSpec};

/// The stable code of the warning about a metric that is probably meant to be the watched one.
const OTHER_METRIC: &str = "OtherMetric";

/// What the points of one request come to.
struct Judged {
    /// So many of them are reports of a trial that ran freely until then.
    counted: usize,
    /// What follows from the last of those.
    follows: Vec<SweepEvent>,
    /// The decisions to keep the trial until then, if they are to be recorded.
    keeps: Vec<SweepEvent>,
    /// Whether the other points count too.
    goes_on: bool,
    /// Whether the first of the others lies beyond the last interval.
    is_beyond: bool,
}

impl Judged {
    fn stopped(counted: usize, follows: Vec<SweepEvent>, keeps: Vec<SweepEvent>) -> Self {
        Self { counted, follows, keeps, goes_on: false, is_beyond: false }
    }
}

impl Sweep {
    /// Takes in the points of one request and asks the policy at each. A stop takes effect at once: the points after
    /// it are kept and count for nothing.
    pub(super) fn observe(&self, observation: &Observation) -> Decided {
        let submitted = self.known()?;
        let trial = self.trial(observation.trial)?;
        let (index, attempt) = (observation.trial, observation.attempt);
        let watched = &submitted.spec.objective.primary_metric;
        let points = observation.points.iter().filter(|named| named.name == *watched);
        let points: Vec<Point> = points.map(|named| named.point).collect();
        let (others, _) = others_in(&submitted.spec, &observation.points, None);
        // Values of an external trial are told, not reported by a run.
        if submitted.spec.is_external() {
            return Ok(Vec::new());
        }
        if trial.end.is_some() || attempt < trial.attempt() || (points.is_empty() && others.is_empty()) {
            return Ok(Vec::new());
        }
        let recorded = |points: &[Point], others: Vec<NamedValue>, after_stop: bool| -> SweepEvent {
            let points = points.to_vec();
            ObservationRecorded { trial: index, attempt, points, others, after_stop, tell: None }.into()
        };
        if trial.stop.is_some() || trial.paused.is_some() {
            return Ok(vec![recorded(&points, others, true)]);
        }
        let Judged { counted, follows, keeps, goes_on, is_beyond } = self.judge(submitted, trial, observation, &points);
        let mut events = Vec::with_capacity(2 + keeps.len());
        let (points, late) = points.split_at(counted);
        // What was reported beside the point of a stop was measured before it; what comes beyond the last interval has
        // no say in anything.
        let (before, after) = others_in(&submitted.spec, &observation.points, is_beyond.then_some(counted));
        if counted > 0 || !before.is_empty() {
            events.push(recorded(points, before, false));
        }
        events.extend(keeps);
        events.extend(follows);
        if !late.is_empty() || !after.is_empty() {
            events.push(recorded(late, after, !goes_on));
        }
        if self.stalled.contains_key(&index) {
            events.push(SweepUnstalled { trial: index }.into());
        }
        Ok(events)
    }

    /// What the points come to, each judged on the ones before it.
    fn judge(&self, submitted: &Submitted, trial: &Trial, observation: &Observation, points: &[Point]) -> Judged {
        let spec = &submitted.spec;
        let (index, at) = (observation.trial, observation.at);
        let stop = |by, decision| -> Vec<SweepEvent> {
            let (workspace, run_id) = (submitted.workspace.clone(), trial.run_id);
            vec![TrialStopRequested { workspace, trial: index, run_id, by, decision, at }.into()]
        };
        let (mut keeps, mut follows): (Vec<SweepEvent>, Vec<SweepEvent>) = (Vec::new(), Vec::new());
        if trial.has_reached_target() {
            return Judged { counted: points.len(), follows, keeps, goes_on: true, is_beyond: false };
        }
        // Of several points each is judged on the ones before it; only then a copy of the curves is needed.
        let mut ahead: Option<Trials> = None;
        for (place, point) in points.iter().enumerate() {
            let report = Report {
                trial: index,
                attempt: observation.attempt,
                step: point.step,
                value: point.value,
                position: self.version.unsigned_abs() + 1,
            };
            let verdict = self.allowed_verdict(ahead.as_ref().unwrap_or(&self.curves).preview(&report));
            let reach = Reach::of(&spec.policy, &verdict);
            // It counts for nothing, so neither does it fail the trial nor reach the target.
            if reach == Reach::Beyond {
                follows.extend(stop(StopBy::MaxResource, None));
                return Judged { counted: place, follows, keeps, goes_on: false, is_beyond: true };
            }
            if !point.value.is_finite() && spec.objective.on_non_finite == OnNonFinite::Fail {
                follows.extend(stop(StopBy::NonFinite, None));
                return Judged::stopped(place + 1, follows, keeps);
            }
            if self.reaches_target(point.value) {
                follows.extend(self.found_by(submitted, index, at));
                return Judged { counted: place + 1, follows, keeps, goes_on: true, is_beyond: false };
            }
            if spec.policy == PolicySpec::None {
                continue;
            }
            if reach == Reach::Last {
                follows.push(Self::finishing(submitted, index, StopBy::MaxResource, at));
            }
            match verdict {
                Verdict::Stop(decision) => {
                    follows.extend(stop(StopBy::Policy, Some(decision)));
                    return Judged::stopped(place + 1, follows, keeps);
                }
                Verdict::Pause(decision) => {
                    let (workspace, run_id) = (submitted.workspace.clone(), trial.run_id);
                    let rung = decision.rung.unwrap_or_default();
                    follows.push(TrialPaused { workspace, trial: index, run_id, rung, decision, at }.into());
                    return Judged::stopped(place + 1, follows, keeps);
                }
                Verdict::Keep(decision) if spec.record_keeps => {
                    keeps.push(DecisionMade { trial: index, decision }.into());
                }
                Verdict::Keep(_) | Verdict::Skip { .. } => {}
            }
            if place + 1 < points.len() {
                ahead.get_or_insert_with(|| self.curves.clone()).report(&report);
            }
        }
        Judged { counted: points.len(), follows, keeps, goes_on: true, is_beyond: false }
    }

    /// One warning a sweep: a name that is much like the watched one, before the watched one was ever seen.
    pub(super) fn note_metric(&self, trial: u32, name: &str, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        self.trial(trial)?;
        let watched = &submitted.spec.objective.primary_metric;
        if submitted.spec.watched().contains(&name) {
            return Ok(Vec::new());
        }
        let warned = submitted.warnings.iter().any(|warning| warning.code == OTHER_METRIC);
        if warned || self.reported || name == watched || !alike(name, watched) {
            return Ok(Vec::new());
        }
        let message = format!("{name} is not the primary metric {watched}; did you mean it?");
        let (workspace, code) = (submitted.workspace.clone(), OTHER_METRIC.to_owned());
        Ok(vec![SweepWarned { workspace, code, message, at }.into()])
    }
}

/// Reports of the other watched metrics, in order of arrival: those before the point of the watched one that has this
/// number, and those after it.
fn others_in(spec: &SweepSpec, points: &[NamedPoint], until: Option<usize>) -> (Vec<NamedValue>, Vec<NamedValue>) {
    if spec.is_plain() {
        return (Vec::new(), Vec::new());
    }
    let watched = spec.watched();
    let is_primary = |named: &NamedPoint| watched.first().is_some_and(|name| *name == named.name);
    let mut primary = points.iter().enumerate().filter(|(_, named)| is_primary(named));
    let place = until.and_then(|until| primary.nth(until)).map_or(points.len(), |(place, _)| place);
    let (before, after) = points.split_at(place);
    let others = |points: &[NamedPoint]| -> Vec<NamedValue> {
        let others = points.iter().filter(|named| watched.iter().skip(1).any(|name| *name == named.name));
        let value = |named: &NamedPoint| NamedValue {
            name: named.name.clone(),
            step: named.point.step,
            value: named.point.value,
        };
        others.map(value).collect()
    };
    (others(before), others(after))
}

/// Whether somebody could have meant one name by the other. Names that are only logged beside it give no warning
/// here: in most sweeps the loss comes first. That the watched one never came is said when the trial ends.
fn alike(name: &str, watched: &str) -> bool {
    documents::did_you_mean(name, [watched]).is_some()
}
