//! Several watched metrics: what a trial gave, whether it is feasible, and which trials are the best then.

use std::collections::BTreeMap;

use tuning::{Goal, Standing, front};

use super::TrialState;
use super::events::{ObservationRecorded, SweepEvent, SweepWarned, TrialEnded};
use super::point::NamedValue;
use super::state::{Submitted, Sweep};
use super::trial::Trial;
use super::trial_end::TrialEnd;
use crate::document::SweepSpec;

/// The stable code of the warning about a trial that lacks a watched metric.
const MISSING: &str = "MissingMetric";

/// The last finite values with what is reported now; nothing when one objective is all that is watched.
pub(super) fn with_values(
    spec: &SweepSpec,
    before: &[Option<f64>],
    primary: impl Iterator<Item = f64>,
    others: &[NamedValue],
) -> Vec<Option<f64>> {
    if spec.is_plain() {
        return Vec::new();
    }
    let watched = spec.watched();
    let mut values = before.to_vec();
    values.resize(watched.len(), None);
    if let Some(last) = primary.filter(|value| value.is_finite()).last() {
        values[0] = Some(last);
    }
    for other in others.iter().filter(|other| other.value.is_finite()) {
        if let Some(place) = watched.iter().position(|name| *name == other.name) {
            values[place] = Some(other.value);
        }
    }
    values
}

impl Trial {
    pub(super) fn take_values(&mut self, spec: &SweepSpec, event: &ObservationRecorded) {
        let primary = event.points.iter().map(|point| point.value);
        self.values = with_values(spec, &self.values, primary, &event.others);
    }

    /// The values of the watched metrics by name; none where one objective is all that is watched.
    pub fn named_values(&self, spec: &SweepSpec) -> BTreeMap<String, f64> {
        let named = spec.watched().into_iter().zip(&self.values);
        named.filter_map(|(name, value)| Some((name.to_owned(), (*value)?))).collect()
    }
}

impl Sweep {
    /// Whether a trial meets the constraints; `None` without any, and while a value is missing.
    pub fn feasibility(&self, trial: &Trial) -> Option<bool> {
        let spec = &self.submitted.as_ref()?.spec;
        if spec.constraints.is_empty() { None } else { spec.is_feasible(&trial.values) }
    }

    /// With several objectives: the completed feasible trials that no other is better than, ascending. A trial that
    /// lacks the value of an objective is not among them; of equal ones the first is.
    pub fn front(&self) -> Vec<u32> {
        let Some(spec) = self.submitted.as_ref().map(|submitted| &submitted.spec) else { return Vec::new() };
        if !spec.has_several() {
            return Vec::new();
        }
        let completed = (0_u32..).zip(&self.trials).filter(|(_, trial)| trial.state == TrialState::Completed);
        let counted = completed.filter_map(|(index, trial)| {
            let feasible = spec.is_feasible(&trial.values) == Some(true);
            Some((index, spec.results(&trial.values).filter(|_| feasible)?))
        });
        let (indices, mut points): (Vec<u32>, Vec<Vec<f64>>) = counted.unzip();
        for point in &mut points {
            for (value, objective) in point.iter_mut().zip(spec.objectives()) {
                *value = if objective.goal == Goal::Maximize { -*value } else { *value };
            }
        }
        front(&points).into_iter().map(|at| indices[at]).collect()
    }

    /// Whether trials have completed and none of them is feasible.
    pub fn lacks_feasible(&self) -> bool {
        let Some(spec) = self.submitted.as_ref().map(|submitted| &submitted.spec) else { return false };
        let mut completed = self.trials.iter().filter(|trial| trial.state == TrialState::Completed).peekable();
        !spec.constraints.is_empty()
            && completed.peek().is_some()
            && completed.all(|trial| spec.is_feasible(&trial.values) != Some(true))
    }

    /// The best trial: with constraints among the feasible ones that have ended, with several objectives none.
    pub(super) fn winner(&self) -> Option<Standing> {
        let spec = &self.submitted.as_ref()?.spec;
        if spec.is_plain() {
            return self.curves.best();
        }
        if spec.has_several() {
            return None;
        }
        self.curves.best_among(|index| {
            let ended = self.trials.get(index as usize).filter(|trial| trial.end.is_some());
            ended.is_some_and(|trial| spec.is_feasible(&trial.values) == Some(true))
        })
    }

    /// The value of the leader when a trial ends; with constraints the best feasible one of the ended trials.
    pub(super) fn lead_at_end(&self, trial: u32) -> Option<f64> {
        let spec = &self.submitted.as_ref()?.spec;
        if spec.is_plain() {
            return self.curves.leader().map(|leader| leader.value);
        }
        let counts = |trial: &&Trial| spec.is_feasible(&trial.values) == Some(true) && !spec.has_several();
        let own = self.trials.get(trial as usize).filter(counts).and_then(|_| self.curves.standing(trial));
        match (self.last_lead, own.map(|standing| standing.value)) {
            (Some(before), Some(own)) if self.curves.goal().worse(own, before) => Some(before),
            (before, own) => own.or(before),
        }
    }

    /// A warning, once a sweep, when a trial completed without a watched metric: it cannot count as feasible.
    pub(super) fn lacking(
        &self,
        submitted: &Submitted,
        trial: &Trial,
        ended: &TrialEnded,
        metric_names: &[String],
    ) -> Option<SweepEvent> {
        let spec = &submitted.spec;
        let warned = submitted.warnings.iter().any(|warning| warning.code == MISSING);
        if spec.is_plain() || warned || !matches!(ended.end, TrialEnd::Completed { .. }) {
            return None;
        }
        let watched = spec.watched();
        let lacks = |(place, _): &(usize, &&str)| trial.values.get(*place).copied().flatten().is_none();
        let missing: Vec<&str> = watched.iter().enumerate().filter(lacks).map(|(_, name)| *name).collect();
        if missing.is_empty() {
            return None;
        }
        let (index, missing) = (ended.trial, missing.join(", "));
        let saw = if metric_names.is_empty() { String::new() } else { format!("; saw {}", metric_names.join(", ")) };
        let message = format!(
            "trial {index} completed without a finite value of {missing}{saw}; it counts as one that failed, so log \
             every watched metric before the end"
        );
        let (workspace, code) = (submitted.workspace.clone(), MISSING.to_owned());
        Some(SweepWarned { workspace, code, message, at: ended.at }.into())
    }
}
