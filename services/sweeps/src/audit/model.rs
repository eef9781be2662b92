//! The recomputation of what a model did: each fit from its predecessor, each proposal from its recorded fit and the
//! endings that it knew.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tuning::bayes::{Fit, Inherited, Tuner};
use tuning::{Draw, Proposal, SearchSpace};

use super::findings::{Difference, between_proposals, broken};
use crate::sweep::{Inheritance, ModelFitted, ObservationsInherited, Sweep, SweepSubmitted, TrialProposed};

/// A model that is told the log again.
pub(super) struct ModelAudit {
    tuner: Tuner,
    /// By the version of their event.
    fits: BTreeMap<i64, Fit>,
    /// The version of the fit in use.
    used: Option<i64>,
    /// How many fits were recomputed.
    pub fits_checked: u64,
}

impl ModelAudit {
    /// `None` when no model proposes in the sweep.
    pub fn new(submitted: &SweepSubmitted) -> Option<Self> {
        let spec = Arc::new(submitted.spec.clone());
        let setup = crate::tuner::setup(&spec, submitted.seed, submitted.tuner_version)?;
        Some(Self { tuner: Tuner::new(setup), fits: BTreeMap::new(), used: None, fits_checked: 0 })
    }

    /// Takes in trials of an earlier sweep. They come before everything else.
    pub fn inherit(&mut self, event: &ObservationsInherited) {
        let observations = event.trials.iter().filter(|trial| !trial.resumed);
        let inherited: Vec<Inherited> = observations.map(|trial| trial.for_model(event.weight)).collect();
        self.tuner.inherit(&inherited);
    }

    /// Recomputes a proposal; `space` has the rules by which it was made.
    pub fn proposed(
        &mut self,
        event: &TrialProposed,
        recorded: &Proposal,
        space: &SearchSpace,
        inheritance: &Inheritance,
    ) -> Vec<Difference> {
        let Some(basis) = event.basis.model else {
            return vec![broken(event.trial, "basis", json!(null), json!("a model's proposal records its basis"))];
        };
        if basis.known > self.tuner.known() {
            let known = self.tuner.known();
            return vec![broken(event.trial, "basis.known", json!(basis.known), json!(known))];
        }
        if basis.fit != self.used {
            match basis.fit.and_then(|version| self.fits.get(&version)) {
                Some(fit) => self.tuner.use_fit(fit.clone()),
                None => return vec![broken(event.trial, "basis.fit", json!(basis.fit), json!(self.used))],
            }
            self.used = basis.fit;
        }
        let suggested = crate::tuner::suggest(&mut self.tuner, inheritance, event.trial, basis.known);
        // What goes on is as it was recorded where it began.
        let resumes = inheritance.resumed(u64::from(event.trial)).is_some();
        let suggested = suggested.map(|made| if resumes { made.proposal } else { space.revalued(made.proposal) });
        let mut found = between_proposals(event.trial, recorded, suggested.as_ref());
        let pending = self.tuner.under_way(event.trial, basis.known);
        if basis.pending != pending {
            found.push(broken(event.trial, "basis.pending", json!(basis.pending), json!(pending)));
        }
        found
    }

    /// Takes a proposal in as it is recorded; `basis` is that of the model's own.
    pub fn take(&mut self, trial: u32, draws: &[Draw], basis: Option<u32>) {
        self.tuner.proposed(trial, draws, basis);
    }

    /// Recomputes a fit and takes it in as it is recorded. `version` is its event's.
    pub fn fitted(&mut self, event: &ModelFitted, version: i64, recompute: bool) -> Vec<Difference> {
        let mut found = Vec::new();
        if recompute && event.known <= self.tuner.known() {
            self.fits_checked += 1;
            let previous = event.previous.and_then(|previous| self.fits.get(&previous));
            let fit = self.tuner.fit_task(event.known, previous).run();
            let bits = |fit: &Fit| -> Vec<u64> {
                let outputs = fit.outputs.iter().flatten().chain(&fit.failures);
                fit.parameters.iter().chain(outputs).map(|number| number.to_bits()).collect()
            };
            let shapes =
                |fit: &Fit| -> Vec<usize> { fit.outputs.iter().map(Vec::len).chain([fit.failures.len()]).collect() };
            if shapes(&fit) != shapes(&event.fit) || bits(&fit) != bits(&event.fit) || fit.known != event.fit.known {
                let trial = event.known.saturating_sub(1);
                found.push(broken(trial, "hyperparameters", json!(event.fit), json!(fit)));
            }
        } else if recompute {
            found.push(broken(0, "fit.known", json!(event.known), json!(self.tuner.known())));
        }
        self.fits.insert(version, event.fit.clone());
        found
    }

    /// Takes in the endings that the state has.
    pub fn catch_up(&mut self, sweep: &Sweep) {
        for ended in sweep.endings.get(self.tuner.known() as usize..).unwrap_or_default() {
            self.tuner.ended_with(ended.trial, ended.outcome, &ended.others);
        }
    }
}
