//! Where trials give no value: what a model of its own learns of it.

use super::acquire::Failures;
use super::dims::Row;
use super::gp::Columns;
use super::model::{Known, Model, Observed};
use super::region::LEARNED_MAX;
use super::tuner::{Fit, Outcome, Tuner};

/// Failures that the feasibility looks at, the latest.
const FAILURES_MAX: usize = 400;
/// Labels of each kind that are learned from, the latest: all of them fit into a fit.
const LABELS_MAX: usize = LEARNED_MAX / 2;
/// The label of a failure; of a value it is the negative of it, and the border lies at 0.
const FAILED: f64 = 1.0;
/// The failures have to foretell each other to this part: random ones have no place to keep away from.
const FORETOLD_MIN: f64 = 0.1;
/// Half the way from the border to what gave a value: the border itself is known only up to where trials were.
const SAFE: f64 = -0.5;
/// So many of the model's own last trials are looked at, and each failure among them moves what is safe by so much, to
/// at most [`SAFEST`]: where the best lies at the border, a margin that never grows would be pushed at for ever.
const RECENT: usize = 20;
/// See [`RECENT`].
const CAUTION: f64 = 0.1;
/// See [`RECENT`].
const SAFEST: f64 = -0.9;

impl Tuner {
    pub(super) fn failed(&self, known: u32) -> Vec<&Row> {
        let ended = self.ended[..known as usize].iter().rev();
        let failed = ended.filter(|(_, outcome)| outcome.is_failure());
        let rows = failed.filter_map(|(trial, _)| self.rows.get(*trial as usize));
        rows.chain(&self.base_failures).take(FAILURES_MAX).collect()
    }

    /// What failed and what gave a value, as observations; none while one of the two is missing.
    pub(super) fn labels(&self, known: u32) -> Option<Observed> {
        if !self.setup.version.counts_early() {
            return None;
        }
        let failed = self.failed(known);
        let seen = self.seen(known);
        if failed.is_empty() || seen.count == 0 {
            return None;
        }
        let mut labels = Observed { about_zero: true, ..Observed::default() };
        let worked = &seen.observed.rows[seen.count.saturating_sub(LABELS_MAX)..seen.count];
        worked.iter().for_each(|row| labels.push(None, row.clone(), -FAILED, 1.0));
        failed.into_iter().take(LABELS_MAX).for_each(|row| labels.push(None, row.clone(), FAILED, 1.0));
        Some(labels)
    }

    /// The label up to which a configuration is on the safe side.
    fn safe(&self, known: u32) -> f64 {
        let own = self.ended[..known as usize].iter().rev().filter(|(trial, outcome)| {
            let suggested = self.bases.get(*trial as usize).is_some_and(Option::is_some);
            suggested && !matches!(outcome, Outcome::Reached { .. })
        });
        let failed = own.take(RECENT).filter(|(_, outcome)| outcome.is_failure()).count();
        (SAFE - CAUTION * failed as f64).max(SAFEST)
    }

    /// Where trials fail, as far as it is known by now.
    pub(super) fn failures(&self, model: &Model, rows: &[Row], fit: &Fit, known: u32) -> Failures {
        if let Some(labels) = self.labels(known).filter(|_| !fit.failures.is_empty()) {
            let all = Known { fitted: labels.len(), count: labels.len() };
            let mut learned = Model::new(&self.dims, &self.recipe, &labels, all, &fit.failures);
            learned.extend(&labels, labels.len(), &[]);
            if learned.posterior.foretold() >= FORETOLD_MIN {
                return Failures::Learned { model: Box::new(learned), safe: self.safe(known) };
            }
        }
        let shape = &model.posterior.shape;
        let (mut bad, mut good) = (Columns::new(shape), Columns::new(shape));
        self.failed(known).iter().for_each(|row| bad.push(shape, row));
        model.members.iter().for_each(|at| good.push(shape, &rows[*at]));
        if bad.count > 0 { Failures::Smoothed { bad, good } } else { Failures::None }
    }
}
