//! A pause that gives the machines back: live trials are held with their checkpoints until the sweep goes on.
//!
//! A held trial keeps its place, so nothing else takes it: when the sweep goes on, the held ones do before anything
//! new. What it still reports counts, since its checkpoint has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, VariantNames};
use vocabulary::{Problem, RunId};

use super::decide::{Decided, Rejection};
use super::state::{Submitted, Sweep};
use super::status::Status;
use super::{SweepEvent, SweepPaused, SweepResumed, SweepStarted};

/// What becomes of live trials when a sweep is paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PauseMode {
    /// They run on.
    #[default]
    Drain,
    /// They are held with their checkpoints.
    Checkpoint,
}

impl PauseMode {
    /// Whether they run on; that is not written into events.
    pub fn is_drain(&self) -> bool {
        *self == Self::Drain
    }
}

/// A live trial is to save its checkpoint, give its node back and wait until its sweep goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialHeld {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
}

/// A trial that was held goes on from its checkpoint. The number of the attempt comes with the run's own news, as
/// after a preemption: until then the old attempt may still report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialReleased {
    /// Whose it is.
    pub workspace: String,
    /// Which trial.
    pub trial: u32,
    /// Its run.
    pub run_id: RunId,
    /// When.
    pub at: Timestamp,
}

impl Sweep {
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
        if !submitted.spec.trial.checkpoint {
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
