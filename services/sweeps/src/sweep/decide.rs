//! The commands, and the aggregate as their decider. The rules are in `propose`, `observe`, `end`, `life` and their
//! neighbours; what follows from an outcome is in `settle`. The time, ids and suggestions come in with a command.

use jiff::Timestamp;
use tuning::bayes::Fit;
use vocabulary::{Decider, Problem};

use super::command::{Ask, Changes, Heartbeat, ImportedTrial, NewTrial, Observation, RunEnd, RunMove, Tell};
use super::events::{SweepArchived, SweepDeleted, SweepEvent, SweepSubmitted, SweepUnarchived};
use super::held::PauseMode;
use super::rejection::{Decided, Rejection};
use super::snapshot;
use super::state::{SCHEMA, Submitted, Sweep};
use super::trial::Trial;

/// What somebody wants of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// That it exists.
    Submit(Box<SweepSubmitted>),
    /// That it exists with what it has from others.
    SubmitWithHistory {
        /// The submission.
        submitted: Box<SweepSubmitted>,
        /// What it has: `ObservationsInherited` and `TrialsAdopted`.
        history: Vec<SweepEvent>,
        /// The trials that it begins with: as many as its limits allow are taken.
        first: Vec<NewTrial>,
    },
    /// That it exists, with trials that have all ended elsewhere, and is over.
    Import {
        /// The submission.
        submitted: Box<SweepSubmitted>,
        /// The trials, in order.
        trials: Vec<ImportedTrial>,
    },
    /// These trials, of which the first has the number `from`. As many as the limits allow are taken.
    Propose {
        /// How many trials were proposed when these were made.
        from: u32,
        /// In order.
        trials: Vec<NewTrial>,
        /// Now.
        at: Timestamp,
    },
    /// To note that the sampler has nothing more to propose.
    Exhaust {
        /// How many trials were proposed when it said so.
        from: u32,
        /// Now.
        at: Timestamp,
    },
    /// That a trial which waits at a rung goes on, if there is room; or, when nothing else is left, that the rest end.
    Promote {
        /// Now.
        at: Timestamp,
    },
    /// To take in reports, and to ask the policy.
    Observe(Observation),
    /// To note where a trial is.
    Move(RunMove),
    /// To note that a trial has ended, and to draw the consequences.
    End(RunEnd),
    /// To note that a trial has logged a metric that is not watched.
    NoteMetric {
        /// Which trial.
        trial: u32,
        /// The metric's name.
        name: String,
        /// Now.
        at: Timestamp,
    },
    /// To note that something of ours broke while the sweep waited for it.
    NoteFault {
        /// The stable code.
        code: &'static str,
        /// What was seen.
        message: String,
        /// Now.
        at: Timestamp,
    },
    /// To end what has run out of time.
    CheckDeadlines {
        /// Now.
        at: Timestamp,
    },
    /// No new proposals.
    Pause {
        /// What becomes of live trials.
        mode: PauseMode,
        /// Now.
        at: Timestamp,
    },
    /// Proposals again.
    Resume {
        /// Now.
        at: Timestamp,
    },
    /// The end of it.
    Cancel {
        /// Who wants it.
        by: String,
        /// Now.
        at: Timestamp,
    },
    /// Other limits, description or tags.
    Change {
        /// What.
        changes: Changes,
        /// Now.
        at: Timestamp,
    },
    /// To note new hyperparameters of the sweep's model.
    NoteFit {
        /// The version of the fit that it started from.
        previous: Option<i64>,
        /// The hyperparameters.
        fit: Fit,
        /// Now.
        at: Timestamp,
    },
    /// Trials to run, in external mode.
    Ask(Ask),
    /// To take in what an external trial gave.
    Tell(Tell),
    /// To keep the lease of an external trial.
    Heartbeat(Heartbeat),
    /// More trials or time.
    Extend {
        /// New totals; absent = unchanged.
        max_total_trials: Option<u32>,
        /// See `max_total_trials`.
        timeout_seconds: Option<f64>,
        /// Now.
        at: Timestamp,
    },
    /// To be out of the way: its name is free again, and lists pass it over.
    Archive {
        /// Now.
        at: Timestamp,
    },
    /// To be listed again, under its name.
    Unarchive {
        /// Now.
        at: Timestamp,
    },
    /// To be gone.
    Delete {
        /// With the runs of its trials.
        runs: bool,
        /// What refers to it.
        used_by: Vec<String>,
        /// Now.
        at: Timestamp,
    },
}

impl Command {
    /// Now, as whoever gave the command saw it.
    pub(super) fn at(&self) -> Timestamp {
        match self {
            Self::Submit(submitted) | Self::SubmitWithHistory { submitted, .. } | Self::Import { submitted, .. } => {
                submitted.at
            }
            Self::Observe(observation) => observation.at,
            Self::Move(run) => run.at,
            Self::End(run) => run.at,
            Self::Ask(ask) => ask.at,
            Self::Tell(tell) => tell.at,
            Self::Heartbeat(heartbeat) => heartbeat.at,
            Self::Propose { at, .. }
            | Self::Exhaust { at, .. }
            | Self::Promote { at }
            | Self::NoteMetric { at, .. }
            | Self::NoteFault { at, .. }
            | Self::CheckDeadlines { at }
            | Self::Pause { at, .. }
            | Self::Resume { at }
            | Self::Cancel { at, .. }
            | Self::Change { at, .. }
            | Self::NoteFit { at, .. }
            | Self::Extend { at, .. }
            | Self::Archive { at }
            | Self::Unarchive { at }
            | Self::Delete { at, .. } => *at,
        }
    }
}

impl Decider for Sweep {
    type Command = Command;
    type Event = SweepEvent;
    type Rejection = Rejection;
    const SNAPSHOT: Option<i16> = Some(SCHEMA);

    fn snapshot(&self) -> Option<Vec<u8>> {
        snapshot::write(self)
    }

    fn restore(bytes: &[u8]) -> Option<Self> {
        snapshot::read(bytes)
    }

    fn decide(&self, command: &Command) -> Decided {
        match command {
            Command::Submit(event) => match self.submitted {
                None => Ok(vec![SweepEvent::SweepSubmitted((**event).clone())]),
                Some(_) => Err(Rejection::Exists),
            },
            Command::SubmitWithHistory { submitted, history, .. } => self.submit_with_history(submitted, history),
            Command::Import { submitted, trials } => self.import(submitted, trials),
            Command::Propose { from, trials, at } => self.propose(*from, trials, *at),
            Command::Exhaust { from, at } => self.exhaust(*from, *at),
            Command::Promote { at } => self.promote(*at),
            Command::Observe(observation) => self.observe(observation),
            Command::Move(run) => self.follow(run),
            Command::End(run) => self.end(run),
            Command::NoteMetric { trial, name, at } => self.note_metric(*trial, name, *at),
            Command::NoteFault { code, message, at } => self.note_fault(code, message, *at),
            Command::CheckDeadlines { at } => self.check_deadlines(*at),
            Command::Pause { mode, at } => self.pause(*mode, *at),
            Command::Resume { at } => self.resume(*at),
            Command::Cancel { by, at } => self.cancel(by, *at),
            Command::Change { changes, at } => self.change_to(changes, *at),
            Command::NoteFit { previous, fit, at } => self.note_fit(*previous, fit, *at),
            Command::Ask(ask) => self.ask(ask),
            Command::Tell(tell) => self.tell(tell),
            Command::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Command::Archive { at } => self.archive(*at),
            Command::Unarchive { at } => self.unarchive(*at),
            Command::Delete { runs, used_by, at } => self.delete(*runs, used_by, *at),
            Command::Extend { .. } if self.archived_at.is_some() => {
                Err(self.refuse("it is archived; take it back with `unarchive` first, or fork it").into())
            }
            Command::Extend { max_total_trials, timeout_seconds, at } => {
                self.extend(*max_total_trials, *timeout_seconds, *at)
            }
        }
    }

    fn evolve(&mut self, event: &SweepEvent) {
        self.take(event);
    }

    fn settle(&self, command: &Command, events: &[SweepEvent]) -> Vec<SweepEvent> {
        self.consequences(command, events)
    }
}

/// Refuses the deletion of a sweep that others need.
pub(crate) fn in_use(used_by: &[String]) -> Problem {
    let detail = format!("the sweep is in use by {}; archive it instead", used_by.join(", "));
    Problem::conflict("InUse", detail).with("used_by", used_by.to_vec())
}

impl Sweep {
    /// What was submitted, if anything was and it was not deleted: nothing happens to what is gone.
    pub(super) fn known(&self) -> Result<&Submitted, Rejection> {
        self.submitted.as_ref().filter(|_| self.deleted_at.is_none()).ok_or(Rejection::Absent)
    }

    /// Archiving twice changes nothing.
    fn archive(&self, at: Timestamp) -> Decided {
        self.known()?;
        if !self.status.state().is_terminal() {
            return Err(self.refuse("only one that has ended can be archived; cancel it first").into());
        }
        Ok(self.archived_at.map_or_else(|| vec![SweepArchived { at }.into()], |_| Vec::new()))
    }

    /// One that is not archived stays as it is.
    fn unarchive(&self, at: Timestamp) -> Decided {
        self.known()?;
        let taken_back = SweepUnarchived { state: self.status.state(), at };
        Ok(self.archived_at.map_or_else(Vec::new, |_| vec![taken_back.into()]))
    }

    /// Deleting twice changes nothing, unless its runs are to go that were to stay.
    fn delete(&self, runs: bool, used_by: &[String], at: Timestamp) -> Decided {
        let workspace = self.submitted.as_ref().ok_or(Rejection::Absent)?.workspace.clone();
        if !self.status.state().is_terminal() {
            return Err(self.refuse("only one that has ended can be deleted; cancel it first").into());
        }
        if self.deleted_at.is_some() && (self.deleted_with_runs || !runs) {
            return Ok(Vec::new());
        }
        if used_by.is_empty() {
            return Ok(vec![SweepDeleted { workspace, runs, at }.into()]);
        }
        Err(in_use(used_by).into())
    }

    /// A trial by its index.
    pub(super) fn trial(&self, index: u32) -> Result<&Trial, Rejection> {
        self.known()?;
        self.trials.get(index as usize).ok_or(Rejection::NoSuchTrial(index))
    }
}
