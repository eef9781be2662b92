//! The trials that a sweep begins with: they are proposed by its submission, so that no commit lies between the two.

use std::sync::Arc;
use std::time::Duration;

use runtime::background::{self, Awaited};
use vocabulary::Decider;

use super::submit_sweep::Submission;
use crate::service::Core;
use crate::sweep::{Made, ModelBasis, NewTrial, Planned, Sweep, SweepEvent};
use crate::tuner::{first_suggestions, setup};

/// Proposals of one submission; the rest come as later ones do.
const AT_ONCE: u32 = 64;
/// How long a submission waits for them: most take a millisecond, also on a busy machine. A model of a large space
/// takes far longer, and then they come as later ones do.
const BUDGET: Duration = Duration::from_secs(1);
/// Submissions that calculate at once; more wait for their turn, within the same time. Few, so that later trials of
/// others keep most of the machine's calculations.
pub(crate) const SUBMISSIONS_AT_ONCE: usize = 4;

impl Core {
    /// As many as the limits allow; none when that takes too long, nor when the sampler breaks, which is seen and said
    /// where later trials are proposed, nor when the sweep has something from others, from which a model has much to
    /// learn first.
    pub(super) async fn first_trials(&self, submission: &Submission) -> Vec<NewTrial> {
        if !submission.history.is_empty() || submission.submitted.spec.is_external() {
            return Vec::new();
        }
        let mut sweep = Sweep::default();
        sweep.evolve(&SweepEvent::SweepSubmitted(submission.submitted.clone()));
        let core = self.clone();
        let made = async move {
            let turn = Arc::clone(&core.submissions).acquire_owned().await;
            let calculate = move |awaited: &Awaited| {
                let _turn = turn;
                core.begins_with(&sweep, awaited)
            };
            background::run_while_awaited(calculate).await.unwrap_or_default()
        };
        tokio::time::timeout(BUDGET, made).await.unwrap_or_default()
    }

    fn begins_with(&self, sweep: &Sweep, awaited: &Awaited) -> Vec<NewTrial> {
        let Some(submitted) = &sweep.submitted else { return Vec::new() };
        if let Some(basis) = sweep.basis() {
            let (made, _) = (self.sampler)(&basis, AT_ONCE);
            let trials = made.into_iter();
            return trials
                .map(|Planned { proposal, exploit }| self.new_trial(proposal, None, exploit.is_some()))
                .collect();
        }
        let Some(setup) = setup(&submitted.spec, submitted.seed, submitted.tuner_version) else { return Vec::new() };
        let most = sweep.allowed().min(AT_ONCE);
        let made = first_suggestions(setup, &sweep.inheritance, self.tuners.suggests(), most, || awaited.holds());
        let trials = (0_u32..).zip(made).map(|(pending, suggestion)| {
            let basis = ModelBasis { version: sweep.version, known: 0, pending, fit: None };
            let made = Made { basis, explained: suggestion.explained, waived: false };
            self.new_trial(suggestion.proposal, Some(made), false)
        });
        trials.collect()
    }
}
