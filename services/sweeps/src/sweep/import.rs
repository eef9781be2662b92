//! A sweep of trials that have all ended elsewhere: it is over with its first append.
//!
//! Its log is that of any sweep, a proposal, reports and an end for each trial, so everything that reads logs works on
//! it. Its trials have no runs: nothing ran here, and a large study would flood `runs`.

use uuid::Uuid;
use vocabulary::RunId;

use super::command::ImportedTrial;
use super::events::{Basis, ObservationRecorded, SweepStarted, SweepSubmitted, TrialEnded, TrialProposed};
use super::rejection::{Decided, Rejection};
use super::state::Sweep;
use super::status::{CompletedReason, Outcome};
use super::trial_end::AttemptEnd;

/// Stands for the run of a trial that has none.
pub const NO_RUN: RunId = RunId::new(Uuid::nil());
/// How the only attempt of an imported trial ended, in the place of what a node would have seen.
pub const IMPORTED: &str = "imported";

impl Sweep {
    /// The whole life of the sweep at once.
    pub(super) fn import(&self, submitted: &SweepSubmitted, trials: &[ImportedTrial]) -> Decided {
        if self.submitted.is_some() {
            return Err(Rejection::Exists);
        }
        let (workspace, at) = (&submitted.workspace, submitted.at);
        let mut after = Self::default();
        let mut events = Vec::with_capacity(3 * trials.len() + 3);
        let mut happen = |after: &mut Self, event| {
            after.take(&event);
            events.push(event);
        };
        happen(&mut after, submitted.clone().into());
        happen(&mut after, SweepStarted { workspace: workspace.clone(), at }.into());
        for (trial, row) in (0_u32..).zip(trials) {
            let proposed = TrialProposed {
                workspace: workspace.clone(),
                trial,
                run_id: NO_RUN,
                draws: row.draws.clone(),
                sampler_index: u64::from(trial),
                redraw: 0,
                sampler_version: tuning::SAMPLER_VERSION,
                basis: Basis { imported: true, ..Basis::default() },
                explained: None,
                job: None,
                external: None,
                at,
            };
            happen(&mut after, proposed.into());
            if !row.points.is_empty() || !row.others.is_empty() {
                let (points, others) = (row.points.clone(), row.others.clone());
                let observed = ObservationRecorded { trial, attempt: 1, points, others, after_stop: false, tell: None };
                happen(&mut after, observed.into());
            }
            let ended = TrialEnded {
                workspace: workspace.clone(),
                trial,
                run_id: NO_RUN,
                attempt: 1,
                end: row.end.clone(),
                attempt_end: AttemptEnd { outcome: IMPORTED.to_owned(), ..AttemptEnd::default() },
                best: after.curves.standing(trial).map(|standing| standing.value),
                missing_outputs: Vec::new(),
                at,
            };
            happen(&mut after, ended.into());
        }
        let outcome = Outcome::Completed { reason: CompletedReason::Imported };
        events.push(after.finish_as(&outcome, at));
        Ok(events)
    }
}
