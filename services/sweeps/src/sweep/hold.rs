//! A pause that gives the machines back: live trials are held with their checkpoints until the sweep goes on.
//!
//! A held trial keeps its place, so nothing else takes it: when the sweep goes on, the held ones do before anything
//! new. What it still reports counts, since its checkpoint has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use vocabulary::Problem;

use super::TrialState;
use super::events::{SweepEvent, SweepPaused, SweepResumed, SweepStarted};
use super::held::{PauseMode, TrialHeld, TrialReleased};
use super::rejection::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::status::Status;
use super::trial::Trial;

impl Sweep {
    /// The state that people see of a trial: one that is held waits for its sweep, not for a node.
    pub fn shown_state(&self, index: u32, trial: &Trial) -> TrialState {
        let is_held = trial.state == TrialState::Queued && self.held.contains(&index);
        if is_held { TrialState::Paused } else { trial.state }
    }

    /// How many trials are in each state that people see.
    pub fn shown_counts(&self) -> BTreeMap<TrialState, u32> {
        let mut counts = self.counts.clone();
        let held = self.held.iter().filter_map(|index| self.trials.get(*index as usize));
        for _ in held.filter(|trial| trial.state == TrialState::Queued) {
            *counts.entry(TrialState::Paused).or_default() += 1;
            counts.entry(TrialState::Queued).and_modify(|count| *count = count.saturating_sub(1));
        }
        counts.retain(|_, count| *count > 0);
        counts
    }

    pub(super) fn pause(&self, mode: PauseMode, at: Timestamp) -> Decided {
        let submitted = self.known()?;
        let workspace = submitted.workspace.clone();
        if !matches!(self.status, Status::Queued | Status::Running | Status::Paused) {
            return Err(self.refuse("only a sweep that runs can be paused").into());
        }
        let holds = if mode == PauseMode::Checkpoint { self.holds(submitted, at)? } else { Vec::new() };
        let mut events = Vec::with_capacity(holds.len() + 2);
        if self.status == Status::Queued {
            events.push(SweepStarted { workspace: workspace.clone(), at }.into());
        }
        // What drains may be held after all; what is held stays so.
        if self.status != Status::Paused || !holds.is_empty() {
            events.push(SweepPaused { workspace, mode, at }.into());
        }
        events.extend(holds);
        Ok(events)
    }

    /// The live trials, each to be held, except those that are or that end anyway.
    fn holds(&self, submitted: &Submitted, at: Timestamp) -> Result<Vec<SweepEvent>, Rejection> {
        if submitted.spec.is_external() {
            let message = "mode checkpoint: nothing here runs the trials of an external sweep, so nothing here can \
                           stop them; use drain: asks answer paused, and what is out can still be told";
            return Err(Problem::invalid("/mode", "NotInExternal", message).into());
        }
        if !submitted.spec.trial.checkpoint.is_saved() {
            let message = "mode checkpoint: the trials save no checkpoint (trial.checkpoint is false), so what they \
                           have done would be lost; use drain: live trials run on and no new ones come";
            return Err(Problem::invalid("/mode", "NeedsCheckpoint", message).into());
        }
        let live = self.live.iter().filter(|index| !self.held.contains(index));
        let live = live.filter_map(|&index| Some((index, self.trials.get(index as usize)?)));
        let running = live.filter(|(_, trial)| trial.stop.is_none());
        let workspace = &submitted.workspace;
        let holds = running
            .map(|(trial, held)| TrialHeld { workspace: workspace.clone(), trial, run_id: held.run_id, at }.into());
        Ok(holds.collect())
    }

    pub(super) fn resume(&self, at: Timestamp) -> Decided {
        let workspace = &self.known()?.workspace;
        match self.status {
            Status::Paused => {
                let held = self.held.iter().filter_map(|&trial| Some((trial, self.trials.get(trial as usize)?.run_id)));
                let released = held
                    .map(|(trial, run_id)| TrialReleased { workspace: workspace.clone(), trial, run_id, at }.into());
                let resumed = SweepEvent::from(SweepResumed { workspace: workspace.clone(), at });
                Ok(std::iter::once(resumed).chain(released).collect())
            }
            Status::Queued | Status::Running => Ok(Vec::new()),
            _ => Err(self.refuse("only a paused sweep can be resumed; :extend takes up a completed one").into()),
        }
    }
}
