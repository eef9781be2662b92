//! What may be wanted of a sweep, and why it may be refused. The rules are in `propose`, `observe`, `end` and `life`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tuning::Proposal;
use tuning::bayes::Fit;
use vocabulary::{Decider, Problem, RunId};

use super::external::{Ask, Heartbeat, Tell};
use super::hold::PauseMode;
use super::import::ImportedTrial;
use super::model::Made;
use super::point::Point;
use super::snapshot;
use super::state::{Submitted, Sweep};
use super::trial::Trial;
use super::trial_end::AttemptEnd;
use super::trial_state::TrialState;
use super::{SweepEvent, SweepSubmitted};
use crate::document::Limits;

/// A proposal on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTrial {
    /// The id that its run is to have.
    pub run_id: RunId,
    /// What the sampler said.
    pub proposal: Proposal,
    /// How it came about, when a model made it.
    pub made: Option<Made>,
    /// It is to follow a donor. Which one, and with which parameters, is then said by the state that takes it: others
    /// may have reported since.
    pub child: bool,
}

/// A reported value of some metric.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedPoint {
    /// The metric's name.
    pub name: String,
    /// What was reported.
    pub point: Point,
}

/// Reports of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// In order of arrival. Those of other metrics than the watched one are passed over.
    pub points: Vec<NamedPoint>,
    /// When.
    pub at: Timestamp,
}

/// That a trial's run has moved on.
#[derive(Clone, Debug, PartialEq)]
pub struct RunMove {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The state that it is in now.
    pub state: TrialState,
    /// Where it runs, if it does.
    pub node: String,
    /// How the attempt ended, if it did.
    pub end: Option<AttemptEnd>,
    /// When.
    pub at: Timestamp,
}

/// That a trial's run has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunEnd {
    /// Which trial.
    pub trial: u32,
    /// Which attempt.
    pub attempt: u32,
    /// How.
    pub end: AttemptEnd,
    /// SWEEP@position of the decision to stop it, if a policy decided so.
    pub decision: String,
    /// Names of metrics that it logged.
    pub metric_names: Vec<String>,
    /// When.
    pub at: Timestamp,
}

/// What is to change on a sweep; absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// The new limits.
    pub limits: Option<Limits>,
    /// The new description.
    pub description: Option<String>,
    /// The new tags.
    pub tags: Option<BTreeMap<String, String>>,
}

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
}

/// Why it is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no such sweep.
    Absent,
    /// The sweep has no such trial.
    NoSuchTrial(u32),
    /// The sweep exists already, with other content.
    Exists,
    /// The limits or the state allow no proposal now, or it was made from an older state.
    NothingToPropose,
    /// A model proposes in this sweep, and what came with the command is not what it says now.
    NeedsSuggestion,
    /// Another reason, ready to be told.
    Refused(Box<Problem>),
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Absent => Self::new(404, "NotFound", "there is no such sweep"),
            Rejection::NoSuchTrial(index) => Self::new(404, "NotFound", format!("the sweep has no trial {index}")),
            Rejection::Exists => Self::conflict("SweepExists", "a sweep with this id exists"),
            Rejection::NothingToPropose => Self::conflict("NothingToPropose", "no proposal is allowed now"),
            Rejection::NeedsSuggestion => Self::unavailable("NoSuggestionYet", "the model is not ready; try again", 1),
            Rejection::Refused(problem) => *problem,
        }
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

/// Events, or why not.
pub(super) type Decided = Result<Vec<SweepEvent>, Rejection>;

impl Decider for Sweep {
    type Command = Command;
    type Event = SweepEvent;
    type Rejection = Rejection;
    const SNAPSHOT: Option<i16> = Some(snapshot::SCHEMA);

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
            Command::SubmitWithHistory { submitted, history } => self.submit_with_history(submitted, history),
            Command::Import { submitted, trials } => self.import(submitted, trials),
            Command::Propose { from, trials, at } => self.propose(*from, trials, *at),
            Command::Exhaust { from, at } => self.exhaust(*from, *at),
            Command::Promote { at } => self.promote(*at),
            Command::Observe(observation) => self.observe(observation),
            Command::Move(run) => self.follow(run),
            Command::End(run) => self.end(run),
            Command::NoteMetric { trial, name, at } => self.note_metric(*trial, name, *at),
            Command::CheckDeadlines { at } => self.check_deadlines(*at),
            Command::Pause { mode, at } => self.pause(*mode, *at),
            Command::Resume { at } => self.resume(*at),
            Command::Cancel { by, at } => self.cancel(by, *at),
            Command::Change { changes, at } => self.change_to(changes, *at),
            Command::NoteFit { previous, fit, at } => self.note_fit(*previous, fit, *at),
            Command::Ask(ask) => self.ask(ask),
            Command::Tell(tell) => self.tell(tell),
            Command::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Command::Extend { max_total_trials, timeout_seconds, at } => {
                self.extend(*max_total_trials, *timeout_seconds, *at)
            }
        }
    }

    fn evolve(&mut self, event: &SweepEvent) {
        self.take(event);
    }
}

impl Sweep {
    /// What was submitted, if anything was.
    pub(super) fn known(&self) -> Result<&Submitted, Rejection> {
        self.submitted.as_ref().ok_or(Rejection::Absent)
    }

    /// A trial by its index.
    pub(super) fn trial(&self, index: u32) -> Result<&Trial, Rejection> {
        self.known()?;
        self.trials.get(index as usize).ok_or(Rejection::NoSuchTrial(index))
    }
}
